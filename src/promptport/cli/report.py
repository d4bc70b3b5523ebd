"""promptport report: the report of a run, and what differs between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    HTML_MARK,
    JsonFlag,
    check_file,
    command_line,
    hint,
    note,
    print_facts,
    print_json,
    print_table,
    quiet,
    written,
)
from promptport.cli.panels import OUTPUT_PANEL
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.recipes.reports import Report, RunDiff

_USUAL_OUT = "report"  # in the folder of the run
_DIFF_MARK = b"# What differs: "
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def write(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; usually RUN/report.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    watts: Annotated[
        float, typer.Option(help="Of a busy core, for the estimate of energy.")
    ] = 15.0,
    json_output: JsonFlag = False,
) -> None:
    """Write the report of a run: a page, Markdown, CSV and LaTeX tables, SVG figures.

    Runs that are not finished have reports too: they say what is missing and why. The same run
    gives the same bytes.

    Example:
        promptport report write run --out run-report
    """
    quiet()
    from promptport.recipes.reports import read_run, write_report
    from promptport.recipes.reports.writing import PAGE

    target = run / _USUAL_OUT if out is None else out
    record = read_run(run)
    if target.resolve() == run.resolve():
        raise PromptPortError(
            "--out",
            expected="another folder than the run's own",
            got=str(target),
            fix=f"Leave --out away, or name a folder in it, for instance {run / _USUAL_OUT}",
        )
    check_file(target / PAGE, HTML_MARK)
    report = write_report(record, target, watts=watts)
    if json_output:
        print_json({**report.to_dict(), "folder": str(target)})
        return
    show_report(report)
    counts = record.counts()
    written(target / PAGE)
    command = record.told("command")
    if command.startswith("promptport ") and counts["failed"] + counts["missing"]:
        hint("Make what is missing", command)


def show_report(report: Report) -> None:
    from promptport.recipes.reports.formatting import duration, entry_text

    for table in report.tables:
        print_table(
            table.spec.title,
            [*table.heads, *table.columns],
            [
                [*row, *(entry_text(entry, table) for entry in line)]
                for row, line in zip(table.rows, table.entries, strict=True)
            ],
        )
        if table.verdict:
            typer.echo(table.verdict)
    cost = report.cost
    counts = report.run.counts()
    facts: list[list[Any]] = [
        ["cells finished", f"{counts['finished']} of {counts['asked']}"],
        ["failed", counts["failed"]],
        ["not run yet", counts["missing"]],
        ["left out of the grid", counts["left_out"]],
        ["published numbers beside ours", report.beside],
        ["wall time of all cells", duration(cost.total.seconds)],
        ["processor time", duration(cost.total.processor_seconds)],
        [f"energy, estimated at {cost.watts:g} W a core", f"{cost.energy:.3g} Wh"],
    ]
    print_facts(report.run.name, facts)


def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN1", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN2", help="Folder of another run.")],
    out: Annotated[
        Path | None, typer.Option(help="Markdown file to write.", rich_help_panel=OUTPUT_PANEL)
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Compare two runs: cells beyond their noise, settings, environments.

    Cells are those of the same kind and place. Scores are tested row by row where both cells know
    which rows are right.

    Example:
        promptport report diff run other-run --out differences.md
    """
    quiet()
    from promptport.recipes.reports import diff_runs

    if out is not None:
        check_file(out, _DIFF_MARK)
    told = diff_runs(first, second, out)
    if json_output:
        print_json(told.to_dict())
        return
    _show_diff(told)
    if out is not None:
        written(out)
    else:
        hint("Keep it as Markdown", command_line("report", "diff", first, second, out="diff.md"))


def _show_diff(told: RunDiff) -> None:
    from promptport.recipes.reports.differences_text import diff_tables

    typer.echo(told.verdict())
    for table in diff_tables(told):
        print_table(table.title, table.head, table.rows)
        if table.more:
            note(f"{table.more} more lines; all are in the file of --out")
