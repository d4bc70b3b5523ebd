"""The folder of a run is read whole, or refused in one line that names the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.runs import REPORT, identity, make_run, write_run

from promptport.errors import FileFormatError, StorageError
from promptport.recipes.reports import read_report_spec, read_run


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run")


def _change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def _cell(folder, kind="transfer"):
    cells = json.loads((folder / "recipe.json").read_text())["cells"]
    own = next(cell for cell in cells if cell["kind"] == kind)
    return folder / "cells" / f"{own['id']}.json"


def _refused(folder, *parts, error=FileFormatError):
    with pytest.raises(error) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value), caught.value


def test_what_is_finished_failed_missing_and_left_out(folder) -> None:
    run = read_run(folder)
    assert run.counts() == {
        "asked": 18 + 108 + 72 + 16,
        "finished": 209,
        "failed": 2,
        "missing": 3,
        "left_out": 1,
    }
    failed = [cell for cell in run.cells if cell.state == "failed"]
    assert {cell.error for cell in failed} == {"RuntimeError: expected finite logits, got nan"}
    assert {cell.attempts for cell in failed} == {3}
    assert run.settings() == {
        "backbones": ["nano-bert", "nano-roberta", "nano-albert"],
        "length": 5,
        "tuning.epochs": 8,
        "tuning.lr": 0.3,
    }
    first = run.cells[0]
    assert (first.kind, first.place["target"], first.seconds) == ("tune", "nano-bert", 1.5)


def test_a_cell_that_succeeded_after_it_failed_is_finished(folder) -> None:
    path = _cell(folder)
    record = json.loads(path.read_text())
    failed = {k: record[k] for k in ("id", "kind", "place")} | {"error": "x", "attempts": 1}
    (folder / "failed" / path.name).write_text(json.dumps(failed))
    assert read_run(folder).counts()["finished"] == 209


def test_finished_cells_of_another_recipe_are_counted_apart(folder) -> None:
    (folder / "cells" / f"{identity('tune', {'seed': 99})}.json").write_text("{}")
    (folder / "cells" / ".half-written.json").write_text("{")
    assert read_run(folder).others == 1


def test_a_run_that_has_just_begun(folder) -> None:
    for name in ("cells", "failed"):
        for file in (folder / name).iterdir():
            file.unlink()
        (folder / name).rmdir()
    (folder / "environment.json").unlink()
    run = read_run(folder)
    assert (run.counts()["missing"], dict(run.environment)) == (214, {})


def test_another_folder_is_refused(tmp_path) -> None:
    _refused(tmp_path / "none", "no such folder", "recipe.json", error=StorageError)
    _refused(tmp_path, "a folder without recipe.json", error=StorageError)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"values": {"right": "3:f"}}, "'ROWS:HEX'"),
        ({"values": {"right": "0:0"}}, "'ROWS:HEX'"),
        ({"values": {"right": [1, 0]}}, "'ROWS:HEX'"),
        ({"values": 3}, "a field 'values'"),
        ({"seconds": -1}, "seconds, 0 or more"),
        ({"seconds": "3"}, "seconds, 0 or more"),
        ({"processor_seconds": float("nan")}, "seconds, 0 or more"),
        ({"finished": "yesterday"}, "a time with its zone"),
        ({"finished": "2026-11-29T18:40:00"}, "a time with its zone"),
        ({"attempt": 1.5}, "a whole number"),
        ({"id": "0" * 16}, "the id"),
        ({"kind": "tune"}, "the kind 'transfer', as asked"),
        ({"place": {"source": "nano-bert"}}, "the place"),
        ({"place": {"source": {"a": 1}}}, "texts, numbers or lists"),
    ],
)
def test_a_damaged_cell_is_told(folder, values, part) -> None:
    path = _cell(folder)
    _change(path, **values)
    _refused(folder, str(path), part)


def test_a_truncated_cell_is_told(folder) -> None:
    path = _cell(folder)
    path.write_text(path.read_text()[:50])
    _refused(folder, str(path), "does not parse")


def test_a_damaged_failure_is_told(folder) -> None:
    path = next((folder / "failed").iterdir())
    _change(path, error=None)
    _refused(folder, str(path), "a field 'error'")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"cells": None}, "a field 'cells'"),
        ({"cells": [{"id": "../../etc", "kind": "x", "place": {}}]}, "an id of letters"),
        ({"cells": [{"id": "a", "kind": "x", "place": {}}] * 2}, "'a' twice"),
        ({"left_out": [{"place": {}}]}, "left out 1"),
        ({"name": 3}, "a field 'name'"),
        ({"report": []}, "a field 'report'"),
    ],
)
def test_a_damaged_recipe_is_told(folder, values, part) -> None:
    _change(folder / "recipe.json", **values)
    _refused(folder, str(folder / "recipe.json"), part)


TABLE = {"name": "t", "title": "T", "rows": ["a"]}
FIGURE = {"name": "f", "title": "F", "figure": "curves", "x": "x", "lines": "l", "value": "v"}
ROW = {"table": "t", "row": "r", "column": "c", "value": 1, "source": "s", "model": "m"}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"tabels": []}, ("report", "Did you mean 'tables'")),
        ({"tables": [{**TABLE, "colums": "x"}]}, ("tables 1", "Did you mean 'columns'")),
        ({"tables": [{"name": "t", "rows": ["a"]}]}, ("tables 1", "no 'title'")),
        ({"tables": [{**TABLE, "name": "../t"}]}, ("key 'name'", "letters, digits")),
        ({"tables": [TABLE, {**TABLE, "name": "T"}]}, ("tables", "'t' twice")),
        ({"tables": [{**TABLE, "scale": 10}]}, ("key 'scale'", "1 or 100")),
        ({"tables": [{**TABLE, "best": "most"}]}, ("key 'best'", "one of max, min")),
        ({"tables": [3]}, ("tables 1", "a mapping")),
        ({"figures": [{**FIGURE, "figure": "pie"}]}, ("key 'figure'", "heat_map")),
        ({"figures": [{**FIGURE, "lines": None}]}, ("figures 1", "no 'lines'")),
        ({"figures": [{**FIGURE, "relative_to": {"a": 1}}]}, ("figures 1", "bars alone")),
        ({"tables": [TABLE], "published": [{**ROW, "table": "u"}]}, ("published 1", "'u'")),
        ({"tables": [TABLE], "published": [{**ROW, "value": float("nan")}]}, ("key 'value'",)),
        (
            {"tables": [{**TABLE, "rows": ["a", "b"]}], "published": [{**ROW, "row": ["1"] * 3}]},
            ("published 1", "2 labels"),
        ),
    ],
)
def test_a_report_block_is_checked(block, parts) -> None:
    with pytest.raises(FileFormatError) as caught:
        read_report_spec(block, "r.yaml")
    assert str(caught.value).startswith("r.yaml, report")
    for part in parts:
        assert part in str(caught.value), caught.value


def test_a_whole_report_block_is_read() -> None:
    spec = read_report_spec(REPORT, "r.yaml")
    assert [len(part) for part in (spec.tables, spec.figures, spec.published)] == [2, 5, 2]
    assert spec.published[0].row == ["bert-base-cased", "roberta-base"]


def test_texts_of_a_run_are_one_line_that_can_be_written(folder) -> None:
    _change(folder / "recipe.json", question="a\nb\x1b[31m\ud800")
    assert read_run(folder).told("question") == "a b\\x1b[31m\\ud800"


@pytest.mark.long
def test_reading_and_reporting_need_no_torch(folder, tmp_path) -> None:
    code = (
        "import sys\nfrom promptport import write_report\n"
        "write_report(sys.argv[1], sys.argv[2])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "out")]
    subprocess.run(command, check=True)
    assert (tmp_path / "out" / "index.html").is_file()


def test_settings_are_said_once(tmp_path) -> None:
    resolved = {"settings": {"words": 3}, "lists": {}, "methods": {"tune": {"x": {"lr": 1}}}}
    own = {"settings": {"words": 3}, "resolved": resolved}
    run = read_run(write_run(tmp_path / "run", [("k", {"a": 1}, {"score": 1})], **own))
    assert run.settings() == {"settings.words": 3, "methods.tune.x.lr": 1}


def test_a_cell_that_cannot_be_is_no_missing_one(tmp_path) -> None:
    cells = [("k", {"a": n}, values) for n, values in enumerate(({"score": 1}, None, "no"))]
    out = [{"kind": "k", "place": {"a": n}, "why": "no data"} for n in (0, 1, 7)]
    run = read_run(write_run(tmp_path / "run", cells, left_out=out))
    assert [cell.state for cell in run.cells] == ["finished", "left out", "failed"]
    assert run.cells[1].error == "no data"
    assert [each.place for each in run.left_out] == [{"a": 7}]
    counts = {"asked": 3, "finished": 1, "failed": 1, "missing": 0, "left_out": 2}
    assert run.counts() == counts
