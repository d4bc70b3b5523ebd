"""What differs between two runs: cells beyond their noise, settings, environments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from promptport.analysis.statistics import Interval, holm
from promptport.files import write_atomic
from promptport.recipes.reports.run_record import SCORE, MeasuredCell, RunRecord, read_run
from promptport.recipes.reports.selecting import SEED, place_text
from promptport.recipes.reports.summaries import right_rows, row_test
from promptport.recipes.reports.tables import LEVEL
from promptport.recipes.reports.units import FEWEST, units_of

_EQUAL = 1e-9
ROWS, INTERVALS, NOTHING = "paired rows", "intervals", "nothing"  # what noise is known by


@dataclass(frozen=True)
class CellChange:
    """A number of a cell in both runs.

    Attributes:
        cell: its place in words.
        kind: of the cell.
        value: name of the number.
        first: in the first run.
        second: in the second run.
        known_by: what tells the noise: `paired rows`, `intervals` or `nothing`.
        adjusted: p of the test over rows, corrected for all such tests; None for other ways.
        beyond: whether it changed by more than noise; None where nothing tells the noise.
    """

    cell: str
    kind: str
    value: str
    first: float
    second: float
    known_by: str
    adjusted: float | None
    beyond: bool | None

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True)
class Overall:
    """A number over all cells of a kind that both runs have.

    Attributes:
        kind: of the cells.
        value: name of the number.
        cells: in both runs.
        mean: of second minus first; its interval is a bootstrap by `units_of`.
        p: of a paired test by the same units, not corrected; None with one cell.
        sure: whether there are enough units for an interval.
    """

    kind: str
    value: str
    cells: int
    mean: Interval
    p: float | None
    sure: bool


@dataclass(frozen=True)
class RunDiff:
    """What differs between two runs.

    Attributes:
        names: of the recipes, first and second.
        changes: numbers that are not equal, those beyond noise first, then by size.
        equal: cells whose numbers are all equal.
        shared: cells that both runs have finished.
        overall: by kind and number.
        only: for each run, the cells that are finished in it alone, with how they stand in the
            other run.
        settings: dotted name -> first and second, of those that differ; None where a run has none.
        environment: likewise.
    """

    names: tuple[str, str]
    changes: tuple[CellChange, ...]
    equal: int
    shared: int
    overall: tuple[Overall, ...]
    only: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
    settings: Mapping[str, tuple[Any, Any]]
    environment: Mapping[str, tuple[Any, Any]]

    @property
    def beyond(self) -> tuple[CellChange, ...]:
        """The changes beyond noise."""
        return tuple(change for change in self.changes if change.beyond)

    def verdict(self) -> str:
        """One sentence."""
        within = sum(change.beyond is False for change in self.changes)
        unknown = sum(change.beyond is None for change in self.changes)
        parts = [f"{len(self.beyond)} numbers changed by more than noise", f"{within} within it"]
        parts += [f"{unknown} by an amount whose noise nothing tells"] if unknown else []
        same = f"{self.equal} of {self.shared} shared cells are equal"
        return f"{', '.join(parts)}; {same}."

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        first, second = self.only
        return {
            "names": list(self.names),
            "shared": self.shared,
            "equal": self.equal,
            "beyond_noise": len(self.beyond),
            "changes": [{**asdict(c), "difference": c.difference} for c in self.changes],
            "overall": [asdict(each) for each in self.overall],
            "only_first": [list(each) for each in first],
            "only_second": [list(each) for each in second],
            "settings": {key: list(pair) for key, pair in self.settings.items()},
            "environment": {key: list(pair) for key, pair in self.environment.items()},
        }


def diff_runs(
    first: RunRecord | str | Path, second: RunRecord | str | Path, out: str | Path | None = None
) -> RunDiff:
    """Compare two runs, cell by cell.

    Cells are those of the same kind and place. Their numbers are the scores and what the tables
    and figures of either run show. A score whose right rows both cells know is tested over rows,
    corrected (Holm) for all such tests; else a score changed if the intervals of the two cells do
    not touch.

    Args:
        first: what `read_run` gave, or a folder.
        second: likewise.
        out: Markdown file to write.

    Raises:
        StorageError: a place that cannot be read or written.
        FileFormatError: a damaged run.
    """
    a, b = (run if isinstance(run, RunRecord) else read_run(run) for run in (first, second))
    cells = [{_key(cell): cell for cell in run.cells} for run in (a, b)]
    done = [{k: c for k, c in own.items() if c.state == "finished"} for own in cells]
    shared = [(cell, done[1][key]) for key, cell in done[0].items() if key in done[1]]
    values = _values(a, b)
    compared = [_compare(x, y, value) for x, y in shared for value in values]
    found = [change for change in compared if change is not None]
    changes = [change for change in _corrected(found) if abs(change.difference) > _EQUAL]
    moved = {change.cell for change in changes}
    told = RunDiff(
        names=(a.name, b.name),
        changes=tuple(sorted(changes, key=_by_size)),
        equal=sum(place_text(x.kind, x.place) not in moved for x, _ in shared),
        shared=len(shared),
        overall=tuple(_overall(shared, values)),
        only=(_only(done[0], cells[1]), _only(done[1], cells[0])),
        settings=_changed(a.settings(), b.settings()),
        environment=_changed(a.environment, b.environment),
    )
    if out is not None:
        from promptport.recipes.reports.differences_text import diff_markdown

        write_atomic(Path(out), diff_markdown(told))
    return told


def _key(cell: MeasuredCell) -> str:
    return json.dumps([cell.kind, sorted(cell.place.items())], ensure_ascii=False)


def _by_size(change: CellChange) -> tuple[int, float, str]:
    order = {True: 0, None: 1, False: 2}
    return order[change.beyond], -abs(change.difference), change.cell


def _values(*runs: RunRecord) -> list[str]:
    """Names of the numbers that are compared."""
    names = {SCORE: None}
    for run in runs:
        for table in run.report.tables:
            names[table.value] = None
        for figure in run.report.figures:
            axes = (figure.x, figure.y) if figure.figure == "scatter" else (figure.value,)
            names.update({name: None for name in axes if name is not None})
    return list(names)


def _compare(first: MeasuredCell, second: MeasuredCell, value: str) -> CellChange | None:
    """A number of a cell in both runs, its test not yet corrected; None if one lacks it."""
    a, b = first.number(value), second.number(value)
    if a is None or b is None:
        return None
    named = (place_text(first.kind, first.place), first.kind, value, a, b)
    rows = right_rows(first, value), right_rows(second, value)
    if rows[0] is not None and rows[1] is not None and len(rows[0]) == len(rows[1]):
        if rows[0] == rows[1]:
            return CellChange(*named, ROWS, 1.0, False)
        return CellChange(*named, ROWS, row_test(_minus(rows[1], rows[0])), None)
    ends = [cell.number(end) for cell in (first, second) for end in ("low", "high")]
    if value == SCORE and None not in ends:
        low_a, high_a, low_b, high_b = (end or 0.0 for end in ends)
        return CellChange(*named, INTERVALS, None, low_b > high_a or low_a > high_b)
    return CellChange(*named, NOTHING, None, None)


def _minus(second: Sequence[int], first: Sequence[int]) -> list[float]:
    return [float(b - a) for a, b in zip(first, second, strict=True)]


def _corrected(changes: Sequence[CellChange]) -> list[CellChange]:
    tested = [i for i, change in enumerate(changes) if change.adjusted is not None]
    adjusted = dict(zip(tested, holm([changes[i].adjusted or 0.0 for i in tested]), strict=True))
    return [
        change
        if i not in adjusted
        else replace(change, adjusted=adjusted[i], beyond=adjusted[i] < LEVEL)
        for i, change in enumerate(changes)
    ]


def _overall(
    shared: Sequence[tuple[MeasuredCell, MeasuredCell]], values: Sequence[str]
) -> list[Overall]:
    lines = []
    for kind in dict.fromkeys(first.kind for first, _ in shared):
        for value in values:
            known = [
                (first, b - a)
                for first, second in shared
                if first.kind == kind
                and (a := first.number(value)) is not None
                and (b := second.number(value)) is not None
            ]
            if not known:
                continue
            changes = [change for _, change in known]
            units = units_of([cell for cell, _ in known], [SEED])
            p = units.test(changes) if len(known) > 1 else None
            sure = units.count >= FEWEST
            lines.append(Overall(kind, value, len(known), units.mean(changes), p, sure))
    return lines


def _only(
    own: Mapping[str, MeasuredCell], others: Mapping[str, MeasuredCell]
) -> tuple[tuple[str, str], ...]:
    """Cells that the other run has not finished, and how they stand there."""
    lines = []
    for key, cell in own.items():
        other = others.get(key)
        if other is None:
            lines.append((place_text(cell.kind, cell.place), "not asked for"))
        elif other.state != "finished":
            told = "not run" if other.state == "missing" else other.state
            why = f"{told}: {other.error}" if other.error else told
            lines.append((place_text(cell.kind, cell.place), why))
    return tuple(lines)


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*a, *b])
    return {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}
