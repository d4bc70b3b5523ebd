"""Starting points: one prompt for several tasks, attention over sources, few rows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from promptport.errors import TaskError, TuningError
from promptport.evaluation import evaluate
from promptport.parameters import OriginSpec
from promptport.tasks import Template
from promptport.tuning import (
    AttentionPrompts,
    TuneConfig,
    TuneJob,
    random_prompt,
    start_attention,
    tune,
    tune_attention,
)
from promptport.tuning.attention import pool_texts
from promptport.tuning.multitask import few_shot, tune_together

CONFIG = TuneConfig(epochs=4, batch_size=6, patience=0)
KINDS = ("bert", "gpt2", "t5")


def jobs(*tasks, length=2, lr=0.1):
    spec = OriginSpec("vocabulary", 1)
    return [TuneJob(task, spec, length, seed=3, relative_lr=lr) for task in tasks]


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_together_with_none_is_tuned_as_alone(backbone, capitals, kind) -> None:
    model = backbone(kind)
    (alone,) = tune(model, jobs(capitals), CONFIG)
    together = tune_together(model, jobs(capitals), CONFIG)
    torch.testing.assert_close(together.prompt.vectors, alone.prompt.vectors, rtol=1e-4, atol=1e-6)
    assert together.dev_scores == (alone.dev_score,)
    assert torch.equal(together.prompt.origin, alone.prompt.origin)


@pytest.mark.long
def test_factors_are_chosen_by_dev_and_average_to_the_start(backbone, capitals, films) -> None:
    model = backbone("bert")
    long = TuneConfig(epochs=25, batch_size=6, patience=0)
    short = TuneConfig(epochs=1, batch_size=6, patience=0)
    first, last = (
        tune_together(model, jobs(capitals, films, lr=1.0), config, way="factors")
        for config in (short, long)
    )
    records = [r.prompt.provenance.tuning for r in (first, last)]
    reached = [(record["dev_score"], -record["dev_loss"]) for record in records]
    assert reached[1] >= reached[0]
    assert last.prompt.provenance.task == "capitals + films"
    assert len(last.prompts) == 2
    assert not torch.equal(last.prompts[0].vectors, last.prompts[1].vectors)
    assert last.prompts[1].provenance.template == films.template.text
    assert last.prompt.provenance.template is None


def test_a_teacher_of_share_one_is_learned_instead_of_labels(backbone, films) -> None:
    model = backbone("bert")
    teacher = random_prompt(model, 2, 7)
    lying = replace(films, template=Template.parse("{soft} {text} {answer} ."))
    kept = tune_together(model, jobs(lying), CONFIG, teachers=[teacher], share=0.0)
    plain = tune_together(model, jobs(lying), CONFIG)
    learned = tune_together(model, jobs(lying), CONFIG, teachers=[teacher], share=1.0)
    torch.testing.assert_close(kept.prompt.vectors, plain.prompt.vectors)
    assert not torch.allclose(learned.prompt.vectors, plain.prompt.vectors, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"way": "two"}, "way: expected one or factors, got 'two'"),
        ({"teachers": [None] * 3}, "none, or one per task"),
        ({"share": 2.0}, "share: expected 0 to 1"),
        ({"teachers": [SimpleNamespace(length=9)]}, "teachers: expected 2 virtual tokens"),
    ],
)
def test_bad_settings_together(backbone, films, settings, message) -> None:
    with pytest.raises(TuningError, match=message):
        tune_together(backbone("bert"), jobs(films), CONFIG, **settings)


def test_jobs_of_two_lengths(backbone, films) -> None:
    mixed = [*jobs(films), *jobs(films, length=3)]
    with pytest.raises(TuningError, match="of one length"):
        tune_together(backbone("bert"), mixed, CONFIG)


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_the_prompt_of_its_attention(backbone, films, kind) -> None:
    model = backbone(kind)
    sources = [random_prompt(model, 2, seed) for seed in (5, 6)]
    found = tune_attention(model, jobs(films)[0], sources, CONFIG, inner=4)
    rows = films.load("test")
    result = found.evaluate()
    from promptport.objective import Objective

    questions = Objective(model, films, length=2).prepare(rows).questions
    pooled = pool_texts(model, questions)
    weights = found.attention(pooled)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(rows)))
    vectors = found.vectors(pooled).reshape(len(rows), 2, -1)
    by_hand = found.target + sum(
        weights[0, j] * part for j, part in enumerate([*found.sources, found.target])
    )
    torch.testing.assert_close(vectors[0], by_hand, rtol=1e-4, atol=1e-5)
    # The first row alone, behind its prompt as an ordinary one.
    alone = replace(random_prompt(model, 2, 0), vectors=vectors[0])
    single = evaluate(model, films, alone, template=films.template)
    assert result.predictions[0] == single.predictions[0]
    assert found.averaged().vectors.shape == (2, model.width)


@pytest.mark.long
def test_attention_is_chosen_by_dev(backbone, films) -> None:
    model = backbone("bert")
    sources = [random_prompt(model, 2, seed) for seed in (5, 6)]
    job = jobs(films, lr=1.0)[0]
    found = []
    for epochs in (1, 30):
        config = TuneConfig(epochs=epochs, batch_size=6, patience=0)
        tuned = tune_attention(model, job, sources, config, inner=4)
        assert isinstance(tuned, AttentionPrompts)
        assert torch.equal(tuned.sources, torch.stack([p.vectors for p in sources]))
        result = tuned.evaluate("dev")
        found.append((result.score.value, -result.loss))
    begin = start_attention(model, job, sources, inner=4)
    assert not torch.equal(tuned.down, begin.down)
    # The first epoch of both runs is the same, so the longer one cannot end with a worse choice.
    assert found[1] >= found[0]


@pytest.mark.long
@pytest.mark.parametrize("stop_at", [1, 4, 8, 12])
def test_an_interrupted_attention_resumes_to_the_same_bits(
    backbone, films, tmp_path, stop_at
) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"
    sources, job = [random_prompt(model, 2, seed) for seed in (5, 6)], jobs(films, lr=0.1)[0]
    config = TuneConfig(epochs=4, batch_size=2, patience=3, save_seconds=0.0)
    whole = tune_attention(model, job, sources, config, inner=4)

    def interrupt(done, total) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_attention(model, job, sources, config, inner=4, state=state, progress=interrupt)
    seen = []
    resumed = tune_attention(
        model, job, sources, config, inner=4, state=state, progress=lambda *p: seen.append(p[0])
    )
    assert seen[0] == stop_at, "it must not start from the beginning"
    for name in ("target", "down", "up", "gain"):
        assert torch.equal(getattr(resumed, name), getattr(whole, name))
    seen.clear()
    again = tune_attention(
        model, job, sources, config, inner=4, state=state, progress=lambda *p: seen.append(p[0])
    )
    assert not seen, "a finished run answers at once"
    assert torch.equal(again.up, whole.up)
    for other in ({"inner": 4, "temperature": 2.0}, {"inner": 5}):
        with pytest.raises(TuningError, match="the state of this very run"):
            tune_attention(model, job, sources, config, state=state, **other)
    with pytest.raises(TuningError, match="the state of this very run"):
        tune_attention(model, job, sources[::-1], config, inner=4, state=state)


def test_an_attention_that_fails_leaves_no_state(backbone, films, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"
    sources, config = [random_prompt(model, 2, 5)], replace(CONFIG, save_seconds=0.0)
    with pytest.raises(TuningError, match="a finite loss, got nan"):
        tune_attention(model, jobs(films, lr=1e30)[0], sources, config, state=state)
    assert not state.exists()


@pytest.mark.parametrize(
    ("length", "settings", "message"),
    [
        (3, {}, "sources: expected one prompt or more of 2 virtual tokens"),
        (2, {"inner": 0}, "inner: expected 1 or more"),
        (2, {"temperature": 0.0}, "temperature: expected a number above 0"),
    ],
)
def test_bad_attention(backbone, films, length, settings, message) -> None:
    model = backbone("bert")
    with pytest.raises(TuningError, match=message):
        tune_attention(model, jobs(films)[0], [random_prompt(model, length, 1)], **settings)


def test_few_rows_are_nested_and_are_all_that_is_labelled(films) -> None:
    few, more = few_shot(films, 2, 4), few_shot(films, 5, 4)
    assert few.load("train") == few.load("dev") == more.load("train")[:2]
    assert few.load("test") == films.load("test")
    with pytest.raises(TuningError, match="expected 1 to 6, got 7"):
        few_shot(films, 7)


@pytest.mark.parametrize(("name", "value", "usual"), [("noise", 0.5, 0), ("origins", 2, 1)])
def test_what_attention_does_not_know(backbone, films, name, value, usual) -> None:
    model = backbone("bert")
    job = replace(jobs(films)[0], **{name: value})
    with pytest.raises(TuningError, match=f"{name}: expected {usual} with attention over sources"):
        tune_attention(model, job, [random_prompt(model, 2, 1)])


def test_attention_refuses_text_to_text_before_it_is_tuned(backbone, capitals) -> None:
    model = backbone("bert")
    written = replace(capitals, kind="text2text", metric="exact-match")
    with pytest.raises(TaskError, match="got text to text"):
        start_attention(model, jobs(written)[0], [random_prompt(model, 2, 1)])


def test_averaged_reads_only_the_rows_that_it_may(backbone, films) -> None:
    model = backbone("bert")
    sources = [random_prompt(model, 2, seed) for seed in (5, 6)]
    found = start_attention(model, jobs(films)[0], sources, temperature=30.0)
    few, every = (found.averaged(rows=rows).provenance.tuning["attention"] for rows in (1, 0))
    from promptport.objective import Objective

    first = Objective(model, films, length=2).prepare(films.load("train")[:1]).questions
    weights = found.attention(pool_texts(model, first))[0].tolist()
    assert few == pytest.approx(weights, abs=1e-6)
    assert every != pytest.approx(weights, abs=1e-4)
