"""Rows of a task: from files, Hugging Face `datasets` or memory, and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol

from promptport.errors import TaskError
from promptport.tasks.reading import Record, read_records

Kind = Literal["probe", "classification", "text2text"]
SPLITS = ("train", "dev", "test")
ANSWER_COLUMN: Mapping[Kind, str] = {
    "probe": "object",
    "classification": "label",
    "text2text": "target",
}
REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "probe": ("subject",),
    "classification": ("text",),
    "text2text": (),
}
OPTIONAL: Mapping[Kind, tuple[str, ...]] = {
    "probe": (),
    "classification": ("text_b",),
    "text2text": ("text_b",),
}


@dataclass(frozen=True)
class Row:
    """One example.

    Attributes:
        fields: text by field name, without outer white space, none of it empty.
        answer: the object of a probe, the label name of a classification (a number as text for
            regression), the target of text to text.
    """

    fields: Mapping[str, str]
    answer: str


@dataclass(frozen=True)
class RowSpec:
    """What the rows of a task must look like.

    Attributes:
        kind: kind of the task.
        fields: columns that every row needs besides the answer.
        labels: label names of a classification, else None.
        bounds: least and greatest number of a regression, else None.
        answers: whether the answer is read, and must be there; else every answer is empty.
    """

    kind: Kind
    fields: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    bounds: tuple[float, float] | None = None
    answers: bool = True

    @property
    def answer(self) -> str:
        """Our name of the answer's column."""
        return ANSWER_COLUMN[self.kind]


# What a source has read: it goes with the source, and is no part of its value.
RowsRead = dict[tuple[str, RowSpec], tuple[Row, ...]]


@dataclass(frozen=True)
class FileSource:
    """Files, one per split. What was read of them is kept.

    Attributes:
        files: split -> path.
        columns: our name -> the file's name, where they differ.
        label_names: label by number, if the files hold numbers.
    """

    files: Mapping[str, str | Path]
    columns: Mapping[str, str] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    _read: RowsRead = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that there are."""
        return tuple(self.files)

    def records(self, split: str) -> Iterator[Record]:
        """Raw records of a split (see `load_rows`)."""
        return read_records(Path(self.files[split]))

    def place(self, split: str) -> str:
        """Name of a split in messages."""
        return str(self.files[split])


@dataclass(frozen=True)
class HubSource:
    """A data set of the Hugging Face Hub. What was read of it is kept.

    Attributes:
        hub: id such as `nyu-mll/glue`.
        config: name of its configuration.
        names: our split -> the data set's split.
        columns: our name -> the data set's name, where they differ.
        label_names: label by number; empty takes the data set's own names.
    """

    hub: str
    config: str | None
    names: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    _read: RowsRead = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that there are."""
        return tuple(self.names)

    def records(self, split: str) -> Iterator[Record]:
        """Raw records of a split (see `load_rows`); class numbers become the data set's names."""
        dataset = self._download(split)
        label = self.columns.get("label", "label")
        names = getattr((dataset.features or {}).get(label), "names", None)
        for number, record in enumerate(dataset):
            value = record.get(label)
            if names and not self.label_names and isinstance(value, int) and value >= 0:
                record = {**record, label: names[value]}
            yield f"{self.place(split)}, row {number}", record

    def _download(self, split: str) -> Any:
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise TaskError(
                f"data set {self.hub!r}",
                expected="the package 'datasets'",
                got="none installed",
                fix="Run pip install 'promptport[datasets]'",
            ) from error
        try:
            return load_dataset(self.hub, self.config, split=self.names[split])
        except Exception as error:  # every backend of datasets has exceptions of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise TaskError(
                f"data set {self.place(split)!r}",
                expected="a data set that can be loaded",
                got=f"{type(error).__name__} ({reason.rstrip('.')})",
                fix="Check the id, the configuration, the split and the network",
            ) from error

    def place(self, split: str) -> str:
        """Name of a split in messages."""
        return ":".join(part for part in (self.hub, self.config, self.names[split]) if part)


@dataclass(frozen=True)
class MemorySource:
    """Rows that are already there.

    Attributes:
        rows: split -> rows; `Row.fields` and `Row.answer` as `load_rows` would give them.
    """

    rows: Mapping[str, tuple[Row, ...]]
    _read: RowsRead = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that there are."""
        return tuple(self.rows)


class RecordSource(Protocol):
    """What else rows can be read from: any source of records."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that there are."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Our name -> the records' name, where they differ."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Label by number, if the records hold numbers."""

    @property
    def _read(self) -> RowsRead: ...

    def records(self, split: str) -> Iterator[Record]:
        """Raw records of a split."""

    def place(self, split: str) -> str:
        """Name of a split in messages."""


Source = FileSource | HubSource | MemorySource | RecordSource


