"""Tables of a report: means with intervals, tests against one column, what is lacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from promptport.analysis.statistics import holm
from promptport.recipes.reports.run_record import LeftOut, MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import SEED, Labels, fits, label, labels_of, varying
from promptport.recipes.reports.specs import TableSpec
from promptport.recipes.reports.summaries import Mean, Test, compare, mean_of, paired
from promptport.recipes.reports.units import PLACES

LEVEL = 0.05  # of the corrected tests
STATES = ("finished", "failed", "missing", "left out")


@dataclass(frozen=True)
class Entry:
    """One entry of a table, in the unit of the cells.

    Attributes:
        mean: over the finished cells; None without any.
        asked: cells that were asked for.
        why: where there is no number: `failed`, `missing`, `left out`, `no value`, or empty.
        test: against the column of reference in the same row.
        best: of its row.
        cells: that were asked for.
    """

    mean: Mean | None
    asked: int
    why: str = ""
    test: Test | None = None
    best: bool = False
    cells: tuple[MeasuredCell, ...] = ()

    @property
    def star(self) -> bool:
        """Whether it differs from the reference, after correction for all tests of the table."""
        return self.test is not None and (self.test.adjusted or 1.0) < LEVEL

    @property
    def part(self) -> str:
        """`2/3` where cells are lacking, else empty."""
        known = 0 if self.mean is None else self.mean.cells
        return f"{known}/{self.asked}" if 0 < known < self.asked else ""


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        spec: what the recipe asks for.
        heads: the row keys.
        columns: labels of the columns.
        rows: labels of each row.
        entries: by row and column; None where nothing was asked for.
        notes: what a reader must know, a sentence each.
        verdict: what the tests say, one sentence; empty without tests.
    """

    spec: TableSpec
    heads: Labels
    columns: Labels
    rows: tuple[Labels, ...]
    entries: tuple[tuple[Entry | None, ...], ...]
    notes: tuple[str, ...] = field(default=())
    verdict: str = ""

    def entry(self, row: Labels, column: str) -> Entry | None:
        """The entry of a row and a column; None if there is none."""
        if row not in self.rows or column not in self.columns:
            return None
        return self.entries[self.rows.index(row)][self.columns.index(column)]


def make_table(run: RunRecord, spec: TableSpec) -> Table:
    """Fill in a table of a run.

    Args:
        run: with the cells.
        spec: what is asked for.
    """
    cells = [cell for cell in run.cells if fits(cell.kind, cell.place, spec.of)]
    keys = [*spec.rows, *([spec.columns] if spec.columns else [])]
    groups: dict[tuple[Labels, str], list[MeasuredCell]] = {}
    for cell in cells:
        groups.setdefault((labels_of(cell.place, spec.rows), _column(cell, spec)), []).append(cell)
    out = [
        (labels_of(each.place, spec.rows), _column(each, spec))
        for each in run.left_out
        if fits(None, each.place, spec.of) and all(key in each.place for key in keys)
    ]
    rows = tuple(dict.fromkeys(row for row, _ in [*groups, *out]))
    columns = tuple(dict.fromkeys(column for _, column in [*groups, *out]))
    filled = [
        [_entry(groups.get((row, column), []), (row, column) in out, spec) for column in columns]
        for row in rows
    ]
    filled = _tested(filled, columns, spec)
    filled = [_with_best(line, spec) for line in filled]
    return Table(
        spec=spec,
        heads=tuple(spec.rows),
        columns=columns,
        rows=rows,
        entries=tuple(map(tuple, filled)),
        notes=tuple(_notes(cells, filled, columns, spec)),
        verdict=_verdict(filled, columns, spec),
    )


def _column(cell: MeasuredCell | LeftOut, spec: TableSpec) -> str:
    return spec.value if spec.columns is None else labels_of(cell.place, [spec.columns])[0]


def _entry(cells: Sequence[MeasuredCell], left_out: bool, spec: TableSpec) -> Entry | None:
    if not cells:
        return Entry(None, 0, "left out") if left_out else None
    mean = mean_of([cell for cell in cells if cell.state == "finished"], spec.value)
    why = ""
    if mean is None:
        states = {cell.state for cell in cells}
        why = next(s for s in STATES if s in states)
        why = "no value" if why == "finished" else why
    return Entry(mean, len(cells), why, cells=tuple(cells))


def _tested(
    lines: list[list[Entry | None]], columns: Labels, spec: TableSpec
) -> list[list[Entry | None]]:
    """Every entry with its test against the column of reference, corrected over the table."""
    if spec.compare_to is None or spec.columns is None or spec.compare_to not in columns:
        return lines
    at = columns.index(spec.compare_to)
    tests: dict[tuple[int, int], Test] = {}
    for i, line in enumerate(lines):
        base = line[at]
        for j, entry in enumerate(line):
            if j == at or entry is None or base is None:
                continue
            pairs = paired(_finished(entry), _finished(base), [spec.columns])
            test = compare(pairs, spec.value, [spec.columns])
            if test is not None:
                tests[i, j] = test
    places = [place for place, test in tests.items() if test.p is not None]
    corrected = dict(zip(places, holm([tests[p].p or 0.0 for p in places]), strict=True))
    return [
        [
            entry
            if entry is None or (i, j) not in tests
            else replace(entry, test=replace(tests[i, j], adjusted=corrected.get((i, j))))
            for j, entry in enumerate(line)
        ]
        for i, line in enumerate(lines)
    ]


