"""Books of cells: what is kept, what is found again, what counts no longer."""

from __future__ import annotations

import json

import pytest
from benchmarks._cells import Cells
from benchmarks._inputs import limited, weights_of

from promptport.tasks import open_task

NOW = {"b": "now", "c": "now"}


def book(path):
    return Cells(path, lambda cell: NOW[cell["backbone"]], "score", "start")


def test_cells_are_kept_once_and_rounded(tmp_path) -> None:
    path = tmp_path / "new" / "cells.jsonl"
    cells = book(path)
    assert not path.exists()
    cells.add({"score": 0.123456789, "start": {"x": [1.0000001]}}, backbone="b", seed=0)
    cells.add({"score": 0.9, "start": {}}, backbone="b", seed=0)
    again = book(path)
    place = {"backbone": "b", "seed": 0, "weights": "now"}
    assert again.rows == cells.rows == [{**place, "score": 0.12346, "start": {"x": [1.0]}}]
    assert again.has(seed=0, backbone="b")
    assert not again.has(seed=1, backbone="b")
    assert len(path.read_text().splitlines()) == 1


def test_cells_of_other_weights_are_made_anew(tmp_path) -> None:
    path = tmp_path / "cells.jsonl"
    old = {"backbone": "c", "seed": 0, "weights": "then", "score": 1.0}
    path.write_text(json.dumps(old) + "\n")
    cells = book(path)
    assert not cells.rows
    assert not cells.has(backbone="c", seed=0)
    cells.add({"score": 0.5}, backbone="c", seed=0)
    assert [json.loads(line)["score"] for line in path.read_text().splitlines()] == [1.0, 0.5]
    assert [cell["score"] for cell in book(path).rows] == [0.5]


def test_a_value_that_would_become_part_of_the_place_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"\['loss'\] is none of \['score', 'start'\]"):
        book(tmp_path / "cells.jsonl").add({"loss": 1.0}, backbone="b")


def test_weights_of_several_are_joined() -> None:
    one, other = weights_of("nano-bert"), weights_of("nano-t5")
    assert len(one) == len(other) == 8
    assert one != other
    assert weights_of("nano-bert", "nano-t5") == f"{one}-{other}"


def test_limited_takes_the_same_rows_and_first_words() -> None:
    task = open_task("topic")
    less = limited(task, {"train": 7, "test": 5}, words=3)
    assert [len(less.load(split)) for split in ("train", "test")] == [7, 5]
    assert limited(task, {"train": 7}, words=3).load("train") == less.load("train")
    whole = limited(task, {"train": 7}).load("train")
    assert all(row in task.load("train") for row in whole)
    for row, cut in zip(whole, less.load("train"), strict=True):
        for name, text in row.fields.items():
            assert cut.fields[name] == " ".join(text.split()[:3])
