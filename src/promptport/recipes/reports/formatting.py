"""Numbers and names as readers see them: plain, in Markdown, in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from promptport.recipes.reports.tables import Entry, Table

_MARKDOWN = re.compile(r"([\\`*\[\]<>|~$#&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # Behind the end of a row, a bracket or a star would be read as its options.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "·": r"\textperiodcentered{}",
}
_SMALL = 0.1  # largest number of a table, below which it gets more digits
_TINY_P = 0.001


def markdown(text: str) -> str:
    """A text in Markdown that shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def code(text: str) -> str:
    """A text as code in Markdown, whatever backticks it holds."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def latex(text: str) -> str:
    """A text in LaTeX that shows as it is."""
    return "".join(_LATEX.get(character, character) for character in text)


def digits_of(table: Table) -> int:
    """Digits behind the point for all numbers of a table."""
    values = [
        abs(entry.mean.value) * table.spec.scale
        for line in table.entries
        for entry in line
        if entry is not None and entry.mean is not None
    ]
    largest = max(values, default=1.0)
    if largest >= _SMALL:
        return 1 if table.spec.scale != 1 or largest >= 100 else 3
    return 5


def number(value: float, table: Table, sign: str = "") -> str:
    """A number of a table in its unit.

    Args:
        value: in the unit of the cells.
        table: that it stands in.
        sign: `+` to write the sign of numbers above 0 as well.
    """
    text = f"{value * table.spec.scale:{sign}.{digits_of(table)}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no -0.000


def interval(low: float | None, high: float | None, table: Table, sign: str = "") -> str:
    """`[0.790, 0.834]`, or nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"[{number(low, table, sign)}, {number(high, table, sign)}]"


def p_text(p: float | None) -> str:
    """A p value as it is printed."""
    if p is None:
        return "–"
    return f"<{_TINY_P}" if p < _TINY_P else f"{p:.3f}"


def entry_text(entry: Entry | None, table: Table) -> str:
    """An entry on one line: `0.812 [0.790, 0.834] *`, or why there is no number."""
    if entry is None:
        return ""
    if entry.mean is None:
        return entry.why
    span = interval(entry.mean.low, entry.mean.high, table)
    part = f"({entry.part})" if entry.part else ""
    star = "*" if entry.star else ""
    return " ".join(t for t in (number(entry.mean.value, table), span, part, star) if t)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]], left: int) -> list[str]:
    """Lines of a table in Markdown; its cells are Markdown already.

    Args:
        head: headings.
        rows: cells.
        left: columns that stand at the left; the others, numbers, stand at the right.
    """
    heads = list(head)
    marks = ["---" if i < left else "---:" for i in range(len(heads))]
    lines = [heads, marks, *(list(row) for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