def _finished(entry: Entry) -> list[MeasuredCell]:
    return [cell for cell in entry.cells if cell.state == "finished"]


def _with_best(line: Sequence[Entry | None], spec: TableSpec) -> list[Entry | None]:
    known = [entry.mean.value for entry in line if entry is not None and entry.mean is not None]
    if spec.best is None or len(known) < 2:
        return list(line)
    best = max(known) if spec.best == "max" else min(known)
    return [
        replace(entry, best=True)
        if entry is not None and entry.mean is not None and entry.mean.value == best
        else entry
        for entry in line
    ]


def _notes(
    cells: Sequence[MeasuredCell],
    lines: Sequence[Sequence[Entry | None]],
    columns: Labels,
    spec: TableSpec,
) -> list[str]:
    if not cells:
        return ["No cell of the run is of this table."]
    notes = [spec.note.rstrip(".") + "."] if spec.note else []
    shown = [*spec.rows, *([spec.columns] if spec.columns else []), *(spec.over or [])]
    averaged = varying(cells, [k for k in shown if k not in (spec.over or [])])
    if averaged:
        notes.append(f"Means over {_listed(averaged, cells)}.")
    unnamed = [key for key in averaged if spec.over is not None and key not in spec.over]
    if unnamed:
        notes.append(f"The recipe does not name {' and '.join(unnamed)} among what is averaged.")
    if spec.compare_to is not None and spec.compare_to not in columns:
        notes.append(f"There is no column {spec.compare_to} to compare with.")
    entries = [entry for line in lines for entry in line if entry is not None]
    if any(entry.part for entry in entries):
        notes.append("n/m: only n of m cells are finished, so columns may rest on other cells.")
    if any(entry.mean is not None and entry.mean.cells == 2 for entry in entries):
        notes.append("Two cells give no interval.")
    lacking = sum(c.state == "finished" and c.number(spec.value) is None for c in cells)
    if lacking:
        some = "1 finished cell has" if lacking == 1 else f"{lacking} finished cells have"
        notes.append(f"{some} no number {spec.value!r}.")
    notes += _intervals(entries)
    notes += _tests(entries, spec)
    return notes


def _listed(keys: Sequence[str], cells: Sequence[MeasuredCell]) -> str:
    parts = []
    for key in keys:
        values = list(dict.fromkeys(label(c.place[key]) for c in cells if key in c.place))
        named = ", ".join(values) if len(values) <= 6 else f"{len(values)} values"
        parts.append(f"{key} ({named})")
    return " and ".join(parts)


def _intervals(entries: Sequence[Entry]) -> list[str]:
    drawn = dict.fromkeys(e.mean.drawn for e in entries if e.mean is not None and e.mean.drawn)
    words = {"rows": "over the test rows of the one cell", "cells": "over cells"}
    if not drawn:
        return []
    said = [words.get(each, f"over {each}, the {SEED}s of each together") for each in drawn]
    return [f"In brackets: 95% bootstrap intervals, {' or '.join(said)}."]


def _tests(entries: Sequence[Entry], spec: TableSpec) -> list[str]:
    tests = [entry.test for entry in entries if entry.test is not None]
    if not tests:
        return []
    names = dict.fromkeys(test.over for test in tests if test.p is not None)
    kinds = " or ".join(f"{n} ({SEED}s of each together)" if n == PLACES else n for n in names)
    if not kinds:
        return [f"Too few shared cells to test against {spec.compare_to}."]
    return [
        f"* differs from {spec.compare_to}: p < {LEVEL} of a paired test over {kinds}, "
        f"corrected (Holm) for the {sum(t.p is not None for t in tests)} tests of the table."
    ]


def _verdict(lines: Sequence[Sequence[Entry | None]], columns: Labels, spec: TableSpec) -> str:
    """How often each column is ahead of the reference and behind it, beyond noise."""
    parts = []
    for j, column in enumerate(columns):
        own = [line[j] for line in lines]
        known = [e for e in own if e is not None and e.test is not None and e.test.p is not None]
        if not known:
            continue
        starred = [e.test.difference > 0 for e in known if e.test is not None and e.star]
        above, below = starred.count(True), starred.count(False)
        parts.append(f"{column}: above in {above}, below in {below} of {len(known)}")
    if not parts:
        return ""
    rows = f"row by row, beyond noise, against {spec.compare_to}"
    return f"{rows[0].upper()}{rows[1:]}: {'; '.join(parts)}."