def load_rows(source: Source, split: str, spec: RowSpec) -> tuple[Row, ...]:
    """Read and check all rows of one split.

    Args:
        source: where they are.
        split: `train`, `dev` or `test`.
        spec: what they must look like.

    Raises:
        TaskError: no such split, an empty or unreadable file, a bad line, a missing column, an
            empty text, an unknown label.
    """
    if split not in source.splits:
        raise TaskError(
            "data of the task",
            expected=f"the split {split!r}, which is needed here",
            got=f"only {', '.join(source.splits)}" if source.splits else "none",
            fix=f"Add '{split}:' and its file under 'data' in the task file",
        )
    if isinstance(source, MemorySource):
        rows = source.rows[split]
        return rows if spec.answers else tuple(replace(row, answer="") for row in rows)
    place = source.place(split)
    rows = tuple(_rows(source.records(split), source.columns, source.label_names, spec))
    if not rows:
        raise TaskError(
            place,
            expected="at least one row",
            got="an empty file",
            fix="Restore the file from its source",
        )
    return rows


def kept_rows(source: Source, split: str, spec: RowSpec) -> tuple[Row, ...]:
    """As `load_rows`, but a source reads the same rows only once."""
    key = (split, spec)
    if key not in source._read:
        source._read[key] = load_rows(source, split, spec)
    return source._read[key]


def _rows(
    records: Iterable[Record],
    columns: Mapping[str, str],
    label_names: tuple[str, ...],
    spec: RowSpec,
) -> Iterator[Row]:
    reader = RowReader(columns, label_names, spec)
    for where, record in records:
        yield reader.read(where, record)


@dataclass
class RowReader:
    """Makes rows of records. The first one decides whether the optional columns are there.

    Attributes:
        columns: our name -> the record's name, where they differ.
        label_names: label by number, if the records hold numbers.
        spec: what the rows must look like.
        wanted: our names of the columns that are read, answer apart; empty before the first record.
    """

    columns: Mapping[str, str]
    label_names: tuple[str, ...]
    spec: RowSpec
    wanted: tuple[str, ...] = ()

    def read(self, where: str, record: Mapping[str, Any]) -> Row:
        """One row.

        Args:
            where: place of the record, for messages.
            record: column -> value.

        Raises:
            TaskError: a missing column, an empty text, an unknown label.
        """
        spec = self.spec
        if not self.wanted:
            optional = (n for n in OPTIONAL[spec.kind] if self.columns.get(n, n) in record)
            self.wanted = tuple(dict.fromkeys((*spec.fields, *optional)))
        values = {name: self._cell(where, record, name) for name in self.wanted}
        answer = ""
        if spec.answers:
            cell = self._cell(where, record, spec.answer)
            answer = _answer(cell, self.label_names, where, spec)
        return Row({name: _text(value, name, where) for name, value in values.items()}, answer)

    def _cell(self, where: str, record: Mapping[str, Any], name: str) -> Any:
        theirs = self.columns.get(name, name)
        value = record.get(theirs)
        if value is None:
            asked = (*self.wanted, self.spec.answer) if self.spec.answers else self.wanted
            needed = ", ".join(self.columns.get(n, n) for n in asked)
            there = ", ".join(str(n) for n, v in record.items() if v is not None)
            raise TaskError(
                where,
                expected=f"the columns {needed}",
                got=f"no {theirs!r} (there are: {there})",
                fix="Correct the data, or name the column under 'columns' in the task file",
            )
        return value


def _text(value: Any, name: str, where: str) -> str:
    """A cell as text; numbers are taken as written, containers refused."""
    missing = isinstance(value, float) and math.isnan(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool) and not missing:
        text = str(value).strip()
        if text:
            return text
    got = "an empty one" if isinstance(value, str) else f"{type(value).__name__} {value!r}"
    raise TaskError(
        where, expected=f"a text in {name!r}", got=got[:120], fix="Mend or remove the row"
    )


def _answer(value: Any, label_names: tuple[str, ...], where: str, spec: RowSpec) -> str:
    if label_names:
        value = _named(value, label_names, where)
    text = str(value).lower() if isinstance(value, bool) else _text(value, spec.answer, where)
    if spec.bounds is not None:
        _check_number(text, spec.bounds, where)
    elif spec.labels is not None and text not in spec.labels:
        close = get_close_matches(text, spec.labels, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise TaskError(
            where,
            expected=f"a label among {', '.join(spec.labels)}",
            got=repr(text)[:120],
            fix=f"{hint}Mend the row, or add the label to the task",
        )
    return text


def _named(value: Any, label_names: tuple[str, ...], where: str) -> Any:
    """The name of a label number; names are passed through."""
    if isinstance(value, str) and value.strip() in label_names:
        return value
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return value
    if isinstance(value, float) and value != number:  # a score is not a label number
        return value
    if number in range(len(label_names)):
        return label_names[number]
    raise TaskError(
        where,
        expected=f"a label number from 0 to {len(label_names) - 1}",
        got=repr(value)[:120],
        fix="Mend or remove the row (-1 marks rows whose label is not published)",
    )


def _check_number(text: str, bounds: tuple[float, float], where: str) -> None:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not bounds[0] <= number <= bounds[1]:
        raise TaskError(
            where,
            expected=f"a number from {bounds[0]:g} to {bounds[1]:g}",
            got=repr(text)[:120],
            fix="Mend the row, or widen the labels of the task",
        )
