"""Own against other origins: the numbers are those of evaluate, and the verdict follows them."""

from __future__ import annotations

import math

import pytest
import torch

from promptport.analysis import origin_robustness
from promptport.analysis.robustness import OnOrigins, judge_robustness
from promptport.errors import MismatchError, ShapeError
from promptport.evaluation import Evaluation, evaluate
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import bootstrap_score
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.vector import TaskPromptVector

HERE = Provenance("toy", task="a")


def _vectors(*rows):
    return [TaskPromptVector(torch.tensor([row]), HERE, {"a": 1.0}) for row in rows]


def test_every_vector_is_scored_on_every_other_origin(backbone, capitals) -> None:
    model = backbone("bert")
    specs = [OriginSpec("vocabulary", seed) for seed in (1, 2)]
    config = TuneConfig(epochs=8, batch_size=6, patience=0)
    jobs = [TuneJob(capitals, spec, 2, spec.seed, relative_lr=0.5) for spec in specs]
    prompts = [result.prompt for result in tune(model, jobs, config)]
    stranger = make_origin(OriginSpec("vocabulary", 3), model, 2)
    found = origin_robustness(model, capitals, prompts, unseen=[stranger])
    assert found.own == tuple(evaluate(model, capitals, p).score.value for p in prompts)
    for i, prompt in enumerate(prompts):
        vector = TaskPromptVector.of(prompt)
        goals = (prompts[1 - i].origin, stranger)
        wanted = tuple(evaluate(model, capitals, vector.apply(g)).score.value for g in goals)
        assert found.other[i] == wanted
    assert found.majority == capitals.majority_score().value
    template = prompts[0].provenance.template

    def plain(vectors):
        return evaluate(model, capitals, SoftPrompt(vectors, prompts[0].provenance)).score.value

    assert template is not None
    assert found.bare == tuple(
        (plain(prompts[1 - i].origin), plain(stranger)) for i in range(len(prompts))
    )
    assert found.alone == tuple(plain(TaskPromptVector.of(p).delta) for p in prompts)


def said(hits, metric="accuracy"):
    """An evaluation of rows that are right or wrong."""
    rows = tuple(c == "1" for c in hits)
    gold = ["a"] * len(rows)
    score = bootstrap_score(metric, gold, ["a" if right else "b" for right in rows])
    return Evaluation(score, 0.0, 0, "", (), rows if metric == "accuracy" else None)


def judged(own, other, bare, alone, majority=0.3, vectors=None, **settings):
    """One vector, on two other origins."""
    found = OnOrigins(
        own=said(own, **settings),
        alone=said(alone, **settings),
        other=[said(o, **settings) for o in other],
        bare=[said(o, **settings) for o in bare],
        places=(1, 2),
    )
    origins = [torch.tensor([row]) for row in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])]
    return judge_robustness("a", [found], majority, vectors or _vectors([3.0, 0.0]), origins)


FULL, HALF, NONE = "1" * 20, "10" * 10, "0" * 20


def test_a_vector_that_keeps_its_score_moves() -> None:
    found = judged(FULL, [FULL, FULL], [HALF, HALF], FULL)
    assert (found.movement, found.kept.value, found.added.value) == ("moves", 1.0, 1.0)
    assert (found.added.low, found.added.high) == (1.0, 1.0)
    assert found.length_ratio == pytest.approx(3 / (2 + math.sqrt(2)) * 3)
    assert found.reason == (
        "on other origins 100.0% of the score is kept, and the vector leads 100% [100%, 100%] of "
        "the way from bare origins to it"
    )


def test_what_the_bare_origins_score_is_no_merit_of_the_vector() -> None:
    # 18 of 20 with other origins, but 16 of 20 by these alone: (18 - 16) / (20 - 16).
    high = "1" * 16 + "0" * 4
    found = judged(FULL, ["1" * 18 + "00"] * 2, [high, high], FULL)
    assert found.kept.value == pytest.approx(0.9)
    assert found.added.value == pytest.approx(0.5)
    assert found.movement == "does not move"
    assert found.added.low < 0.5 < found.added.high
    assert (found.bare, found.alone) == (((0.8, 0.8),), (1.0,))
    # A vector that does harm has less than nothing left.
    assert judged(FULL, [HALF, HALF], [high, high], FULL).added.value == pytest.approx(-1.5)


def test_why_a_vector_does_not_move() -> None:
    disturbed = judged(FULL, [HALF, HALF], [NONE, NONE], FULL)
    assert disturbed.movement == "does not move"
    assert "because other origins disturb it: without any origin it has 1.000" in disturbed.reason
    leaning = judged(FULL, ["1" * 18 + "00", FULL], [NONE, NONE], HALF)
    assert leaning.movement == "moves with a loss"
    assert leaning.added.value == pytest.approx(0.95)
    assert "because it leans on its own origin: without any it has 0.500" in leaning.reason
    assert leaning.reason.endswith("; more origins or rows would make it surer")
    apart = _vectors([0.4, 0.0], [0.0, 0.4])
    assert judged(FULL, [HALF, HALF], [NONE, NONE], FULL, vectors=apart).reason.count(
        "have little in common (cosine 0.00)"
    )
    alike = _vectors([0.4, 0.0], [0.4, 0.0])
    found = judged(FULL, [HALF, HALF], [NONE, NONE], FULL, vectors=alike)
    assert "in common" not in found.reason


def test_intervals_are_over_origins_and_rows() -> None:
    """One origin on which half the rows are right, one on which all are: with both 0.75."""
    found = judged(FULL, [HALF, FULL], [NONE, NONE], FULL)
    assert found.kept.value == 0.75
    assert found.kept.low < 0.55
    assert found.kept.high == 1.0
    # Where the origins agree the rows are left.
    rows = judged(FULL, [HALF, HALF], [NONE, NONE], FULL).kept
    assert (rows.low, rows.high) == (pytest.approx(0.3, abs=0.06), pytest.approx(0.7, abs=0.06))
    # A score that is no share of rows leaves the origins.
    found = judged(FULL, [HALF, HALF], [NONE, NONE], FULL, 0.0, metric="macro-f1")
    assert found.kept.low == found.kept.high == pytest.approx(said(HALF, "macro-f1").score.value)


def test_nothing_moves_where_nothing_was_learned() -> None:
    found = judged("1" * 11 + "0" * 9, [FULL, FULL], [HALF, HALF], FULL, majority=0.5)
    assert (found.movement, found.kept, found.added) == ("nothing to move", None, None)
    assert found.reason == "the tuned prompts do not beat the majority answer beyond noise"
    high = "1" * 18 + "00"
    found = judged("1" * 19 + "0", [FULL, FULL], [high, high], FULL, majority=0.5)
    assert (found.movement, found.kept) == ("nothing to move", None)
    assert "(0.950) are not above bare origins (0.900) beyond noise" in found.reason


def test_what_cannot_be_compared_is_refused(backbone, capitals) -> None:
    model = backbone("bert")
    start = make_origin(OriginSpec("vocabulary", 1), model, 2)
    provenance = Provenance(model.name, fingerprint=model.space.fingerprint)
    prompt = SoftPrompt(start + 1, provenance, start)
    with pytest.raises(
        MismatchError, match="two or more different ones, one of them tuned from, got 1"
    ):
        origin_robustness(model, capitals, [prompt])
    with pytest.raises(ShapeError):
        origin_robustness(model, capitals, [prompt], unseen=[torch.zeros(3, model.width)])
    with pytest.raises(MismatchError, match="expected an origin"):
        origin_robustness(model, capitals, [SoftPrompt(start, provenance)], unseen=[start])
