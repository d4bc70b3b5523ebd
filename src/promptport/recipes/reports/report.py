"""Everything that a report says, before it is written in any form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from promptport.progress import stage
from promptport.recipes.reports.cost import WATTS, Cost, cost_of
from promptport.recipes.reports.figures import Drawn, draw
from promptport.recipes.reports.published import Published, match_published
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import place_text
from promptport.recipes.reports.tables import Table, make_table

_MOST_FAILED, _MOST = 100, 20  # cells that are named: failed ones, and others


@dataclass(frozen=True)
class NotRun:
    """Cells without a result.

    Attributes:
        state: `failed`, `missing` or `left out`.
        what: their place in words.
        why: one line.
    """

    state: str
    what: str
    why: str


@dataclass(frozen=True)
class Report:
    """A report of a run.

    Attributes:
        run: its cells.
        tables: in the order of the recipe.
        figures: likewise.
        published: numbers of others, by name of the table.
        not_run: what has no result, and why.
        cost: time and energy.
    """

    run: RunRecord
    tables: tuple[Table, ...]
    figures: tuple[Drawn, ...]
    published: Mapping[str, tuple[Published, ...]]
    not_run: tuple[NotRun, ...]
    cost: Cost

    @property
    def beside(self) -> int:
        """Published numbers that stand beside one of ours."""
        return sum(each.beside for own in self.published.values() for each in own)

    def standing(self) -> str:
        """One sentence: how much of the run is there."""
        counts = self.run.counts()
        told = f"{counts['finished']} of {counts['asked']} cells are finished"
        names = {"failed": "failed", "missing": "not run yet", "left_out": "left out of the grid"}
        more = [f"{counts[key]} {name}" for key, name in names.items() if counts[key]]
        return f"{', '.join([told, *more])}."

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: counts, entries of the tables in the unit of the cells, cost."""
        return {
            "name": self.run.name,
            **self.run.counts(),
            "published": sum(map(len, self.published.values())),
            "published_beside": self.beside,
            "tables": {table.spec.name: _entries(table) for table in self.tables},
            "figures": [drawn.spec.name for drawn in self.figures],
            "cost": {
                "seconds": self.cost.total.seconds,
                "processor_seconds": self.cost.total.processor_seconds,
                "span_seconds": self.cost.span,
                "energy_watt_hours_estimate": self.cost.energy,
                "watts_per_core_assumed": self.cost.watts,
            },
        }


def _entries(table: Table) -> list[dict[str, Any]]:
    return [
        {
            "row": list(row),
            "column": column,
            "mean": None if entry.mean is None else asdict(entry.mean),
            "asked": entry.asked,
            "why": entry.why,
            "best": entry.best,
            "test": None if entry.test is None else asdict(entry.test),
        }
        for row, line in zip(table.rows, table.entries, strict=True)
        for column, entry in zip(table.columns, line, strict=True)
        if entry is not None
    ]


def make_report(run: RunRecord, watts: float = WATTS) -> Report:
    """Make tables and figures of a run.

    Args:
        run: as `read_run` gave it.
        watts: of a busy core, for the estimate of energy.

    Raises:
        PromptPortError: watts that are not above 0.
    """
    cost = cost_of(run.cells, watts)
    with stage("tables"):
        tables = tuple(make_table(run, spec) for spec in run.report.tables)
    with stage("figures"):
        figures = tuple(draw(run, spec) for spec in run.report.figures)
    published = {
        table.spec.name: tuple(match_published(table, run.report.published)) for table in tables
    }
    return Report(run, tables, figures, published, tuple(_not_run(run)), cost)


def _not_run(run: RunRecord) -> list[NotRun]:
    failed = [
        NotRun("failed", place_text(cell.kind, cell.place), _why_failed(cell))
        for cell in run.cells
        if cell.state == "failed"
    ]
    never = "not run, or stopped before it was finished"
    missing = [
        NotRun("missing", place_text(cell.kind, cell.place), cell.error or never)
        for cell in run.cells
        if cell.state == "missing"
    ]
    out = [
        NotRun("left out", place_text(cell.kind, cell.place), cell.error or "")
        for cell in run.cells
        if cell.state == "left out"
    ]
    out += [NotRun("left out", place_text("", each.place), each.why) for each in run.left_out]
    return [*_first(failed, _MOST_FAILED), *_first(missing, _MOST), *_first(out, _MOST)]


def _why_failed(cell: MeasuredCell) -> str:
    if not cell.attempts:
        return str(cell.error)
    return f"{cell.error} (tried {'once' if cell.attempts == 1 else f'{cell.attempts} times'})"


def _first(lines: list[NotRun], most: int) -> list[NotRun]:
    """The first lines, and one that counts the others."""
    if len(lines) <= most:
        return lines
    reasons = len({line.why for line in lines[most:]})
    why = lines[most].why if reasons == 1 else f"{reasons} reasons"
    return [*lines[:most], NotRun(lines[0].state, f"and {len(lines) - most} more cells", why)]
