"""Data files as records: JSONL, CSV, TSV and Parquet, each record with its place."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from promptport.errors import TaskError

Record = tuple[str, Mapping[str, Any]]  # where it stands ("train.jsonl, line 3"), its columns


def read_records(path: Path) -> Iterator[Record]:
    """Raw records of a file with their place in it.

    Raises:
        TaskError: missing, unreadable, damaged, or of a form that is not known.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise TaskError(
            str(path),
            expected=f"a file ending in {', '.join(_READERS)}",
            got=repr(path.suffix or path.name),
            fix="Convert the file, or rename it",
        )
    if not path.is_file():
        raise TaskError(
            str(path),
            expected="a data file",
            got="nothing at this path",
            fix="Check the path in the task file",
        )
    try:
        with in_utf8(path):
            yield from reader(path)
    except OSError as error:
        raise TaskError(
            str(path),
            expected="a readable file",
            got=error.strerror or str(error),
            fix="Check the permissions",
        ) from error


@contextlib.contextmanager
def in_utf8(path: Path) -> Iterator[None]:
    """Refuse what is read within if it is in another encoding.

    Raises:
        TaskError: a byte that UTF-8 does not have there.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise TaskError(
            str(path),
            expected="text in UTF-8",
            got=f"byte {error.object[error.start]:#04x}",
            fix="Convert the file to UTF-8",
        ) from error


def count_records(path: Path) -> int:
    """Number of rows of a data file, unchecked; 0 if it is missing."""
    if not path.is_file():
        return 0
    if path.suffix.lower() in (".jsonl", ".ndjson"):  # no need to parse
        with path.open("rb") as stream:
            return sum(not line.isspace() for line in stream)
    return sum(1 for _ in read_records(path))


def _read_jsonl(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as stream:
        yield from json_lines(stream, str(path))


def json_lines(lines: Iterable[str], place: str) -> Iterator[Record]:
    """Records of JSON lines; blank lines are left out.

    Args:
        lines: one JSON object each.
        place: where they come from, for messages.

    Raises:
        TaskError: a line that is none.
    """
    for number, line in enumerate(lines, start=1):
        if line and not line.isspace():
            yield f"{place}, line {number}", _json_object(line, f"{place}, line {number}")


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TaskError(
            where,
            expected="a JSON object",
            got=f"text that does not parse ({error})",
            fix="Mend or remove the line",
        ) from error
    if not isinstance(value, dict):
        raise TaskError(
            where,
            expected="a JSON object",
            got=type(value).__name__,
            fix='Write one object per line, for instance {"text": ..., "label": ...}',
        )
    return value


def _read_csv(path: Path) -> Iterator[Record]:
    return read_delimited(path, ",")


def _read_tsv(path: Path) -> Iterator[Record]:
    # quotes are ordinary characters in the TSV files of GLUE and its kin
    return read_delimited(path, "\t", csv.QUOTE_NONE)


def read_delimited(
    path: Path, delimiter: str, quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
) -> Iterator[Record]:
    """Records of a table whose first line names the columns.

    Raises:
        TaskError: a line with too many cells, or quotes that do not close.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                if None in record:
                    raise TaskError(
                        where,
                        expected=f"{len(reader.fieldnames or ())} cells",
                        got="more",
                        fix="Put quotes around cells that hold the separator",
                    )
                yield where, record
        except csv.Error as error:
            raise TaskError(
                f"{path}, line {reader.reader.line_num}",
                expected="a well-formed line",
                got=str(error),
                fix="Mend or remove the line",
            ) from error


def _read_parquet(path: Path) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise TaskError(
            str(path),
            expected="the package 'pyarrow' to read Parquet",
            got="none installed",
            fix="Run pip install 'promptport[datasets]'",
        ) from error
    try:
        records = parquet.read_table(path).to_pylist()
    except (ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise TaskError(
            str(path),
            expected="a Parquet file",
            got=f"something else ({reason.rstrip('.')})",
            fix="Restore the file from its source",
        ) from error
    for number, record in enumerate(records):
        yield f"{path}, row {number}", record


_READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
