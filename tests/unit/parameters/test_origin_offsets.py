"""Tuning over several origins: the gradients add up in one vector, and it serves all origins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.errors import TuningError
from promptport.evaluation import evaluate
from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.origin_offsets import OriginOffsets
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.tuning.independent import IndependentPrompts
from promptport.vector import TaskPromptVector

CONFIG = TuneConfig(epochs=6, batch_size=3, patience=0)


def _job(task, **changes):
    return TuneJob(task, OriginSpec("vocabulary", 1), 2, seed=3, **changes)


def _gradient(trainer):
    return trainer.gradients(trainer.parameters.forward(), trainer.runs)[1][0]


def test_the_table_holds_the_prompt_on_every_origin(backbone, capitals, films) -> None:
    model = backbone("bert")
    jobs = [_job(capitals), _job(films, origins=3)]
    offsets = OriginOffsets(model, jobs, [0, 2])
    vectors = torch.randn(4, model.width, generator=torch.Generator().manual_seed(0))
    table = offsets.table(vectors)
    assert table.shape == (4 + 2 * 2, model.width)
    origins = [make_origin(spec, model, 2) for spec in jobs[1].origin.others(3)]
    delta = vectors[2:] - origins[0]
    torch.testing.assert_close(table[4:6], origins[1] + delta, atol=1e-5, rtol=0)
    torch.testing.assert_close(table[6:], origins[2] + delta, atol=1e-5, rtol=0)
    assert offsets.draw(0, 4, 3, 0) == [0] * 4
    drawn = [place for step in range(30) for place in offsets.draw(2, 4, 3, step)]
    assert set(drawn) == {2, 4, 6}
    assert offsets.draw(2, 4, 3, 7) == offsets.draw(2, 4, 3, 7)
    assert [start for _, start in offsets.deal(2, "abcd")] == [2, 4, 6, 2]


def test_the_gradient_is_that_of_the_rows_on_their_own_origins(backbone, capitals) -> None:
    """A step over two origins equals the mean of steps that each take one."""
    model = backbone("gpt2")
    config = replace(CONFIG, batch_size=6)
    job = _job(capitals, origins=2)
    trainer = IndependentPrompts(model, [job], config).trainer
    drawn = trainer.offsets[0].draw(0, 6, job.seed, 0)
    assert {drawn.count(0), drawn.count(2)} != {0, 6}
    gradient = _gradient(trainer)
    total = torch.zeros_like(gradient)
    order = trainer.runs[0].parts[0].next_rows(0, 6)
    for spec, place in zip(job.origin.others(2), (0, 2), strict=True):
        alone = IndependentPrompts(model, [replace(job, origin=spec, origins=1)], config).trainer
        rows = [row for row, start in zip(order, drawn, strict=True) if start == place]
        alone.runs[0].parts[0].next_rows = lambda step, size, rows=rows: rows
        total += _gradient(alone) * len(rows) / 6
    torch.testing.assert_close(gradient, total, rtol=1e-3, atol=1e-6)


@pytest.mark.long
def test_the_vector_serves_every_origin_better_than_one_tuned_on_one(backbone, capitals) -> None:
    model = backbone("bert")
    config = TuneConfig(epochs=30, batch_size=6, patience=0)
    alone, shared = (tune(model, [_job(capitals, origins=n)], config)[0].prompt for n in (1, 4))
    assert torch.equal(alone.origin, shared.origin)
    assert shared.provenance.tuning["origins"] == 4
    assert shared.provenance.origin == {"kind": "vocabulary", "seed": 1}
    losses = []
    for prompt in (alone, shared):
        vector = TaskPromptVector.of(prompt)
        others = [make_origin(s, model, 2) for s in OriginSpec("vocabulary", 1).others(4)[1:]]
        found = [evaluate(model, capitals, vector.apply(o)).loss for o in others]
        losses.append(sum(found) / len(found))
    assert losses[1] < losses[0]


def test_a_run_over_several_origins_resumes_to_the_same_bits(backbone, capitals, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"
    jobs = [_job(capitals, origins=3)]
    config = replace(CONFIG, save_seconds=0.0)
    whole = tune(model, jobs, config)[0]

    def interrupt(progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, jobs, config, state=state, progress=interrupt)
    with pytest.raises(TuningError, match="expected the state of this very run"):
        tune(model, [_job(capitals, origins=2)], config, state=state)
    resumed = tune(model, jobs, config, state=state)[0]
    assert torch.equal(whole.prompt.vectors, resumed.prompt.vectors)


def test_small_origins(backbone) -> None:
    model = backbone("bert")
    whole = make_origin(OriginSpec("vocabulary", 4), model, 3)
    small = OriginSpec.parse("vocabulary*0.1", 4)
    torch.testing.assert_close(make_origin(small, model, 3), 0.1 * whole)
    assert small.to_dict() == {"kind": "vocabulary", "seed": 4, "scale": 0.1}
    assert {spec.scale for spec in small.others(3)} == {0.1}
    assert len({spec.seed for spec in small.others(3)}) == 3
    normal = make_origin(OriginSpec("normal", 4), model, 3)
    torch.testing.assert_close(
        make_origin(OriginSpec("normal", 4, scale=2.0), model, 3), 2 * normal
    )


@pytest.mark.parametrize("text", ["vocabulary*", "vocabulary*x", "mixture*0.5", "text", "words*2"])
def test_origins_that_cannot_be_read(text) -> None:
    with pytest.raises(TuningError, match="origin: expected vocabulary"):
        OriginSpec.parse(text, 0)


def test_what_has_no_further_origins_is_refused(capitals) -> None:
    with pytest.raises(TuningError, match="scale of an origin: expected a number above 0"):
        OriginSpec.parse("vocabulary*-1", 0)
    with pytest.raises(
        TuningError, match="several origins: expected the kind vocabulary or normal"
    ):
        TuneJob(capitals, OriginSpec("mixture"), origins=2)
    with pytest.raises(TuningError, match="origins: expected 1 or more, got 0"):
        TuneJob(capitals, origins=0)
