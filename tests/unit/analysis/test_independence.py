"""Own against other origins: the numbers are those of evaluate, and the verdict follows them."""

from __future__ import annotations

import pytest
import torch

from promptport.analysis import origin_independence
from promptport.analysis.independence import judge_independence
from promptport.errors import MismatchError, ShapeError
from promptport.evaluation import evaluate
from promptport.prompt import Provenance, SoftPrompt
from promptport.tuning import OriginSpec, TuneConfig, TuneJob, make_origin, tune
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
    found = origin_independence(model, capitals, prompts, unseen=[stranger])
    assert found.own == tuple(evaluate(model, capitals, p).score.value for p in prompts)
    for i, prompt in enumerate(prompts):
        vector = TaskPromptVector.of(prompt)
        goals = (prompts[1 - i].origin, stranger)
        wanted = tuple(evaluate(model, capitals, vector.apply(g)).score.value for g in goals)
        assert found.other[i] == wanted
    assert found.majority == capitals.majority_score().value


def test_a_vector_that_keeps_its_score_moves() -> None:
    origins = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    vectors = _vectors([3.0, 0.1], [3.0, 0.0])
    found = judge_independence("a", (0.9, 0.8), ((0.9,), (0.8,)), 0.5, vectors, origins)
    assert found.movement == "moves"
    assert (found.kept.value, found.kept.low) == (1.0, 1.0)
    assert found.length_ratio == pytest.approx(3.0, rel=1e-3)
    assert found.reason == "100.0% of the score is kept on other origins"


def test_why_a_vector_does_not_move() -> None:
    origins = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    vectors = _vectors([0.4, 0.0], [0.0, 0.4])
    found = judge_independence("a", (0.8, 0.4), ((0.4,), (0.1,)), 0.3, vectors, origins)
    assert found.movement == "does not move"
    assert found.kept.value == pytest.approx((0.5 + 0.25) / 2)
    assert "short (0.40 of its origin)" in found.reason
    assert "differ (cosine 0.00)" in found.reason
    long = _vectors([5.0, 0.0], [5.0, 0.0])
    lost = judge_independence("a", (0.8, 0.8), ((0.7,), (0.7,)), 0.3, long, origins)
    assert lost.movement == "moves with a loss"
    assert lost.reason.endswith("because the origins disturb it")


def test_nothing_moves_where_nothing_was_learned() -> None:
    origins = [torch.ones(1, 2), torch.zeros(1, 2)]
    found = judge_independence("a", (0.5,), ((0.6,),), 0.5, _vectors([1.0, 1.0]), origins)
    assert (found.movement, found.kept, found.cosine) == ("nothing to move", None, None)


def test_what_cannot_be_compared_is_refused(backbone, capitals) -> None:
    model = backbone("bert")
    start = make_origin(OriginSpec("vocabulary", 1), model, 2)
    provenance = Provenance(model.name, fingerprint=model.space.fingerprint)
    prompt = SoftPrompt(start + 1, provenance, start)
    with pytest.raises(
        MismatchError, match="two or more different ones, one of them tuned from, got 1"
    ):
        origin_independence(model, capitals, [prompt])
    with pytest.raises(ShapeError):
        origin_independence(model, capitals, [prompt], unseen=[torch.zeros(3, model.width)])
    with pytest.raises(MismatchError, match="expected an origin"):
        origin_independence(model, capitals, [SoftPrompt(start, provenance)], unseen=[start])
