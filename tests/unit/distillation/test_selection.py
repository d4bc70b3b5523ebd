"""Choice among transfers: the criterion decides, and the result says what was read."""

from __future__ import annotations

import pytest

from promptport.distillation import DistillConfig, Teacher, agreement, select_transfer
from promptport.distillation.selection import parse_candidate
from promptport.errors import PromptPortError, UnknownNameError
from promptport.evaluation import evaluate
from promptport.parameters import OriginSpec
from promptport.transfers import Source, TransferConfig, transfer
from promptport.tuning import TuneConfig, TuneJob, tune

WAYS = {
    "least_squares": TransferConfig(minimum_anchors=2),
    "omp": TransferConfig(method="omp", options={"k": 3}, minimum_anchors=2),
    "random": TransferConfig(method="random", minimum_anchors=2, seed=4),
}
CONFIG = DistillConfig(rows=8)


@pytest.fixture
def task(capitals):
    parts = {s: capitals.load(s) * 2 for s in ("train", "dev", "test")}
    return capitals.with_rows(**parts)


@pytest.fixture
def case(backbone, task):
    """A tuned prompt of one backbone, and another backbone."""
    source, target = backbone("bert"), backbone("gpt2")
    job = TuneJob(task, OriginSpec("vocabulary", 1), 3)
    prompt = tune(source, [job], TuneConfig(epochs=4, batch_size=4, patience=0))[0].prompt
    return source, target, prompt


def test_a_prompt_agrees_with_itself(case, task) -> None:
    source, target, prompt = case
    own = agreement(prompt, source, [Teacher(source, prompt)], task, config=CONFIG)
    assert (own.same, own.rows) == (1.0, 8)
    # Over the whole vocabulary, so tokens that are no words count against it.
    words = agreement(prompt, source, [Teacher(source, prompt)], task, config=CONFIG).divergence
    assert own.divergence == words >= 0
    ported = transfer(prompt, source.space, target.space, minimum_anchors=2).prompt
    other = agreement(ported, target, [Teacher(source, prompt)], task, config=CONFIG)
    assert other.divergence > own.divergence


@pytest.mark.parametrize("by", ["matching", "roundtrip", "agreement", "labels"])
def test_the_best_is_kept_and_the_data_told(case, task, by) -> None:
    source, target, prompt = case
    found = select_transfer(
        [Source(prompt, source.space)],
        target,
        WAYS,
        by=by,
        task=None if by in ("matching", "roundtrip") else task,
        teachers=[source],
        config=CONFIG,
    )
    assert set(found.scores) == set(WAYS)
    assert found.scores[found.chosen] == max(found.scores.values())
    touched = {"agreement": "unlabelled text", "labels": "labels"}.get(by, "nothing")
    assert found.touched == touched
    assert found.result.report.labels_used == (by == "labels")
    record = found.result.prompt.provenance.history[-1]["selection"]
    assert record == {
        "by": by,
        "chosen": found.chosen,
        "scores": found.scores,
        "touched": touched,
    }
    results = {
        n: transfer(prompt, source.space, target.space, config) for n, config in WAYS.items()
    }
    if by == "matching":
        # The closed form is the optimum of this objective.
        assert found.chosen == "least_squares"
    if by == "roundtrip":
        assert found.scores == pytest.approx({n: r.report.roundtrip for n, r in results.items()})
    if by == "labels":
        scores = {
            n: evaluate(target, task, r.prompt, split="dev").score.value for n, r in results.items()
        }
        assert found.scores == pytest.approx(scores)


def test_roundtrip_with_a_task_asks_the_source(case, task) -> None:
    source, target, prompt = case
    found = select_transfer(
        [Source(prompt, source.space)], target, WAYS, task=task, teachers=[source], config=CONFIG
    )
    assert found.touched == "unlabelled text"
    assert all(score <= 1e-6 for score in found.scores.values())


def test_bad_input(case, task) -> None:
    source, target, prompt = case
    sources = [Source(prompt, source.space)]
    with pytest.raises(UnknownNameError, match="criterion"):
        select_transfer(sources, target, WAYS, by="luck")
    with pytest.raises(PromptPortError, match="one or more"):
        select_transfer(sources, target, {})
    with pytest.raises(PromptPortError, match="criterion agreement"):
        select_transfer(sources, target, WAYS, by="agreement", task=task)
    with pytest.raises(PromptPortError, match="criterion labels"):
        select_transfer(sources, target, WAYS, by="labels")


def test_candidates_are_read_from_text() -> None:
    from promptport.cli.parsing import parse_options

    common = TransferConfig(seed=3)
    assert parse_candidate("omp:k=16,dimension", parse_options, common) == TransferConfig(
        method="omp", options={"k": 16}, magnitude="dimension", seed=3
    )
    assert parse_candidate("copy", parse_options, common) == TransferConfig(method="copy", seed=3)
