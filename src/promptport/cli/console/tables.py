"""Tables that fit the terminal without cutting a name."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import typer

from promptport.token_text import harmless

_PIPE_WIDTH = 140  # a pipe or file has no width of its own
_MANY = (
    200  # rows, from which on a table is written line by line: rich takes a millisecond for each
)
_NUMBERS = {int, float, bool, type(None)}
_PADDING = 3  # columns that a border and its spaces take
# A line may end behind each; a space that does not break, \xa0, keeps words together.
_PIECES = re.compile(r"[^ \t/,;+|]+[/,;+|]*[ \t]*|[/,;+|]+[ \t]*|[ \t]+")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """See `print_table`."""
    title, columns = harmless(title), [harmless(name) for name in columns]
    values: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(columns)
    texts = [list(map(cell, column)) for column in values]
    right = [bool(rows) and set(map(type, column)) <= _NUMBERS for column in values]
    write = _write_many if len(rows) > _MANY else _write_few
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    for part in _parts(columns, texts, width):
        own = [texts[i] for i in part]
        headings = [columns[i] for i in part]
        widths = _widths([[h, *c] for h, c in zip(headings, own, strict=True)], width)
        lines = [fold(h, w) for h, w in zip(headings, widths, strict=True)]
        write(title, lines, list(zip(*own, strict=True)), widths, [right[i] for i in part])
        title = ""


def _write_few(
    title: str,
    headings: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    right: Sequence[bool],
) -> None:
    """One table, by rich.

    Args:
        title: over it; may be empty.
        headings: lines of each; all empty for none.
        rows: texts, one per column.
        widths: of the columns.
        right: which columns have their texts at the right.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_header=any(any(lines) for lines in headings),
    )
    for lines, width, to_right in zip(headings, widths, right, strict=True):
        table.add_column(
            "\n".join(lines),
            justify="right" if to_right else "left",
            width=width,
            no_wrap=True,
            overflow="ignore",
        )
    for row in rows:
        table.add_row(*("\n".join(fold(t, w)) for t, w in zip(row, widths, strict=True)))
    console.print(table, crop=False, soft_wrap=False)


def _write_many(
    title: str,
    headings: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    right: Sequence[bool],
) -> None:
    """The same table (a test compares them) in a hundredth of the time."""
    text = "".join(f"{line}\n" for line in _lines(title, headings, rows, widths))
    typer.echo(text, nl=False)


def _lines(
    title: str,
    headings: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
) -> Iterator[str]:
    bars = {end: end[1].join(end[0] * (w + 2) for w in widths) for end in ("━┳", "━╇", "─┬", "─┴")}
    if title:
        yield from _padded(fold(title, _total(widths)), _total(widths))
    if any(any(lines) for lines in headings):
        yield f"┏{bars['━┳']}┓"
        yield from _cells(headings, widths, "┃", bottom=True)
        yield f"┡{bars['━╇']}┩"
    else:
        yield f"┌{bars['─┬']}┐"
    plain = "│ " + " │ ".join(f"%-{width}s" for width in widths) + " │"
    for row in rows:
        text = "".join(row)
        if text.isascii() and text.isprintable() and all(map(_fits, row, widths)):  # most do
            yield plain % tuple(row)
        else:
            yield from _cells([fold(t, w) for t, w in zip(row, widths, strict=True)], widths, "│")
    yield f"└{bars['─┴']}┘"


def _cells(
    texts: Sequence[Sequence[str]], widths: Sequence[int], bar: str, *, bottom: bool = False
) -> Iterator[str]:
    """The lines of one row whose texts are folded already; empty ones stand above at `bottom`."""
    highest = max(map(len, texts))
    if bottom:
        texts = [[""] * (highest - len(lines)) + [*lines] for lines in texts]
    padded = [_padded(lines, width) for lines, width in zip(texts, widths, strict=True)]
    for n in range(highest):
        line = [
            lines[n] if n < len(lines) else " " * width
            for lines, width in zip(padded, widths, strict=True)
        ]
        yield f"{bar} {f' {bar} '.join(line)} {bar}"


def _fits(text: str, width: int) -> bool:
    return len(text) <= width


def _padded(lines: Sequence[str], width: int) -> list[str]:
    return [line + " " * (width - cell_len(line)) for line in lines]


def cell_len(text: str) -> int:
    """Columns of the terminal that a text takes."""
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cell(value: Any) -> str:
    """A value as it stands in a table."""
    if type(value) is str:
        return harmless(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{harmless(str(name))}\xa0{cell(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(cell(part) for part in value) or "none"
    return f"{value:.3f}" if isinstance(value, float) else harmless(str(value))


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
    columns: Sequence[str], texts: Sequence[Sequence[str]], width: int
) -> Iterator[list[int]]:
    """Columns that fit beside each other at their least widths; the first is in every part."""
    least = [
        max(map(_longest, {heading, *own})) for heading, own in zip(columns, texts, strict=True)
    ]
    part = [0]
    for i in range(1, len(columns)):
        if len(part) > 1 and _total([least[j] for j in [*part, i]]) > width:
            yield part
            part = [0]
        part.append(i)
    yield part


@lru_cache(maxsize=1 << 16)
def _longest(text: str) -> int:
    return max((cell_len(piece.rstrip()) for piece in _PIECES.findall(text)), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _PADDING * len(widths) + 1


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths that fit: as wide as the texts, then the widest column gives way first."""
    distinct = [set(texts) for texts in columns]
    least = [max(map(_longest, texts)) for texts in distinct]
    widths = [
        max(cell_len(line) for text in texts for line in text.splitlines() or [""])
        for texts in distinct
    ]
    while _total(widths) > width:
        spare = [w - m for w, m in zip(widths, least, strict=True)]
        if not any(spare):
            break
        i = max((i for i, s in enumerate(spare) if s), key=lambda i: widths[i])
        widths[i] -= 1
    return widths
