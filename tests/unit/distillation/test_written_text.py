"""Texts that a model writes: what it is shown, what is kept, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from promptport.backbone import Backbone
from promptport.distillation import DistillConfig, Teacher, agreement, move_by_answers, written_text
from promptport.distillation.questions import with_written_texts
from promptport.distillation.written_text import can_write, written_rows
from promptport.errors import BackboneError, TaskError
from promptport.parameters import OriginSpec, origin_prompt
from promptport.tasks import Row

TREES = "amber birch cedar dusk ember frost grove heath iris jade kite lark moss nest oak"
WORDS = list(map(str, TREES.split(" ")))


@pytest.fixture
def written(monkeypatch):
    """What the model is given, and a writer of two fresh words and one that is always there."""
    openings: list[str] = []

    def continued(pen, given, seed):
        openings.extend(given)
        made = []
        for _ in given:
            number = written.count
            written.count += 1
            made.append(f"film {WORDS[number % 15]}{number} {WORDS[number // 15 % 15]}{number}")
        return made

    continued.count = 0
    written = continued
    monkeypatch.setattr(written_text._Pen, "_continued", continued)
    return openings


def test_a_list_of_texts_is_continued(backbone, films, written) -> None:
    shown = films.load("train")[:4]
    rows = written_rows(backbone("gpt2"), films, 20, 0, shown=shown)
    assert len(rows) == 20
    assert all(row.answer == "" and row.fields["text"].startswith("film ") for row in rows)
    first = written[0]
    assert first.endswith("\n-")
    listed = {line[2:] for line in first.splitlines()[:-1]}
    assert listed == {row.fields["text"] for row in shown}
    # Eight texts go on with each list, and lists differ.
    assert [written.count(own) for own in dict.fromkeys(written)] == [8, 8, 4]


def test_equal_openings_go_on_differently_and_as_they_would_alone(films) -> None:
    pen = written_text._Pen(Backbone.load("nano-gpt2", device="cpu"), films, 0, "")
    opening = "The river is long and the"
    together = pen._continued([opening] * 4, 5)
    assert len(set(together)) > 1
    assert together == [pen._continued([opening], 5 + number)[0] for number in range(4)]


def test_a_description_is_enough_to_begin_with(backbone, films, written) -> None:
    rows = written_rows(backbone("gpt2"), films, 60, 0, about="short film reviews.")
    assert len(rows) == 60
    assert written[0] == "Short film reviews, great:\n1."
    assert written[1] == "Short film reviews, terrible:\n2."
    # What it wrote itself is shown in the next round.
    own = {row.fields["text"] for row in rows}
    later = written[-1]
    assert later.startswith("Short film reviews:\n\n- film ")
    assert {line[2:] for line in later.splitlines()[2:-1]} <= own


def test_label_words_are_enough_too(backbone, films, written) -> None:
    assert len(written_rows(backbone("gpt2"), films, 5, 0)) == 5
    assert written[0] == "Texts, great:\n1."


def test_rows_of_several_fields(backbone, films, monkeypatch) -> None:
    pair = [Row({"text": f"it is {w}", "text_b": f"all is {w}"}, "") for w in WORDS[:4]]
    task = replace(films, template=films.template.parse("{text} {soft} {text_b} {answer}"))
    task = replace(task, manual=task.template.without_soft())
    made = [
        " the sun is up\ntext_b: it is day",
        " no second field",
        " the moon is out\ntext_b: it is night",
    ]
    openings: list[str] = []

    def continued(pen, given, seed):
        openings.extend(given)
        return made[: len(given)]

    monkeypatch.setattr(written_text._Pen, "_continued", continued)
    rows = written_rows(backbone("gpt2"), task, 3, 0, shown=pair)
    assert [row.fields for row in rows] == [
        {"text": "the sun is up", "text_b": "it is day"},
        {"text": "the moon is out", "text_b": "it is night"},
    ]
    assert openings[0].endswith("\n\ntext:")
    with pytest.raises(TaskError, match="3 or more texts to show"):
        written_rows(backbone("gpt2"), task, 3, 0, about="pairs")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a quiet film about a lighthouse", True),
        ("great", False),
        ("", False),
        ("so so so so so good", False),
        ("2017 - 2018 / 44 $$ 12", False),
        ("word " * 60, False),
        ("A great FILM!", False),  # nearly one that was shown
    ],
)
def test_what_is_of_use(backbone, films, monkeypatch, text, kept) -> None:
    monkeypatch.setattr(written_text._Pen, "_continued", lambda pen, given, seed: [text] * 3)
    rows = written_rows(backbone("gpt2"), films, 3, 0, shown=films.load("train")[:4])
    assert [row.fields["text"] for row in rows] == [text] * kept  # and only once


def test_bad_input(backbone, films, capitals) -> None:
    assert can_write(backbone("gpt2"))
    assert not can_write(backbone("bert"))
    with pytest.raises(TaskError, match=r"say what they are \(--about"):
        written_rows(backbone("gpt2"), capitals, 3, 0)
    prompt = origin_prompt(OriginSpec(), backbone("bert"), 2)
    teacher, config = Teacher(backbone("bert"), prompt), DistillConfig(texts="write")
    with pytest.raises(BackboneError, match="a causal model, which writes"):
        with_written_texts(films, "train", config, backbone("bert"), [teacher])


def test_written_texts_are_kept(backbone, films, written, tmp_path) -> None:
    model = backbone("gpt2")
    config = DistillConfig(texts="write", rows=12, shown=4)

    def made(config):
        kept = tmp_path / "texts.json"
        task, _ = with_written_texts(films, "train", config, model, [], kept)
        return [row.fields for row in task.texts("train")]

    first, count = made(config), len(written)
    assert len(first) == 24
    assert made(config) == first
    assert len(written) == count
    assert made(replace(config, about="films")) != first
    assert len(written) > count


def test_a_move_on_written_texts_reads_no_row_but_those_shown(backbone, films, written) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    prompt = origin_prompt(OriginSpec(seed=3), source, 2).with_provenance(
        task=films.name, template=films.template.text
    )
    config = DistillConfig(texts="write", rows=12, shown=0, about="film reviews", epochs=3)
    found = move_by_answers(
        [Teacher(source, prompt)], goal, films, start="vocabulary", config=config
    )
    assert found.texts == "write"
    asked = {question.row.fields["text"] for question in found.asked.questions}
    assert len(asked) == 12
    assert asked <= {row.fields["text"] for row in found.written}
    assert not any(row.fields["text"] in "".join(written) for row in films.load("train"))
    entry = found.prompt.provenance.history[-1]
    assert (entry["step"], entry["texts"]) == ("align", "write")
    # The same texts are written again where only agreement is asked.
    teacher = [Teacher(source, prompt)]
    assert agreement(found.prompt, goal, teacher, films, config=config).rows == 12
    assert json.dumps(found.to_dict())
