"""Means of cells with their intervals, and paired tests of one set of cells against another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptport.analysis.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    compare_crossed,
    sign_flip_test,
)
from promptport.recipes.reports.run_record import RIGHT, SCORE, MeasuredCell
from promptport.recipes.reports.selecting import SEED, rest_of, varying
from promptport.recipes.reports.units import CELLS, FEWEST, PLACES, units_of
from promptport.records import unpacked

_TASK = "task"  # a key of places
_SAME = 1e-4  # numbers of cells may be rounded
Pair = tuple[MeasuredCell, MeasuredCell]


@dataclass(frozen=True)
class Mean:
    """A mean over cells.

    Attributes:
        value: the mean.
        low: lower end of its 95% interval; None without one.
        high: upper end.
        cells: that have the number.
        drawn: what the interval draws: `cells`, or keys of places, or `rows` of one cell.
    """

    value: float
    low: float | None
    high: float | None
    cells: int
    drawn: str = ""


@dataclass(frozen=True)
class Test:
    """A paired test of a mean difference.

    Attributes:
        difference: mean over the shared cells.
        low: lower end of its 95% interval; None without one.
        high: upper end.
        p: two-sided; None where nothing can be tested.
        adjusted: p after Holm's correction for all tests of a table.
        pairs: number of what was drawn.
        over: what that is: `rows`, `rows and seeds`, or the name of `Units`.
        cells: pairs of cells that it rests on.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    pairs: int
    over: str
    cells: int


def mean_of(cells: Sequence[MeasuredCell], key: str) -> Mean | None:
    """The mean of a number over cells; None if none has it.

    From three cells on the interval is a bootstrap over cells. Cells that share what `units_of`
    names are drawn together where there are three or more of that. The interval of one cell is its
    own, over its rows.

    Args:
        cells: finished ones.
        key: of their numbers.
    """
    known = [(cell, value) for cell in cells if (value := cell.number(key)) is not None]
    if not known:
        return None
    own, values = [cell for cell, _ in known], [value for _, value in known]
    if len(values) == 1:
        low, high = (own[0].number(end) if key == SCORE else None for end in ("low", "high"))
        if low is None or high is None:
            low = high = None
        return Mean(values[0], low, high, 1, "" if low is None else "rows")
    mean = float(np.mean(values))
    if len(values) < FEWEST:
        return Mean(mean, None, None, len(values))
    units = units_of(own, [SEED])
    if units.count < FEWEST:
        interval, drawn = bootstrap_mean(values), CELLS
    else:
        interval, drawn = units.mean(values), units.name
    drawn = " and ".join(varying(own, [SEED])) if drawn == PLACES else drawn
    return Mean(mean, interval.low, interval.high, len(values), drawn)


def paired(
    left: Sequence[MeasuredCell], right: Sequence[MeasuredCell], apart: Sequence[str]
) -> list[Pair]:
    """Cells of both sides whose places agree in all but some keys.

    Args:
        left: finished cells.
        right: finished cells.
        apart: the keys in which the sides differ.
    """
    others: dict[Hashable, MeasuredCell] = {rest_of(cell, apart): cell for cell in right}
    found = [(cell, others.get(rest_of(cell, apart))) for cell in left]
    return [(cell, other) for cell, other in found if other is not None]


def compare(pairs: Sequence[Pair], key: str, apart: Sequence[str]) -> Test | None:
    """Test the mean difference, left minus right, over cells that both sides have.

    Where the number is the share of right rows and both cells know which rows those are, rows are
    paired: with several seeds on the same rows, for the draw of seeds as well as of rows (seeds
    that not all tasks have are left out). Cells of one task were asked on the same rows, whatever
    their models. Else cells are paired, and drawn as `units_of` says.

    Args:
        pairs: cells of the same place but for the keys `apart`.
        key: of their numbers.
        apart: in which the sides differ.

    Returns:
        The test, not yet corrected; None if no pair has the number.
    """
    known = [(a, b) for a, b in pairs if a.number(key) is not None and b.number(key) is not None]
    if not known:
        return None
    rows = _rows(known, key, apart)
    if rows is not None:
        return _over_rows(rows)
    a, b = ([_value(pair[side], key) for pair in known] for side in (0, 1))
    difference = float(np.mean(np.subtract(a, b)))
    if len(known) < 2:
        return Test(difference, None, None, None, None, len(known), CELLS, len(known))
    differences = np.subtract(a, b).tolist()
    units = units_of([pair[0] for pair in known], [*apart, SEED])
    p = units.test(differences)
    interval = units.mean(differences) if units.count >= FEWEST else None
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Test(difference, low, high, p, None, units.count, units.name, len(known))


