"""A report as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from promptport._version import __version__
from promptport.recipes.reports.cost import Cost
from promptport.recipes.reports.formatting import (
    code,
    duration,
    entry_text,
    interval,
    markdown,
    markdown_table,
    number,
    p_text,
)
from promptport.recipes.reports.published import Published
from promptport.recipes.reports.report import Report
from promptport.recipes.reports.selecting import JOINED
from promptport.recipes.reports.tables import Entry, Table

FACTS = (("question", "Question"), ("expected", "Expected"), ("time", "Time"))


def report_markdown(report: Report) -> bytes:
    """The report as `report.md`; tables and figures are linked as files beside it."""
    return ("\n".join(_lines(report)).rstrip() + "\n").encode()


def _lines(report: Report) -> Iterator[str]:
    run = report.run
    yield from (f"# {markdown(run.name)}", "")
    for key, name in FACTS:
        if run.told(key):
            yield from (f"**{name}:** {markdown(run.told(key))}", "")
    if run.told("command"):
        yield from (f"**Command:** {code(run.told('command'))}", "")
    if run.told("reference"):
        yield from (f"**Reference:** {markdown(run.told('reference'))}", "")
    yield from (report.standing(), "")
    for table in report.tables:
        yield from _table(table, list(report.published[table.spec.name]))
    for drawn in report.figures:
        yield from (f"## {markdown(drawn.spec.title)}", "")
        if drawn.svg:
            name = drawn.spec.name
            yield from (f"![{markdown(drawn.spec.title)}](figures/{name}.svg)", "")
        yield from (markdown(" ".join(drawn.notes)), "")
    if report.not_run:
        yield from ("## What was not run, and why", "")
        rows = [[n.state, markdown(n.what), markdown(n.why)] for n in report.not_run]
        yield from (*markdown_table(["state", "cell", "why"], rows, 3), "")
    yield from ("## Cost", "", *_cost(report.cost), "")
    for title, values in (("Environment", run.environment), ("Settings", run.settings())):
        if values:
            rows = [
                [markdown(key), code(value_text(value)).replace("|", "\\|")]
                for key, value in values.items()
            ]
            yield from (f"## {title}", "", *markdown_table(["", ""], rows, 2), "")
    yield f"Written by promptport {__version__}."


def value_text(value: Any) -> str:
    """A setting as it is written in JSON, texts without quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(table: Table, published: list[Published]) -> Iterator[str]:
    yield from (f"## {markdown(table.spec.title)}", "")
    rows = [
        [*map(markdown, row), *(_entry(entry, table) for entry in line)]
        for row, line in zip(table.rows, table.entries, strict=True)
    ]
    head = map(markdown, (*table.heads, *table.columns))
    yield from (*markdown_table(head, rows, len(table.heads)), "")
    if table.verdict:
        yield from (markdown(table.verdict), "")
    yield from (markdown(" ".join(table.notes)), "")
    name = table.spec.name
    yield from (f"Files: [CSV](tables/{name}.csv), [LaTeX](tables/{name}.tex)", "")
    tests = test_rows(table)
    if tests:
        yield from (f"### Tests against {markdown(str(table.spec.compare_to))}", "")
        body = [list(map(markdown, line)) for line in tests]
        yield from (*markdown_table(TEST_HEAD, body, 2), "")
    if published:
        yield from ("### Published numbers beside ours", "")
        body = [list(map(markdown, published_row(each, table))) for each in published]
        yield from (*markdown_table(PUBLISHED_HEAD, body, 2), "")


def _entry(entry: Entry | None, table: Table) -> str:
    text = markdown(entry_text(entry, table))
    if entry is None or not entry.best:
        return text
    first, _, rest = text.partition(" ")
    return f"**{first}** {rest}".rstrip()


TEST_HEAD = ("row", "column", "difference", "95% interval", "p", "p (Holm)", "paired")


def test_rows(table: Table) -> list[list[str]]:
    """A line for each test of a table, with the headings `TEST_HEAD`."""
    return [
        [
            JOINED.join(row),
            column,
            number(entry.test.difference, table, "+"),
            interval(entry.test.low, entry.test.high, table, "+") or "–",
            p_text(entry.test.p),
            p_text(entry.test.adjusted),
            f"{entry.test.pairs} {entry.test.over}",
        ]
        for row, line in zip(table.rows, table.entries, strict=True)
        for column, entry in zip(table.columns, line, strict=True)
        if entry is not None and entry.test is not None
    ]


PUBLISHED_HEAD = ("row", "column", "published", "ours", "difference", "models", "source")


def published_row(published: Published, table: Table) -> list[str]:
    """A published number and ours, with the headings `PUBLISHED_HEAD`."""
    spec, entry = published.spec, published.entry
    theirs = f"{spec.value * table.spec.scale:.10g}"
    ours, difference = "–", "–"
    if entry is not None and entry.mean is not None:
        ours = number(entry.mean.value, table)
        difference = number(entry.mean.value - spec.value, table, "+")
    row = JOINED.join(spec.row)
    return [row, spec.column, theirs, ours, difference, published.sentence, spec.source]


def cost_rows(cost: Cost) -> list[list[str]]:
    """A line for each kind of cells: cells, wall time, processor time, energy."""
    return [
        [
            line.kind,
            str(line.cells),
            duration(line.seconds),
            duration(line.processor_seconds),
            f"{line.processor_seconds / 3600 * cost.watts:.3g} Wh",
        ]
        for line in (cost.lines if len(cost.lines) > 2 else cost.lines[-1:])
    ]


COST_HEAD = ("kind", "finished cells", "wall time", "processor time", "energy, estimated")


def cost_notes(cost: Cost) -> list[str]:
    """What the numbers of the cost are, a sentence each."""
    workers = f", made by {cost.workers} worker{'' if cost.workers == 1 else 's'}"
    notes = [f"Wall time is added up over cells{workers if cost.workers else ''}."]
    if cost.span is not None:
        notes.append(
            f"From the start of the first cell to the end of the last: {duration(cost.span)}, "
            "pauses included."
        )
    if cost.untold:
        notes.append(f"{cost.untold} cells do not tell their processor time.")
    return [*notes, f"Energy is {cost.assumption}."]


def _cost(cost: Cost) -> list[str]:
    rows = [list(map(markdown, row)) for row in cost_rows(cost)]
    return [*markdown_table(COST_HEAD, rows, 1), "", markdown(" ".join(cost_notes(cost)))]
