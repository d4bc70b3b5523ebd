"""Which columns of a table hold the texts and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from promptport.errors import TaskError
from promptport.tasks.reading import Record

# Usual names, the likeliest first.
_TEXTS = (
    *("text", "sentence", "review", "content", "comment", "body", "message", "tweet", "question"),
    *("utterance", "description", "document", "input", "query", "title"),
)
_LABELS = (
    *("label", "labels", "class", "category", "sentiment", "target", "topic", "intent", "rating"),
    *("stars", "polarity", "score", "answer", "y"),
)
_SAMPLE = 1_000  # rows that are looked at


def guess_columns(
    table: Path,
    records: Sequence[Record],
    text: str | None = None,
    label: str | None = None,
    text_b: str | None = None,
    option: str = "--label",
) -> dict[str, str]:
    """Our name of each column -> the table's.

    A usual name wins (`text`, `review`, `label`, `sentiment` ...). Without one the texts are the
    longest cells, and the labels the only column whose values come back in at least every second
    row.

    Args:
        table: for messages.
        records: of the table.
        text: column of the texts where it is known.
        label: column of the labels likewise.
        text_b: column of second texts; None: there are none.
        option: that gave the column of the labels, for messages.

    Raises:
        TaskError: no rows, a named column that is not there, or columns that cannot be told.
    """
    if not records:
        raise TaskError(
            str(table),
            expected="a first line with column names, and rows",
            got="no rows",
            fix="Check the file",
        )
    sample = [record for _, record in records[:_SAMPLE]]
    names = [name for name in dict.fromkeys(n for r in sample for n in r) if name]
    for name, given in (("--text", text), (option, label), ("--text-b", text_b)):
        if given is not None and given not in names:
            close = get_close_matches(given, names, n=1)
            raise TaskError(
                f"{table}, {name}",
                expected=f"one of its columns ({', '.join(names)})",
                got=repr(given),
                fix=f"Did you mean {close[0]!r}?" if close else "Correct the name",
            )
    free = [name for name in names if name not in (text, label, text_b)]
    if label is None:
        label = _usual(free, _LABELS) or _repeated(table, free, sample, text)
        free.remove(label)
    if text is None:
        text = _usual(free, _TEXTS) or _longest(table, free, sample)
    second = {} if text_b is None else {"text_b": text_b}
    return {"text": text, **second, "label": label}


def _usual(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The column with the likeliest of the usual names."""
    lowered = {name.strip().lower(): name for name in reversed(names)}
    return next((lowered[name] for name in usual if name in lowered), None)


def _longest(table: Path, names: Sequence[str], sample: Sequence[Mapping[str, Any]]) -> str:
    if not names:
        raise _untold(table, "texts", "--text", names)
    return max(names, key=lambda name: sum(len(str(row.get(name) or "")) for row in sample))


def _repeated(
    table: Path, names: Sequence[str], sample: Sequence[Mapping[str, Any]], text: str | None
) -> str:
    """The only column, texts apart, with few values that come back."""
    if text is None and len(names) > 1:
        longest = _usual(names, _TEXTS) or _longest(table, names, sample)
        names = [name for name in names if name != longest]
    values = {name: {str(row.get(name) or "") for row in sample} for name in names}
    likely = [name for name in names if 2 <= len(values[name]) <= len(sample) / 2]
    if len(likely) != 1:
        raise _untold(table, "labels", "--label", likely or names)
    return likely[0]


def _untold(table: Path, what: str, option: str, names: Sequence[str]) -> TaskError:
    return TaskError(
        str(table),
        expected=f"a column that is easily told to hold the {what}",
        got=f"the columns {', '.join(names)}" if names else "no other column",
        fix=f"Name it with {option} COLUMN (the first line of a table must name its columns)",
    )