def _value(cell: MeasuredCell, key: str) -> float:
    value = cell.number(key)
    assert value is not None, key
    return value


def right_rows(cell: MeasuredCell, key: str) -> list[int] | None:
    """Per row 1 for a right answer, if that is what the number counts; else None."""
    bits, value = cell.values.get(RIGHT), cell.number(key)
    if not isinstance(bits, str) or value is None:
        return None
    rows = unpacked(bits)
    return rows if abs(sum(rows) / len(rows) - value) < _SAME else None


Seeds = dict[Hashable, NDArray[np.float64]]  # seed -> difference of each row


@dataclass(frozen=True)
class _Rows:
    """Differences of rows: of each test set by seed, added up over the cells that were asked on it.

    Attributes:
        tables: a mapping for each test set.
        cells: pairs of cells that are in them.
        crossed: whether seeds are crossed with rows: two or more that all have.
    """

    tables: list[Seeds]
    cells: int
    crossed: bool


def _rows(pairs: Sequence[Pair], key: str, apart: Sequence[str]) -> _Rows | None:
    """The rows of cells that know them; None where some do not. Of seeds that are crossed with rows
    those that not all places have are left out."""
    groups: dict[Hashable, Seeds] = {}
    tasks: dict[Hashable, Hashable] = {}
    for a, b in pairs:
        left, right = right_rows(a, key), right_rows(b, key)
        if left is None or right is None or len(left) != len(right):
            return None
        place = rest_of(a, [*apart, SEED])
        own = groups.setdefault(place, {})
        own[a.place.get(SEED)] = np.subtract(left, right, dtype=np.float64)
        tasks[place] = a.place.get(_TASK, place)
    for own in groups.values():
        if len({len(rows) for rows in own.values()}) > 1:
            return None  # other rows for other seeds
    shared = set.intersection(*(set(own) for own in groups.values()))
    crossed = len(shared) > 1
    if crossed:  # seeds that one group lacks would weigh on the others alone
        groups = {p: {s: own[s] for s in own if s in shared} for p, own in groups.items()}
    tables: dict[Hashable, Seeds] = {}
    for whole, own in groups.items():
        table = tables.setdefault((tasks[whole], _length(own)), {})
        for seed, rows in own.items():
            table[seed] = table.get(seed, 0) + rows
    return _Rows(list(tables.values()), sum(map(len, groups.values())), crossed)


def _over_rows(rows: _Rows) -> Test:
    # Rows of a small test set count for more, so that the mean over rows is that over cells.
    total = sum(map(_length, rows.tables))
    weights = [total / (rows.cells * _length(own)) for own in rows.tables]
    if rows.crossed:
        seeds = list(rows.tables[0])
        parts = [
            np.stack([own[seed] for seed in seeds]) * (len(seeds) * weight)
            for own, weight in zip(rows.tables, weights, strict=True)
        ]
        table = np.concatenate(parts, axis=1)  # (S, R)
        none = np.zeros_like(table)
        told = compare_crossed(none.tolist(), {"": table.tolist()})[""]
        return _test(told.difference, told.p, (total, rows.cells), "rows and seeds")
    flat = np.concatenate(
        [sum(own.values()) * weight for own, weight in zip(rows.tables, weights, strict=True)]
    ).tolist()  # (R,)
    none_at_all = [0.0] * len(flat)
    p = row_test(flat)
    return _test(bootstrap_difference(flat, none_at_all), p, (total, rows.cells), "rows")


def row_test(differences: Sequence[float]) -> float:
    """The sign-flip test of differences of rows, two-sided.

    Where all that differ do so by as much, the number of one sign is binomial, and the test exact
    (McNemar's): p may be as small as the tests of a thousand cells, corrected together, need.

    Args:
        differences: of rows; one or more.
    """
    sizes = {abs(d) for d in differences if d}
    if len(sizes) > 1:
        return sign_flip_test(differences, [0.0] * len(differences))
    rows = sum(d != 0 for d in differences)
    fewer = min(sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    ways = tail = 1  # to choose none, and at most `fewer`, of so many rows
    for k in range(fewer):
        ways = ways * (rows - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << rows))


def _length(own: Mapping[Hashable, NDArray[np.float64]]) -> int:
    return len(next(iter(own.values())))


def _test(interval: Interval, p: float, counts: tuple[int, int], over: str) -> Test:
    """A test of so many rows and cells, not yet corrected."""
    return Test(interval.value, interval.low, interval.high, p, None, counts[0], over, counts[1])
