"""What the cells of a mean or of a test are drawn by: cells that share it are not independent."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptport.analysis.statistics import Interval, bootstrap_mean, sign_flip_test
from promptport.recipes.reports.run_record import MeasuredCell
from promptport.recipes.reports.selecting import rest_of

FEWEST = 3  # units that an interval takes
CELLS, PLACES, TASKS, SETS = "cells", "places", "tasks", "sets of tasks"


@dataclass(frozen=True)
class Units:
    """What cells are drawn by.

    Attributes:
        of: of each cell the units that it belongs to, one or more.
        name: `cells` (each on its own), `places`, `tasks`, or `sets of tasks`.
    """

    of: Sequence[Sequence[Hashable]]
    name: str

    @property
    def count(self) -> int:
        """How many there are."""
        return len({unit for own in self.of for unit in own})

    def mean(self, values: Sequence[float]) -> Interval:
        """The mean of a number of each cell; its 95% interval draws units."""
        return bootstrap_mean(values, units=None if self.name == CELLS else self.of)

    def test(self, differences: Sequence[float]) -> float:
        """p of a two-sided sign-flip test of differences of cells: units flip as a whole.

        Where a cell has several units, the effect of each is fitted by least squares, the
        difference of a cell being the mean of those of its units.
        """
        if all(len(own) == 1 for own in self.of):
            groups = [own[0] for own in self.of]
            return sign_flip_test(differences, [0.0] * len(differences), groups=groups)
        shares = _shares(self.of)
        effects = np.linalg.lstsq(shares, np.asarray(differences), rcond=None)[0]
        parts = (shares.sum(0) * effects).tolist()  # they add up to the differences of all cells
        return sign_flip_test(parts, [0.0] * len(parts))


def units_of(cells: Sequence[MeasuredCell], but: Iterable[str]) -> Units:
    """What cells are drawn by.

    Cells of several places are drawn by place: those that differ in the seed alone repeat each
    other. Cells of several sets of tasks are drawn by task, or, where the effect of a single task
    cannot be told, by all sets that share a task. Cells of one place are drawn one by one.

    Args:
        cells: of one mean or test.
        but: keys of their places that do not count, the seed among them.
    """
    left_out = set(but)
    places = [rest_of(cell, left_out) for cell in cells]
    if len(set(places)) < 2:
        return Units([(number,) for number in range(len(cells))], CELLS)
    sets = [own for cell in cells if isinstance(own := cell.place.get("tasks"), tuple)]
    if len(sets) == len(cells) and len(set(sets)) > 1 and "tasks" not in left_out:
        shares = _shares(sets)
        alone = np.linalg.matrix_rank(shares) == shares.shape[1]
        return Units(sets, TASKS) if alone else Units(_joined(sets), SETS)
    return Units([(p,) for p in places], PLACES if len(set(places)) < len(cells) else CELLS)


def _joined(sets: Sequence[Sequence[Hashable]]) -> list[tuple[Hashable]]:
    """Of each set a task that stands for all that it is joined with, directly or over others."""
    names = {task: task for own in sets for task in own}
    for own in sets:
        former = {names[task] for task in own}
        names |= {task: names[own[0]] for task, name in names.items() if name in former}
    return [(names[own[0]],) for own in sets]


def _shares(units: Sequence[Sequence[Hashable]]) -> NDArray[np.float64]:
    """(cells, units), the share that each unit has in a cell."""
    known = dict.fromkeys(unit for own in units for unit in own)
    column = {unit: number for number, unit in enumerate(known)}
    shares = np.zeros((len(units), len(column)))
    for row, own in zip(shares, units, strict=True):
        row[[column[unit] for unit in own]] = 1 / len(own)
    return shares
