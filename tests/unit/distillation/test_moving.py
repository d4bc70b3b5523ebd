"""The whole road for finished prompts: what is read, from where alignment starts, the record."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.distillation import (
    INTO_MERGE,
    DistillConfig,
    Teacher,
    agreement,
    choose_cue_word,
    merge_settings,
    move_by_answers,
    recipes,
    starts,
    teacher_answers,
)
from promptport.distillation.starts import Start, usual_distillation, usual_start
from promptport.distillation.targets import DistillTargets
from promptport.errors import MismatchError, TaskError, TuningError
from promptport.evaluation import evaluate
from promptport.objective import Objective, pick_rows
from promptport.parameters import OriginSpec, make_origin
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.tuning.label_prior import label_scores, without_prior

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


@pytest.mark.long
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


@pytest.mark.parametrize(
    ("start", "began", "steps"),
    [
        ("mixture", "mixture", ["fit_mixture", "transfer", "align"]),
        ("port", "port", ["transfer", "align"]),
        ("vocabulary", "vocabulary", ["begin", "align"]),
        ("normal*0.5", "normal", ["begin", "align"]),
        ("text:the capital is", "text", ["begin", "align"]),
    ],
)
def test_where_alignment_starts(backbone, task, start, began, steps) -> None:
    source, goal = backbone("bert"), backbone("t5")
    prompt = tuned(source, task)
    config = replace(CONFIG, texts="task")
    found = move_by_answers([Teacher(source, prompt)], goal, task, start=start, config=config)
    history = found.prompt.provenance.history
    assert found.began == found.to_dict()["began"] == began
    assert [entry["step"] for entry in history] == steps
    assert len(found.transfers) == steps.count("transfer")
    assert found.after.divergence < found.before.divergence
    assert found.prompt.provenance.template == prompt.provenance.template
    assert found.prompt.provenance.task == prompt.provenance.task
    if steps[0] == "begin":
        spec = OriginSpec.parse(start, config.seed)
        assert history[0]["start"] == spec.to_dict()
        assert history[0]["tuning"] == prompt.provenance.tuning
        begun = found.asked.agreement(make_origin(spec, goal, 3), found.before.rows)
        assert begun == found.before


@pytest.mark.long
def test_the_manual_template_of_the_target_as_a_second_teacher(backbone, films) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    rows = [replace(row, answer="good") for row in films.load("train") * 4]
    task = films.with_rows(train=rows, dev=rows)
    teacher, start = Teacher(source, tuned(source, task)), tuned(goal, task)

    def made(weight: float) -> DistillTargets:
        config = DistillConfig(rows=12, manual_weight=weight)
        return DistillTargets.make(goal, start, [teacher], task, "train", config)

    alone, both, other = made(0), made(2.0), made(1e6)
    assert alone.of_teachers.equal(alone.answers)
    assert both.of_teachers.equal(alone.answers)
    scores = label_scores(
        Objective(goal, task, task.manual), [question.row for question in alone.questions]
    )
    own = without_prior(scores, scores.softmax(1).mean(0)).log_softmax(1)
    wanted = (alone.answers.log() + 2 * own).softmax(1)
    torch.testing.assert_close(both.answers, wanted)
    assert other.answers.argmax(1).equal(own.argmax(1))
    # Agreement is with the source, whatever is learned.
    assert both.agreement(start.vectors) == alone.agreement(start.vectors)


@pytest.mark.long
def test_labels_are_learned_beside_the_answers(backbone, films) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    task = films.with_rows(
        train=[
            replace(row, fields={"text": f"{row.fields['text']} {i}"})
            for i in range(4)
            for row in films.load("train")
        ]
    )
    prompt = tuned(source, films.with_rows(*(films.load("train"),) * 2))
    teachers = [Teacher(source, prompt)]
    config = DistillConfig(rows=16, epochs=12, batch_size=4, relative_lr=0.3)

    def move(labelled: int):
        return move_by_answers(
            teachers, goal, task, start="vocabulary", config=config, labelled=labelled
        )

    alone, told = move(0), move(8)
    own = told.asked
    held = [question.row.fields for question in own.questions[:3]]
    others = [row for row in task.load("train") if row.fields not in held]
    rows = pick_rows(others, 8, 0)  # not of the texts that tell how well it went
    assert (own.labelled, own.read, len(own.questions)) == (8, 16, 24)
    names = [task.label_names[i] for i in own.answers[-8:].argmax(1)]
    assert names == [row.answer for row in rows]
    assert float(own.answers[-8:].max(1).values.min()) == 1.0
    # The rows are laid out without their labels.
    assert {question.row.answer for question in own.questions} == {task.label_names[0]}
    some = task.with_rows(test=rows)
    assert evaluate(goal, some, told.prompt).loss < evaluate(goal, some, alone.prompt).loss
    assert told.aligned.to_dict()["labelled"] == 8
    assert told.prompt.provenance.history[-1]["labels_used"] is True
    assert alone.prompt.provenance.history[-1]["labels_used"] is False
    assert told.after.rows == alone.after.rows == 3
    with pytest.raises(TuningError, match="labelled: expected 0 rows or more"):
        move(-1)


def test_it_starts_from_a_prompt_of_the_target(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("t5")
    start, teacher = tuned(goal, task), Teacher(source, tuned(source, task))
    found = move_by_answers([teacher], goal, task, start=start, config=CONFIG)
    assert found.began == "prompt"
    assert found.asked.agreement(start.vectors, found.before.rows) == found.before
    with pytest.raises(MismatchError):
        move_by_answers([teacher], goal, task, start=teacher.prompt, config=CONFIG)


def test_the_source_is_asked_once(backbone, task, monkeypatch) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    teacher, asked = Teacher(source, tuned(source, task)), []
    collect = teacher_answers.collect_scores
    monkeypatch.setattr(
        teacher_answers, "collect_scores", lambda *a, **k: asked.append(a[0]) or collect(*a, **k)
    )
    move_by_answers([teacher], goal, task, start="vocabulary", config=CONFIG)
    assert asked == [source]


class Stopped(Exception):
    """Like a killed process."""


@pytest.mark.long
@pytest.mark.parametrize(("start", "average"), [("vocabulary", 0), ("port", 3), ("mixture", 0)])
def test_a_stopped_move_goes_on_to_the_same_bits(
    backbone, task, tmp_path, monkeypatch, start, average
) -> None:
    source, goal = backbone("bert"), backbone("t5")
    teacher, config = Teacher(source, tuned(source, task)), replace(CONFIG, average=average)
    whole = move_by_answers([teacher], goal, task, start=start, config=config)
    monkeypatch.setattr(recipes, "SAVE_SECONDS", -1.0)

    def stop_at(label: str, step: int):
        def progress(what: str, done: int, total: int) -> None:
            if what.startswith(label) and done == step:
                raise Stopped

        return progress

    def move(progress=None):
        return move_by_answers(
            [teacher],
            goal,
            task,
            start=start,
            config=config,
            progress=progress,
            state=tmp_path / "state",
        )

    stages = [("fitting", 9), ("aligning", 5)] if start == "mixture" else [("aligning", 5)]
    for label, step in stages:
        with pytest.raises(Stopped):
            move(stop_at(label, step))
    taken: list[tuple[str, int]] = []
    asked = []
    collect = teacher_answers.collect_scores
    monkeypatch.setattr(
        teacher_answers, "collect_scores", lambda *a, **k: asked.append(a[0]) or collect(*a, **k)
    )
    found = move(lambda what, done, total: taken.append((what[:8], done)))
    assert found.prompt.vectors.equal(whole.prompt.vectors)
    assert found.aligned.to_dict() == whole.aligned.to_dict()
    # A step that was interrupted before it was saved is taken again.
    assert min(done for what, done in taken if what == "aligning") == 5
    if start == "vocabulary":
        assert asked == []
    with pytest.raises(TuningError, match="the state of this very run"):
        move_by_answers(
            [teacher],
            goal,
            task,
            start=start,
            config=replace(config, seed=7),
            state=tmp_path / "state",
        )


def test_label_words_to_start_from(task, films) -> None:
    assert Start.parse("labels", films, 0).origin.text == "great good terrible unhappy"
    with pytest.raises(TuningError, match="a task with label words"):
        Start.parse("labels", task, 0)
    with pytest.raises(TuningError, match="start of a move: expected auto, mixture, port, labels"):
        Start.parse("nothing", task, 0)


def test_large_models_begin_anew_and_small_ones_from_the_prompt(backbone, monkeypatch) -> None:
    small = backbone("bert")
    assert usual_start(small, [backbone("gpt2")]) == "mixture"
    assert usual_distillation(small) == DistillConfig()
    monkeypatch.setattr(starts, "LARGE", small.parameters)
    assert usual_start(small, [small]) == "vocabulary"
    assert usual_distillation(small).steps > 0


def test_sums_learn_in_fewer_updates_on_large_models(backbone, monkeypatch) -> None:
    small = backbone("bert")
    assert merge_settings(small) == INTO_MERGE
    assert merge_settings(small, {"steps": 7}) == replace(INTO_MERGE, steps=7)
    assert merge_settings(small, CONFIG) == CONFIG
    monkeypatch.setattr(recipes, "LARGE", small.parameters)
    usual = merge_settings(small)
    assert usual.steps < INTO_MERGE.steps
    # The start counts in the running mean: by the end it is to be next to nothing.
    assert (1 - 1 / usual.average) ** usual.steps < 0.01
    assert merge_settings(small, {"rows": 9}).rows == 9
    with pytest.raises(TuningError, match="rows"):
        merge_settings(small, {"rows": 1})


def test_bad_input(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    with pytest.raises(TuningError, match="sources"):
        move_by_answers([], goal, task)
    with pytest.raises(MismatchError):
        move_by_answers([Teacher(goal, tuned(source, task))], goal, task, config=CONFIG)
