"""Few-shot curves summed up: areas, differences with intervals and tests, a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from promptport.analysis import Comparison, compare_crossed, compare_to
from promptport.experiments.result_store import Cell, unpacked
from promptport.library.starts import DRAWN
from promptport.tasks import Score

BOTH, ROWS, SEEDS = "seeds and test rows", "test rows", "seeds"  # what tests are over
_LEVEL = 0.05  # of the corrected p, below which a difference is beyond noise


@dataclass(frozen=True)
class Curve:
    """One start.

    Attributes:
        start: its name.
        touched: what was read of the task to choose or make it, in words. What is tuned from it
            reads the labels of the few rows, and with 0 rows none.
        scores: rows -> its score with each seed.
        chosen: rows -> with each seed the prompt of the library that it stood for or began from;
            empty if it is none of them.
        comparison: of its area with that of the reference; None for the reference itself, and
            where there is nothing to tell noise by.
        gain: its area less that of the reference; None for the reference itself.
        ahead: seeds with which its area is greater than that of the reference.
        right: rows -> with each seed a bit per test row (`result_store.packed`); empty of a metric
            that is no share of rows. Not among the JSON values.
    """

    start: str
    touched: str
    scores: Mapping[int, tuple[float, ...]]
    chosen: Mapping[int, tuple[str, ...]]
    comparison: Comparison | None = None
    gain: float | None = None
    ahead: int = 0
    right: Mapping[int, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def means(self) -> dict[int, float]:
        """Mean score over the seeds, by rows."""
        return {count: fmean(scores) for count, scores in self.scores.items()}

    @property
    def area(self) -> float:
        """Area under the curve: the mean over the row counts, which grow about geometrically."""
        return fmean(self.means.values())

    @property
    def area_by_seed(self) -> list[float]:
        """The area with each seed."""
        return [fmean(scores) for scores in zip(*self.scores.values(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "start": self.start,
            "touched": self.touched,
            "means": self.means,
            "area": self.area,
            "gain": self.gain,
            "ahead": self.ahead,
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "scores": {count: list(scores) for count, scores in self.scores.items()},
            "chosen": {count: list(names) for count, names in self.chosen.items()},
        }


@dataclass(frozen=True)
class Curves:
    """Few-shot curves of several starts on one task.

    Attributes:
        task: its name.
        metric: of the scores.
        rows: numbers of labelled rows, ascending.
        seeds: of the runs.
        reference: the start that the others are compared with.
        curves: one per start.
        majority: score of the most frequent answer of all training rows.
        test_rows: that were scored.
        over: what intervals and tests are over: `seeds and test rows`, with one seed `test rows`,
            `seeds` of a metric that is no share of rows, or None if there is neither.
        notes: what was done otherwise than asked.
    """

    task: str
    metric: str
    rows: tuple[int, ...]
    seeds: tuple[int, ...]
    reference: str
    curves: tuple[Curve, ...]
    majority: Score
    test_rows: int
    over: str | None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """In plain words which starts lead, and how far to trust that."""
        return "; ".join([self._standing(), *self._doubts()])

    def _standing(self) -> str:
        others = [c for c in self.curves if c.start != self.reference]
        if not others:
            return f"{self.reference} alone: there is nothing to compare it with"
        if self.over is None:
            return (
                f"{self.metric} is no share of rows, so with one seed nothing tells a difference "
                "from noise: take several"
            )
        groups: dict[str, list[str]] = {"ahead of": [], "behind": [], "level with": []}
        for curve in others:
            groups[_standing(curve)].append(curve.start)
        beyond = "beyond the noise of the test rows" if self.over == ROWS else "beyond noise"
        ends = {"level with": "as far as noise lets tell"}
        return "; ".join(
            f"{way} {self.reference} {ends.get(way, beyond)}: {', '.join(names)}"
            for way, names in groups.items()
            if names
        )

    def _doubts(self) -> list[str]:
        drawn = any(self.rows) or any(curve.start in DRAWN for curve in self.curves)
        if self.over is None or not drawn:
            return []
        if len(self.seeds) == 1:
            what = "the few rows" if any(self.rows) else "words and texts"
            return [
                f"with one seed nothing tells what another draw of {what} would give: take several"
            ]
        if self.over == BOTH and len(self.seeds) == 2:
            return ["two seeds hardly tell how much draws differ: take more"]
        least = min(1.0, 2 / 2 ** len(self.seeds) * (len(self.curves) - 1))  # of Holm's p
        if self.over == SEEDS and least > _LEVEL:
            return [f"over {len(self.seeds)} seeds p cannot go below {least:g}: take more"]
        return []

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "task": self.task,
            "metric": self.metric,
            "rows": list(self.rows),
            "seeds": list(self.seeds),
            "reference": self.reference,
            "curves": [curve.to_dict() for curve in self.curves],
            "majority": self.majority.to_dict(),
            "test_rows": self.test_rows,
            "over": self.over,
            "verdict": self.verdict,
            "notes": list(self.notes),
        }


def _standing(curve: Curve) -> str:
    comparison = curve.comparison
    if comparison is None or comparison.adjusted > _LEVEL:
        return "level with"
    return "ahead of" if comparison.difference.value > 0 else "behind"


def curves_of(
    cells: Mapping[str, Mapping[int, Sequence[Cell]]], touched: Mapping[str, str], reference: str
) -> tuple[tuple[Curve, ...], str | None]:
    """Curves, and what intervals and tests are over.

    Of a test row counts the mean over row counts of whether it was right. Several seeds are drawn
    as well as the rows: another draw of the few rows moves all of them together. Metrics that are
    no share of rows are compared by the areas of the seeds, if there are two or more.

    Args:
        cells: start -> rows -> one cell per seed, with `score`, `right` and `chosen`.
        touched: start -> what was read.
        reference: one of the starts.
    """
    plain = {
        start: Curve(
            start,
            touched[start],
            {count: tuple(cell["score"] for cell in seeds) for count, seeds in own.items()},
            {
                count: tuple(cell["chosen"] for cell in seeds)
                for count, seeds in own.items()
                if seeds[0]["chosen"] is not None
            },
            right={
                count: tuple(cell["right"] for cell in seeds)
                for count, seeds in own.items()
                if seeds[0]["right"] is not None
            },
        )
        for start, own in cells.items()
    }
    over, tests = _compared(
        {start: right_per_row(own) for start, own in cells.items()},
        {start: curve.area_by_seed for start, curve in plain.items()},
        reference,
    )
    base = plain[reference]
    curves = []
    for start, curve in plain.items():
        if start == reference:
            curves.append(curve)
            continue
        ahead = sum(a > b for a, b in zip(curve.area_by_seed, base.area_by_seed, strict=True))
        gain = curve.area - base.area
        curves.append(replace(curve, comparison=tests.get(start), gain=gain, ahead=ahead))
    return tuple(curves), over


def _compared(
    right: Mapping[str, Sequence[Sequence[float]]],
    areas: Mapping[str, Sequence[float]],
    reference: str,
) -> tuple[str | None, dict[str, Comparison]]:
    """What tests are over, and every other start against the reference."""
    several, others = len(areas[reference]) > 1, [start for start in areas if start != reference]
    if not right[reference]:
        if not several:
            return None, {}
        return SEEDS, compare_to(areas[reference], {start: areas[start] for start in others})
    if several:
        return BOTH, compare_crossed(right[reference], {start: right[start] for start in others})
    (first,) = right[reference]
    return ROWS, compare_to(first, {start: right[start][0] for start in others})


def right_per_row(cells: Mapping[int, Sequence[Cell]]) -> list[list[float]]:
    """Per seed and test row the mean over row counts; empty for a metric that is no share."""
    seeds = []
    for own in zip(*cells.values(), strict=True):
        parts = [cell["right"] for cell in own]
        if not all(parts):
            return []
        seeds.append([fmean(row) for row in zip(*map(unpacked, parts), strict=True)])
    return seeds
