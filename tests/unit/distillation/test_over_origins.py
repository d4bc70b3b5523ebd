"""Widening: a finished prompt's vector learns, without labels, to answer alike on any origin."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.distillation import (
    OVER_ORIGINS,
    Teacher,
    agreement,
    distill_over_origins,
    over_origins,
)
from promptport.distillation.variants import OnOrigins
from promptport.errors import MismatchError, TaskError, TuningError
from promptport.parameters import OriginSpec, make_origin
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.vector import TaskPromptVector

N = 3
CONFIG = replace(OVER_ORIGINS, rows=12, fill=0, steps=120, check=20, average=5, enough=0.0)
KINDS = ("bert", "gpt2", "t5")


@pytest.fixture
def task(films):
    parts = {s: (films.load(s) * 12)[:12] for s in ("train", "dev")}
    return films.with_rows(**parts)


def tuned(model, task, spec=None):
    job = TuneJob(task, spec or OriginSpec("vocabulary", 1), N)
    return tune(model, [job], TuneConfig(epochs=4, batch_size=4, patience=0))[0].prompt


def divergence(prompt, model, task, teacher, seeds):
    """Mean over origins of how far the vector is there from the answers of the teacher."""
    vector = TaskPromptVector.of(prompt)
    there = [vector.apply(make_origin(OriginSpec("vocabulary", s), model, N)) for s in seeds]
    found = [agreement(p, model, [Teacher(model, teacher)], task, config=CONFIG) for p in there]
    return sum(f.divergence for f in found) / len(found)


def test_what_is_learned_from_and_what_is_held_back(backbone, task, monkeypatch) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    made = []

    class Noted(OnOrigins):
        def __init__(self, learned, unseen):
            made.append((learned, unseen))
            super().__init__(learned, unseen)

    monkeypatch.setattr(over_origins, "OnOrigins", Noted)
    distill_over_origins(prompt, model, task, origins=5, config=replace(CONFIG, steps=1))
    ((shifts, unseen),) = made
    assert (len(shifts), len(unseen)) == (5, 16)
    assert not shifts[0].any(), "the prompt's own origin is one of them"
    every = torch.cat([shifts, unseen]).flatten(1)
    assert len(every.unique(dim=0)) == 21, "no origin is asked twice"
    wanted = [make_origin(o, model, N) for o in OriginSpec("vocabulary", 1).others(21)]
    torch.testing.assert_close(prompt.origin.flatten() + every, torch.stack(wanted).flatten(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_widened_vector_answers_alike_where_nothing_was_learned(backbone, task, name) -> None:
    model = backbone(name)
    prompt = tuned(model, task)
    seen = []
    found = distill_over_origins(
        prompt, model, task, config=CONFIG, progress=lambda *step: seen.append(step)
    )
    assert found.floor - 1e-5 <= found.after < found.before
    before, after = (
        divergence(p, model, task, prompt, range(100, 108)) for p in (prompt, found.prompt)
    )
    assert after < 0.6 * before
    assert torch.equal(found.prompt.origin, prompt.origin)
    assert found.prompt.provenance.origin == {"kind": "vocabulary", "seed": 1}
    assert found.prompt.provenance.tuning is None
    entry = found.prompt.provenance.history[-1]
    assert (entry["step"], entry["labels_used"]) == ("distill_over_origins", False)
    assert entry["origins"] == 64
    assert (entry["kind"]["kind"], entry["tuning"]) == ("vocabulary", prompt.provenance.tuning)
    assert seen[-1] == (found.steps, 120)
    model.check_prompt(found.prompt)


@pytest.mark.slow
def test_what_is_missed_on_the_own_origin(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    still = distill_over_origins(
        prompt, model, task, config=replace(CONFIG, steps=20, relative_lr=1e-9)
    )
    assert still.missed_own == pytest.approx(0, abs=1e-4)  # it says what it said
    assert still.missed[0] > 10 * still.missed_own
    moved = distill_over_origins(prompt, model, task, config=CONFIG)
    assert 1e-3 < moved.missed_own < still.missed[0]
    assert moved.to_dict()["missed_own"] == moved.missed_own
    assert "missed_own" not in replace(moved, missed_own=None).to_dict()


@pytest.mark.slow
def test_labels_are_never_read(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    rows = {s: tuple(replace(r, answer="") for r in task.load(s)) for s in ("train", "dev")}
    blank = task.with_rows(**rows)
    found, same = (
        distill_over_origins(prompt, model, each, config=CONFIG).prompt for each in (task, blank)
    )
    assert torch.equal(found.vectors, same.vectors)


@pytest.mark.long
def test_what_the_vector_is_measured_from(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    few = replace(CONFIG, steps=20, seed=5)
    bare = replace(prompt.with_provenance(origin=None), origin=None)  # as PEFT keeps it
    bare = bare.with_provenance(task=None, template=None, fingerprint=None)
    found = distill_over_origins(bare, model, task, config=few).prompt
    known = (task.name, task.template.text, model.space.fingerprint)
    made = found.provenance
    assert (made.task, made.template, made.fingerprint) == known
    assert found.provenance.origin == {"kind": "vocabulary", "seed": 5}
    assert torch.equal(found.origin, make_origin(OriginSpec("vocabulary", 5), model, N))
    small = OriginSpec("normal", 2, scale=0.1)
    found = distill_over_origins(prompt, model, task, origin=small, config=few).prompt
    entry = found.provenance.history[-1]
    assert found.provenance.origin == small.to_dict() == entry["kind"]
    assert (entry["origin"], entry["task"]) == ({"kind": "vocabulary", "seed": 1}, task.name)
    assert torch.equal(found.origin, make_origin(small, model, N))
    # A text cannot be drawn again, so the other origins are random words.
    spoken = distill_over_origins(
        tuned(model, task, OriginSpec("text", text="a film")), model, task, config=few
    )
    assert spoken.prompt.provenance.origin == {"kind": "text", "text": "a film"}
    assert spoken.prompt.provenance.history[-1]["kind"] == {"kind": "vocabulary", "seed": 5}
    scaled = distill_over_origins(tuned(model, task, small), model, task, config=few).prompt
    assert scaled.provenance.history[-1]["kind"] == small.to_dict()


def test_bad_input(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    with pytest.raises(TuningError, match="origins: expected 2 or more, got 1"):
        distill_over_origins(prompt, model, task, origins=1, config=CONFIG)
    with pytest.raises(MismatchError):
        distill_over_origins(prompt, backbone("gpt2"), task, config=CONFIG)
    few = task.with_rows(train=task.load("train")[:5])
    with pytest.raises(TaskError, match="at least 8 rows"):
        distill_over_origins(prompt, model, few, config=CONFIG)
    with pytest.raises(TuningError, match="a prompt of 3 virtual tokens"):
        other = OriginSpec("prompt", prompt=tuned(model, task))
        distill_over_origins(prompt, model, task, origin=replace(other, prompt=None), config=CONFIG)


def test_origins_that_can_be_drawn_again_are_known_and_written() -> None:
    for spec in (OriginSpec("normal", 3, scale=0.1), OriginSpec("vocabulary", 2)):
        assert OriginSpec.drawn_again(spec.to_dict()) == spec
        assert OriginSpec.parse(spec.written, spec.seed) == spec
    for made in (None, {"kind": "text", "text": "a"}, {"kind": "mixture", "seed": 1}):
        assert OriginSpec.drawn_again(made) is None
