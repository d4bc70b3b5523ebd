"""Books of cells: what is kept, what is found again, what counts no longer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from promptport.errors import FileFormatError, StorageError
from promptport.experiments.result_store import ResultStore, packed, task_stamp, unpacked
from promptport.tasks import MemorySource, Row, Task, Template, WritingConfig

NOW = {"b": "now", "c": "now"}


def book(path):
    return ResultStore(path, lambda cell: NOW[cell["backbone"]], "score", "start")


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


def test_numbers_may_be_kept_as_they_are(tmp_path) -> None:
    for _ in range(2):
        cells = ResultStore(tmp_path / "cells.jsonl", lambda cell: "", "score", exact=True)
        cells.add({"score": 2 / 3}, seed=0)
        assert cells.get(seed=0)["score"] == 2 / 3


@pytest.mark.parametrize("right", [[True], [False] * 9, [False, True, True, False, True]])
def test_rows_are_packed_as_bits(right) -> None:
    assert unpacked(packed(right)) == right
    assert packed([False, True, True, True, True]) == "5:f"


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


def test_a_line_that_a_killed_run_left_is_taken_off(tmp_path) -> None:
    path = tmp_path / "cells.jsonl"
    book(path).add({"score": 0.5}, backbone="b", seed=0)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    cells = book(path)
    assert path.read_bytes() == whole
    cells.add({"score": 0.25}, backbone="b", seed=1)
    again = book(path)
    assert [again.get(backbone="b", seed=seed)["score"] for seed in (0, 1)] == [0.5, 0.25]
    assert again.get(backbone="b", seed=2) is None


@pytest.mark.parametrize("line", ["", "[1]", '{"score": 1}', "\x80\x02"])
def test_a_damaged_line_is_named(tmp_path, line) -> None:
    path = tmp_path / "cells.jsonl"
    book(path).add({"score": 0.5}, backbone="b", seed=0)
    with path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")
    with pytest.raises(FileFormatError, match="line 2: expected a finished measurement"):
        book(path)


def test_without_a_file_cells_are_kept_in_memory(tmp_path) -> None:
    cells = book(None)
    cells.add({"score": 0.5}, backbone="b", seed=0)
    assert cells.get(backbone="b", seed=0)["score"] == 0.5


def test_a_place_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file: expected a folder that can be written"):
        book(tmp_path / "file" / "cells.jsonl")


TASK = Task(
    "own",
    "classification",
    Template.parse("{soft} {text} {answer}"),
    "accuracy",
    labels={"a": ("good",), "b": ("bad",)},
    source=MemorySource({"test": (Row({"text": "w"}, "a"),)}),
)


def test_a_stamp_is_of_all_that_a_task_asks() -> None:
    manual = Template.parse("{text} {answer}")
    changes = [
        {},
        {"manual": manual},
        {"paraphrases": (manual,)},
        {"manual": manual, "paraphrases": (manual,)},
        {"sentinel": False},
        {"description": "of no account"},
    ]
    stamps = [task_stamp(replace(TASK, **change), "test") for change in changes]
    assert len(set(stamps)) == len(changes) - 1
    # What is as usual was no part of older stamps, which still count.
    assert stamps[0] == stamps[-1] == "fe2e52f58ada5844"
    text = replace(TASK, kind="text2text", labels=None, metric="exact-match")
    other = replace(text, writing=WritingConfig(max_new_tokens=3))
    assert task_stamp(text, "test") != task_stamp(other, "test")
