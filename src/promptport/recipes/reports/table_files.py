"""Tables as files: CSV, one line an entry, and LaTeX with booktabs."""

from __future__ import annotations

import csv
import io
from typing import Any

from promptport.recipes.reports.formatting import interval, latex, number
from promptport.recipes.reports.published import Published
from promptport.recipes.reports.tables import Entry, Table

CSV_COLUMNS = (
    *("mean", "low", "high", "cells", "asked", "state", "best"),
    *("difference", "difference_low", "difference_high", "p", "p_holm", "pairs", "paired_over"),
    *("published", "published_model", "published_source", "same_models"),
)


def csv_bytes(table: Table, published: list[Published]) -> bytes:
    """A table as CSV: a line for each entry, numbers in the unit of the table.

    Args:
        table: with its entries.
        published: numbers of others; those without an entry of ours have lines at the end.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*table.heads, table.spec.columns or "column", *CSV_COLUMNS])
    beside = {(p.row, p.spec.column): p for p in published if p.entry is not None}
    for row, line in zip(table.rows, table.entries, strict=True):
        for column, entry in zip(table.columns, line, strict=True):
            if entry is not None:
                own = _numbers(entry, table) + _theirs(beside.get((row, column)), table)
                writer.writerow([*row, column, *own])
    for each in published:
        if each.entry is None:
            labels = list(each.spec.row) + [""] * (len(table.heads) - len(each.spec.row))
            nothing = ["", "", "", 0, 0, "not asked", "", *[""] * 7]
            writer.writerow([*labels, each.spec.column, *nothing, *_theirs(each, table)])
    return stream.getvalue().encode()


def _numbers(entry: Entry, table: Table) -> list[Any]:
    mean, test, scale = entry.mean, entry.test, table.spec.scale
    known = 0 if mean is None else mean.cells
    own = [None] * 3 if mean is None else [_scaled(v, scale) for v in _span(mean)]
    state = entry.why or ("part" if entry.part else "finished")
    told: list[Any] = [None] * 7
    if test is not None:
        span = (test.difference, test.low, test.high)
        told = [*(_scaled(v, scale) for v in span), test.p, test.adjusted, test.pairs, test.over]
    return [*own, known, entry.asked, state, "yes" if entry.best else "no", *told]


def _span(mean: Any) -> tuple[float, float | None, float | None]:
    return mean.value, mean.low, mean.high


def _scaled(value: float | None, scale: int) -> float | None:
    # Ten digits: more than any score has, and no 81.10000000000001.
    return None if value is None else float(f"{value * scale:.10g}")


def _theirs(published: Published | None, table: Table) -> list[Any]:
    if published is None:
        return [None] * 4
    same = {True: "yes", False: "no", None: ""}[published.same_models]
    spec = published.spec
    return [_scaled(spec.value, table.spec.scale), spec.model, spec.source, same]


def latex_bytes(table: Table) -> bytes:
    """A table as LaTeX; it needs the package booktabs."""
    spec = table.spec
    keys = "l" * len(table.heads)
    head = [*map(latex, table.heads), *map(latex, table.columns)]
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex(spec.title)}}}",
        rf"\label{{tab:{spec.name}}}",
        rf"\begin{{tabular}}{{{keys}{'r' * len(table.columns)}}}",
        r"\toprule",
        f"{' & '.join(head)} \\\\",
        r"\midrule",
    ]
    for row, entries in zip(table.rows, table.entries, strict=True):
        cells = [*map(latex, row), *(_latex_entry(entry, table) for entry in entries)]
        lines.append(f"{' & '.join(cells)} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        notes = " ".join(map(latex, table.notes))
        lines += ["", rf"\smallskip{{\footnotesize {notes}\par}}"]
    return "\n".join([*lines, r"\end{table}", ""]).encode()


def _latex_entry(entry: Entry | None, table: Table) -> str:
    if entry is None:
        return ""
    if entry.mean is None:
        return rf"\emph{{{latex(entry.why)}}}"
    text = number(entry.mean.value, table)
    text = rf"\textbf{{{text}}}" if entry.best else text
    text += "$^{*}$" if entry.star else ""
    more = interval(entry.mean.low, entry.mean.high, table)
    more = " ".join(t for t in (more, f"({entry.part})" if entry.part else "") if t)
    return rf"{text} {{\scriptsize {more}}}" if more else text
