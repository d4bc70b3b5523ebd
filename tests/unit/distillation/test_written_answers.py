"""Prompts of text-to-text tasks move by what the source writes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from promptport.distillation import DistillConfig, Teacher, written_answers
from promptport.distillation.written_answers import move_by_writing
from promptport.errors import MismatchError, PromptPortError, TaskError, TuningError
from promptport.moving import MoveConfig, move, prepare_move
from promptport.parameters import OriginSpec, origin_prompt
from promptport.prediction import predict
from promptport.tasks import MemorySource, Row, Task, Template, WritingConfig

TEXTS = [f"{a} {b}" for a in ("red", "blue", "old", "new") for b in ("car", "house", "dog")]


@pytest.fixture
def task():
    rows = tuple(Row({"text": text}, text.split()[1]) for text in TEXTS * 2)
    return Task(
        name="nouns",
        kind="text2text",
        template=Template.parse("{soft} {text} = {answer}"),
        metric="exact-match",
        manual=None,
        labels=None,
        source=MemorySource({"train": rows, "dev": rows[:4], "test": rows[:4]}),
        writing=WritingConfig(max_new_tokens=3),
    )


@pytest.fixture
def source(backbone, task):
    prompt = origin_prompt(OriginSpec(seed=1), backbone("t5"), 2)
    return Teacher(
        backbone("t5"), prompt.with_provenance(task=task.name, template=task.template.text)
    )


@pytest.fixture
def says(monkeypatch):
    """The source says the first word of a text, and nothing to a text with `old`."""
    asked: list[str] = []

    def said(prompt, rows, **_):
        asked.extend(row.fields["text"] for row in rows)
        assert all(row.answer == "" for row in rows)
        words = [row.fields["text"].split()[0] for row in rows]
        return [SimpleNamespace(answer="" if word == "old" else f" {word} ") for word in words]

    monkeypatch.setattr(written_answers, "predict", said)
    return asked


CONFIG = DistillConfig(rows=24, steps=12, seed=0)


@pytest.mark.long
@pytest.mark.parametrize(("limit", "steps"), [(14, 7), (0, None)])
def test_it_takes_half_of_the_updates_of_tuning(
    backbone, task, source, says, monkeypatch, limit, steps
) -> None:
    usual = written_answers.usual_settings(backbone("gpt2"))
    limited = replace(usual, config=replace(usual.config, max_steps=limit, epochs=8))
    monkeypatch.setattr(written_answers, "usual_settings", lambda _: limited)
    config = replace(CONFIG, steps=0)
    found = move_by_writing([source], backbone("gpt2"), task, config=config)
    # 14 rows: a pass is one update of the usual batch.
    assert found.steps == (steps or 8)


@pytest.mark.long
def test_the_target_learns_what_the_source_writes(backbone, task, source, says) -> None:
    found = move_by_writing([source], backbone("gpt2"), task, config=CONFIG)
    backbone("gpt2").check_prompt(found.prompt)
    assert (found.rows, found.left_out, found.labelled) == (18, 6, 0)
    assert (found.held_back, found.metric, found.began) == (4, "exact-match", "vocabulary")
    assert found.steps == 12
    made = found.prompt.provenance
    assert [entry["step"] for entry in made.history] == ["begin", "write"]
    assert made.history[1]["labels_used"] is False
    assert made.history[1]["tuning"]["train_rows"] == 14
    assert (made.task, made.template) == (task.name, task.template.text)
    assert 0 <= found.like_source <= 1
    assert f"exact-match {found.like_source:.3f} on 4 held-back texts" in found.verdict
    # Nothing but the source's words was learned from: with other labels it ends the same.
    other = task.with_rows(train=[replace(row, answer="x") for row in task.load("train")])
    again = move_by_writing([source], backbone("gpt2"), other, config=CONFIG)
    assert again.prompt.vectors.equal(found.prompt.vectors)


def test_labels_join_and_several_sources_answer_in_turn(backbone, task, source, says) -> None:
    two = [source, source]
    found = move_by_writing(two, backbone("gpt2"), task, config=CONFIG, labelled=5)
    assert (found.rows, found.labelled) == (18, 5)
    assert found.prompt.provenance.history[1]["tuning"]["train_rows"] == 19
    assert found.prompt.provenance.history[1]["labels_used"] is True
    assert sorted(says) == sorted(row.fields["text"] for row in task.load("train"))


@pytest.mark.long
def test_a_stopped_move_goes_on(backbone, task, source, says, tmp_path, monkeypatch) -> None:
    whole = move_by_writing([source], backbone("gpt2"), task, config=CONFIG)
    count = len(says)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(written_answers, "tune", stopped)
        move_by_writing([source], backbone("gpt2"), task, config=CONFIG, state=tmp_path)
    found = move_by_writing([source], backbone("gpt2"), task, config=CONFIG, state=tmp_path)
    assert len(says) == 2 * count  # the answers were kept
    assert found.prompt.vectors.equal(whole.prompt.vectors)
    other = origin_prompt(OriginSpec(seed=2), source.backbone, 2)
    other = other.with_provenance(template=task.template.text)
    move_by_writing(
        [Teacher(source.backbone, other)], backbone("gpt2"), task, config=CONFIG, state=tmp_path
    )
    assert len(says) == 3 * count  # those of another prompt are not taken
    few = replace(CONFIG, rows=16)
    assert move_by_writing([source], backbone("gpt2"), task, config=few, state=tmp_path).rows < 17


def test_what_a_model_really_writes_is_learned(backbone, task) -> None:
    model = backbone("gpt2")
    prompt = origin_prompt(OriginSpec(seed=1), model, 2)
    source = Teacher(model, prompt.with_provenance(template=task.template.text))
    rows = [replace(row, answer="") for row in task.load("train")]
    said = predict(source.prompt, rows, backbone=model, task=task)
    found = move_by_writing([source], model, task, config=CONFIG)
    assert 8 <= found.rows <= sum(bool(answer.answer.strip()) for answer in said)
    assert found.rows + found.left_out == len(rows)
    with pytest.raises(TaskError, match="8 or more texts with an answer"):
        # It has no tokens for most of that.
        move_by_writing([source], backbone("t5"), task, config=CONFIG)


@pytest.mark.long
def test_the_front_door(backbone, task, source, says) -> None:
    config = MoveConfig(learning={"rows": 24, "steps": 12})
    place = source.backbone
    moved = move(source.prompt, backbone("gpt2"), backbone=place, task=task, config=config)
    wanted = move_by_writing([source], backbone("gpt2"), task, config=CONFIG)
    assert moved.plan.method == "answers"
    assert "unlabelled texts of nouns (train)" in moved.plan.why
    assert moved.prompt.vectors.equal(wanted.prompt.vectors)
    assert moved.verdict == wanted.verdict
    assert moved.to_dict()["like_source"] == wanted.like_source
    ask = {"backbone": place, "task": task}
    with pytest.raises(PromptPortError, match=r"expected models that write, .* a masked model"):
        prepare_move(source.prompt, backbone("bert"), **ask)
    few = replace(task, source=MemorySource({"train": task.load("train")[:3]}))
    with pytest.raises(PromptPortError, match="3 texts in train"):
        prepare_move(source.prompt, backbone("gpt2"), backbone=place, task=few, method="answers")
    with pytest.raises(PromptPortError, match="texts 'words': expected texts of the task"):
        prepare_move(source.prompt, backbone("gpt2"), texts="words", **ask)


def test_bad_input(backbone, task, source, monkeypatch) -> None:
    with pytest.raises(TuningError, match="sources"):
        move_by_writing([], backbone("gpt2"), task)
    with pytest.raises(TuningError, match="expected an origin"):
        move_by_writing([source], backbone("gpt2"), task, start="port")
    with pytest.raises(MismatchError):
        move_by_writing([Teacher(backbone("gpt2"), source.prompt)], backbone("gpt2"), task)
    nothing = [SimpleNamespace(answer=" ")] * 24
    monkeypatch.setattr(written_answers, "predict", lambda *_, **__: nothing)
    with pytest.raises(TaskError, match="8 or more texts with an answer by the source, got 0"):
        move_by_writing([source], backbone("gpt2"), task, config=CONFIG)
