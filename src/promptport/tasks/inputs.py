"""Texts without answers, to be answered: from a file, standard input or a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from promptport.errors import TaskError
from promptport.tasks.data import MemorySource, Row, RowReader
from promptport.tasks.reading import Record, in_utf8, json_lines, read_records
from promptport.tasks.task import Task


def read_inputs(task: Task, source: str | Path | Iterable[str]) -> tuple[Row, ...]:
    """Rows with empty answers, as a prompt of this task can be asked.

    Args:
        task: tells which texts a row has.
        source: a path: JSONL, CSV, TSV or Parquet with the task's columns (an answer column is
            not read), or any other file with one text per line; or lines, for instance standard
            input or a list of texts. Lines that begin with `{` are JSON lines.

    Raises:
        TaskError: no such file, no rows, a missing column, an empty text, or plain lines for a
            task whose rows have several texts.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        place, records = str(path), _records(task, path)
    else:
        place, records = "input", _lines(task, source, "input")
    reader = RowReader(_columns(task), (), replace(task.spec, answers=False))
    rows = tuple(reader.read(where, _ours(record, reader)) for where, record in records)
    if not rows:
        raise TaskError(
            place,
            expected="at least one text",
            got="none",
            fix="Write one text per line, or JSON lines with the task's columns",
        )
    return rows


def _columns(task: Task) -> dict[str, str]:
    return {} if isinstance(task.source, MemorySource) else dict(task.source.columns)


def _ours(record: Any, reader: RowReader) -> dict[str, Any]:
    """The record under the task file's names of columns, where it has ours."""
    renamed = {
        theirs: record[ours]
        for ours, theirs in reader.columns.items()
        if theirs not in record and ours in record
    }
    return {**record, **renamed}


def _records(task: Task, path: Path) -> Iterator[Record]:
    if path.suffix.lower() in (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"):
        yield from read_records(path)
        return
    if not path.is_file():
        raise TaskError(
            str(path),
            expected="a file with texts",
            got="nothing at this path",
            fix="Check the path, or give '-' for standard input",
        )
    with in_utf8(path), path.open(encoding="utf-8-sig") as stream:
        yield from _lines(task, stream, str(path))


def _lines(task: Task, lines: Iterable[str], place: str) -> Iterator[Record]:
    """JSON lines, or one text per line; blank lines are left out."""
    remaining = iter(lines)
    seen: list[str] = []
    for line in remaining:
        seen.append(line)
        if line.strip():
            break
    whole = chain(seen, remaining)
    if seen and seen[-1].lstrip().startswith("{"):
        yield from json_lines(whole, place)
        return
    if seen and len(task.fields) != 1:
        raise TaskError(
            place,
            expected=f"JSON lines with {', '.join(task.fields)} (task {task.name!r})",
            got="plain text",
            fix=f"Write for instance {_example(task)}",
        )
    name = task.fields[0]
    for number, line in enumerate(whole, start=1):
        if line.strip():
            yield f"{place}, line {number}", {_columns(task).get(name, name): line.strip()}


def _example(task: Task) -> str:
    return "{" + ", ".join(f'"{name}": "..."' for name in task.fields) + "}"
