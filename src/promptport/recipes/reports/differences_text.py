"""What differs between two runs, as tables and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptport.recipes.reports.differences import NOTHING, CellChange, RunDiff
from promptport.recipes.reports.formatting import markdown, markdown_table, p_text
from promptport.recipes.reports.markdown import value_text

MOST = 20  # lines of a table
NONE = "–"


@dataclass(frozen=True)
class DiffTable:
    """A table of differences.

    Attributes:
        title: over it.
        head: headings.
        rows: texts.
        left: columns whose texts stand at the left.
        more: lines that are not shown.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int
    more: int = 0


def diff_tables(diff: RunDiff, most: int | None = MOST) -> list[DiffTable]:
    """The tables that have a line.

    Args:
        diff: of two runs.
        most: lines of a table; None for all.
    """
    head = ("cell", "number", "first", "second", "change", "noise known by", "p (Holm)")
    unknown = [change for change in diff.changes if change.beyond is None]
    overall = tuple(
        (
            each.kind,
            each.value,
            str(each.cells),
            f"{each.mean.value:+.4f}",
            f"[{each.mean.low:+.4f}, {each.mean.high:+.4f}]" if each.sure else NONE,
            p_text(each.p),
        )
        for each in diff.overall
    )
    tables = [
        _table("beyond noise", head, [_change(c) for c in diff.beyond], 2, most),
        DiffTable(
            "over all shared cells, second minus first",
            ("kind", "number", "cells", "mean change", "95% interval", "p"),
            overall,
            2,
        ),
        _table("only in the first", ("cell", "in the second"), diff.only[0], 2, most),
        _table("only in the second", ("cell", "in the first"), diff.only[1], 2, most),
        _table("settings that differ", ("setting", "first", "second"), _pairs(diff.settings), 3),
        _table("environments", ("what", "first", "second"), _pairs(diff.environment), 3),
        _table(
            "changed, and nothing tells the noise", head, [_change(c) for c in unknown], 2, most
        ),
    ]
    return [table for table in tables if table.rows]


def _table(
    title: str, head: tuple[str, ...], rows: Any, left: int, most: int | None = None
) -> DiffTable:
    lines = tuple(map(tuple, rows))
    shown = lines if most is None else lines[:most]
    return DiffTable(title, head, shown, left, len(lines) - len(shown))


def _change(change: CellChange) -> tuple[str, ...]:
    return (
        change.cell,
        change.value,
        f"{change.first:.4f}",
        f"{change.second:.4f}",
        f"{change.difference:+.4f}",
        change.known_by if change.known_by != NOTHING else NONE,
        p_text(change.adjusted),
    )


def _pairs(values: Mapping[str, tuple[Any, Any]]) -> list[tuple[str, str, str]]:
    return [
        (key, *(NONE if value is None else value_text(value) for value in pair))  # type: ignore[misc]
        for key, pair in values.items()
    ]


def diff_markdown(diff: RunDiff) -> bytes:
    """The differences as a Markdown file, all lines of all tables."""
    first, second = map(markdown, diff.names)
    lines = [f"# What differs: {first} and {second}", "", markdown(diff.verdict()), ""]
    for table in diff_tables(diff, None):
        rows = [list(map(markdown, row)) for row in table.rows]
        title = f"{table.title[0].upper()}{table.title[1:]}"
        lines += [f"## {title}", "", *markdown_table(table.head, rows, table.left), ""]
    return ("\n".join(lines).rstrip() + "\n").encode()
