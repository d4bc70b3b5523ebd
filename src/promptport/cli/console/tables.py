"""Tables that fit the terminal without cutting a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 140  # a pipe or file has no width of its own
_PADDING = 3  # columns that a border and its spaces take
# A line may end behind each; a space that does not break, \xa0, keeps words together.
_PIECES = re.compile(r"[^ \t/,;+|]+[/,;+|]*[ \t]*|[/,;+|]+[ \t]*|[ \t]+")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """See `print_table`."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    texts = [[cell(value) for value in row] for row in rows]
    right = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        for i in range(len(columns))
    ]
    for part in _parts(columns, texts, console.width):
        table = Table(
            title=title or None,
            title_justify="left",
            title_style="bold",
            header_style="bold",
            show_header=any(columns),
        )
        widths = _widths([[columns[i], *(row[i] for row in texts)] for i in part], console.width)
        for i, width in zip(part, widths, strict=True):
            table.add_column(
                "\n".join(fold(columns[i], width)),
                justify="right" if right[i] else "left",
                width=width,
                no_wrap=True,
                overflow="ignore",
            )
        for row in texts:
            folded = [fold(row[i], width) for i, width in zip(part, widths, strict=True)]
            table.add_row(*("\n".join(lines) for lines in folded))
        console.print(table, crop=False, soft_wrap=False)
        title = ""


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}\xa0{cell(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(cell(part) for part in value) or "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def fold(text: str, width: int) -> list[str]:
    """Lines of at most so many columns, ended behind spaces and separators.

    A piece without any that is longer stays whole.

    Args:
        text: of a cell; may have line breaks.
        width: in columns of the terminal.
    """
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for piece in _PIECES.findall(paragraph):
            if line and cell_len((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
        lines.append(line.rstrip())
    return [line.replace("\xa0", " ") for line in lines]


def _parts(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[list[int]]:
    """Columns that fit beside each other at their least widths; the first is in every part."""
    least = [
        max(_longest(text) for text in [column, *(row[i] for row in rows)])
        for i, column in enumerate(columns)
    ]
    part = [0]
    for i in range(1, len(columns)):
        if len(part) > 1 and _total([least[j] for j in [*part, i]]) > width:
            yield part
            part = [0]
        part.append(i)
    yield part


def _longest(text: str) -> int:
    return max((cell_len(piece.rstrip()) for piece in _PIECES.findall(text)), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _PADDING * len(widths) + 1


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths that fit: as wide as the texts, then the widest column gives way first."""
    least = [max(map(_longest, texts)) for texts in columns]
    widths = [
        max(cell_len(line) for text in texts for line in text.splitlines() or [""])
        for texts in columns
    ]
    while _total(widths) > width:
        spare = [w - m for w, m in zip(widths, least, strict=True)]
        if not any(spare):
            break
        i = max((i for i, s in enumerate(spare) if s), key=lambda i: widths[i])
        widths[i] -= 1
    return widths
