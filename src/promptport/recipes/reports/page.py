"""A report as one HTML page that stands alone."""

from __future__ import annotations

from base64 import b64encode

from promptport.pages import render_page
from promptport.recipes.reports.formatting import interval, number
from promptport.recipes.reports.markdown import (
    COST_HEAD,
    PUBLISHED_HEAD,
    TEST_HEAD,
    cost_notes,
    cost_rows,
    published_row,
    test_rows,
    value_text,
)
from promptport.recipes.reports.published import Published
from promptport.recipes.reports.report import Report
from promptport.recipes.reports.table_files import csv_bytes, latex_bytes
from promptport.recipes.reports.tables import Table

TEMPLATE = "report.html"
_TYPES = {"csv": "text/csv", "tex": "application/x-tex"}


def report_page(report: Report) -> bytes:
    """The report as HTML; tables can be saved from it as CSV and LaTeX."""
    from markupsafe import Markup

    named = {table.spec.name: list(report.published[table.spec.name]) for table in report.tables}
    return render_page(
        TEMPLATE,
        run=report.run,
        states=_states(report),
        tables=report.tables,
        figures=report.figures,
        svg=Markup,  # of our own drawing; what is written in it is escaped there
        number=number,
        interval=interval,
        theirs_number=_theirs,
        beside={
            name: {(p.row, p.spec.column): p for p in own if p.entry is not None}
            for name, own in named.items()
        },
        other_models={
            name for name, own in named.items() if any(p.same_models is False for p in own)
        },
        links={table.spec.name: _links(table, named[table.spec.name]) for table in report.tables},
        test_head=TEST_HEAD,
        tests={table.spec.name: test_rows(table) for table in report.tables},
        published_head=PUBLISHED_HEAD,
        published={
            table.spec.name: [published_row(p, table) for p in named[table.spec.name]]
            for table in report.tables
        },
        not_run=[(each.state, each.what, each.why) for each in report.not_run],
        cost_head=COST_HEAD,
        cost=cost_rows(report.cost),
        cost_notes=cost_notes(report.cost),
        environment=[(k, value_text(v)) for k, v in report.run.environment.items()],
        settings=[(k, value_text(v)) for k, v in report.run.settings().items()],
    )


def _states(report: Report) -> list[tuple[str, str, bool]]:
    """What stands at the top: names, counts, and whether they are bad news."""
    counts = report.run.counts()
    states = [("cells finished", f"{counts['finished']}/{counts['asked']}", False)]
    more = {"failed": "failed", "missing": "not run yet", "left_out": "left out of the grid"}
    states += [(name, str(counts[k]), k == "failed") for k, name in more.items() if counts[k]]
    if report.published and (total := sum(map(len, report.published.values()))):
        states.append(("published numbers beside ours", f"{report.beside}/{total}", False))
    return states


def _theirs(published: Published, table: Table) -> str:
    return f"{published.spec.value * table.spec.scale:.10g}"


def _links(table: Table, published: list[Published]) -> list[tuple[str, str]]:
    """Names and contents of the table's files: the page needs no others beside it."""
    contents = {"csv": csv_bytes(table, published), "tex": latex_bytes(table)}
    return [
        (
            f"{table.spec.name}.{ending}",
            f"data:{_TYPES[ending]};charset=utf-8;base64,{b64encode(data).decode()}",
        )
        for ending, data in contents.items()
    ]
