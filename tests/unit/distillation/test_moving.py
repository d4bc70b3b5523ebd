"""The whole road for finished prompts: what is read, from where alignment starts, the record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport.distillation import (
    DistillConfig,
    Teacher,
    agreement,
    choose_cue_word,
    move_by_answers,
)
from promptport.errors import MismatchError, TaskError, TuningError
from promptport.parameters import OriginSpec
from promptport.tuning import TuneConfig, TuneJob, tune

CONFIG = DistillConfig(texts="words", rows=12, epochs=4, batch_size=4, relative_lr=0.1)


@pytest.fixture
def task(capitals):
    rows = {s: (capitals.load(s) * 12)[:12] for s in ("train", "dev")}
    return capitals.with_rows(**rows)


def tuned(model, task, kind="vocabulary"):
    job = TuneJob(task, OriginSpec(kind, 1), 3)
    return tune(model, [job], TuneConfig(epochs=3, batch_size=4, patience=0))[0].prompt


@pytest.mark.parametrize("target", ["gpt2", "t5"])
def test_the_result_answers_more_like_the_source(backbone, task, target) -> None:
    source, goal = backbone("bert"), backbone(target)
    teacher = Teacher(source, tuned(source, task))
    found = move_by_answers([teacher], goal, task, config=CONFIG)
    goal.check_prompt(found.prompt)
    assert found.after.divergence < found.before.divergence
    measured = agreement(found.prompt, goal, [teacher], task, config=CONFIG, held_back=True)
    assert found.after == measured
    assert found.after.rows == round(CONFIG.held_back * CONFIG.rows)
    steps = [entry["step"] for entry in found.prompt.provenance.history]
    assert [s for s in steps if s != "cue_word"] == ["fit_mixture", "transfer", "align"]


def test_no_row_is_read_with_random_words(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    teacher = Teacher(source, tuned(source, task))
    empty = task.with_rows()
    assert move_by_answers([teacher], goal, empty, config=CONFIG).prompt.length == 3
    with pytest.raises(TaskError):
        move_by_answers([teacher], goal, empty, config=replace(CONFIG, texts="task"))


def test_of_several_sources_the_start_that_answers_most_like_all(backbone, task) -> None:
    sources = [backbone("bert"), backbone("t5")]
    goal = backbone("gpt2")
    teachers = [
        Teacher(sources[0], tuned(sources[0], task)),
        Teacher(sources[1], tuned(sources[1], task, "mixture")),
    ]
    found = move_by_answers(teachers, goal, task, config=CONFIG)
    apart = [
        min(choose_cue_word(each.prompt, goal, teachers, task, config=CONFIG).divergences.values())
        for each in found.transfers
    ]
    assert apart[found.start] == min(apart)
    assert [each is None for each in found.mixtures] == [False, True]


def test_bad_input(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    with pytest.raises(TuningError, match="sources"):
        move_by_answers([], goal, task)
    with pytest.raises(MismatchError):
        move_by_answers([Teacher(goal, tuned(source, task))], goal, task, config=CONFIG)
