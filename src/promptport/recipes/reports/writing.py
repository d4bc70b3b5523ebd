"""Writing a report: a page, Markdown, and a file for every table and figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from promptport.errors import FileFormatError
from promptport.files import json_bytes, read_json, write_atomic
from promptport.progress import stage
from promptport.recipes.reports.cost import WATTS
from promptport.recipes.reports.markdown import report_markdown
from promptport.recipes.reports.page import report_page
from promptport.recipes.reports.report import Report, make_report
from promptport.recipes.reports.run_record import RunRecord, read_run
from promptport.recipes.reports.table_files import csv_bytes, latex_bytes

PAGE, MARKDOWN, RESULT = "index.html", "report.md", "report.json"
TABLES, FIGURES = "tables", "figures"
_SVG_HEAD = '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'


def write_report(run: RunRecord | str | Path, out: str | Path, *, watts: float = WATTS) -> Report:
    """Write the report of a run.

    The folder gets `index.html`, a page that stands alone, `report.md`, `report.json`, a CSV and a
    LaTeX file of every table and an SVG of every figure. The same run gives the same bytes. Tables
    and figures of an earlier report there that this one has not are removed.

    Args:
        run: what `read_run` gave, or its folder.
        out: folder to write, made if missing.
        watts: of a busy core, for the estimate of energy.

    Returns:
        What is written, as values.

    Raises:
        StorageError: a place that cannot be read or written.
        FileFormatError: a damaged run, or a foreign `report.json` in the folder.
    """
    record = run if isinstance(run, RunRecord) else read_run(run)
    target = Path(out)
    before = _written_before(target / RESULT)
    report = make_report(record, watts)
    with stage("pages"):
        files = _files(report)
    for name, data in files.items():
        write_atomic(target / name, data)
    for name in before - set(files):
        (target / name).unlink(missing_ok=True)
    return report


def _files(report: Report) -> dict[str, bytes]:
    """Contents by name; what tells of the others is last."""
    files: dict[str, bytes] = {}
    for table in report.tables:
        name = table.spec.name
        files[f"{TABLES}/{name}.csv"] = csv_bytes(table, list(report.published[name]))
        files[f"{TABLES}/{name}.tex"] = latex_bytes(table)
    for drawn in report.figures:
        if drawn.svg:
            files[f"{FIGURES}/{drawn.spec.name}.svg"] = (_SVG_HEAD + drawn.svg).encode()
    files[MARKDOWN] = report_markdown(report)
    files[PAGE] = report_page(report)
    told = {**report.to_dict(), "files": sorted(files)}
    return {**files, RESULT: json_bytes(told)}


def _written_before(path: Path) -> set[str]:
    """Tables and figures that an earlier report wrote."""
    if not path.is_file():
        return set()
    names = read_json(path).get("files")
    if not isinstance(names, list):
        raise FileFormatError(
            str(path),
            expected="the result of an earlier report",
            got="another file",
            fix="Name another folder to write",
        )
    return set(_plain(names))


def _plain(names: Iterable[object]) -> Iterable[str]:
    """Names of files that a report may have written: nothing outside its two folders."""
    for name in names:
        parts = name.split("/") if isinstance(name, str) else []
        if len(parts) == 2 and parts[0] in (TABLES, FIGURES) and parts[1] not in ("", ".", ".."):
            yield "/".join(parts)
