"""Retention: what tasks keep of their own prompts' scores when prompts are combined, summed up.

The retention of a task is the score of the combination over that of the task's own prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from promptport.analysis import Interval, bootstrap_difference, bootstrap_mean

LOST = 0.8  # a task that keeps less of its own prompt's score is lost
_FEWEST = 3  # different sets of tasks, from which on an interval over tasks means anything


@dataclass(frozen=True)
class TaskRetention:
    """What is left of one task.

    Attributes:
        prompt: name in the library.
        score: of the combination.
        retention: that over the score of the task's own prompt, 0 or more.
        lost: whether it is below 0.8.
        beyond_noise: whether the 95% interval over rows says so too: that of the score less 0.8 of
            the own prompt's lies below zero. None where the score is no share of rows.
        forecast: its verdict, if there is one.
    """

    prompt: str
    score: float
    retention: float
    lost: bool
    beyond_noise: bool | None
    forecast: str | None = None


@dataclass(frozen=True)
class Combined:
    """A set of prompts, combined in one way.

    Attributes:
        way: see `PairsConfig`.
        tasks: in the order of the library.
        coefficients: that were found, for the ways that search.
    """

    way: str
    tasks: tuple[TaskRetention, ...]
    coefficients: tuple[float, ...] | None

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names in the library."""
        return tuple(task.prompt for task in self.tasks)

    @property
    def weakest(self) -> TaskRetention:
        """The task that keeps least."""
        return min(self.tasks, key=lambda task: task.retention)


@dataclass(frozen=True)
class WayRecord:
    """How one way did on all sets of one size.

    Attributes:
        way: its name.
        size: tasks in a set.
        sets: how many.
        retention: its mean over all tasks of all sets.
        interval: its interval; tasks are drawn, which sets share. None for fewer than three
            different sets of tasks.
        weakest: mean retention of the weaker task of each set.
        worst: the least retention.
        lost: sets that lose a task.
        beyond_noise: sets that lose one beyond the noise of the rows, of the tasks whose score is a
            share of rows; None if there are none.
        gain: of the weaker task, over the first way; None for that itself and for few sets.
    """

    way: str
    size: int
    sets: int
    retention: float
    interval: Interval | None
    weakest: float
    worst: float
    lost: int
    beyond_noise: int | None
    gain: Interval | None


@dataclass(frozen=True)
class Pairs:
    """All sets, all ways.

    Attributes:
        alone: score of each prompt on its own task.
        left_out: name -> why a prompt was not combined.
        sets: one entry for each set and way.
        ways: one entry for each size and way.
        forecasts: verdict -> how often it was given, and how often the task was kept.
    """

    alone: Mapping[str, float]
    left_out: Mapping[str, str]
    sets: tuple[Combined, ...]
    ways: tuple[WayRecord, ...]
    forecasts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """In plain words which way keeps the tasks best, and how far to trust that."""
        if not self.ways:
            return "nothing was combined"
        sizes = sorted({record.size for record in self.ways})
        return "; ".join(self._verdict([r for r in self.ways if r.size == size]) for size in sizes)

    def _verdict(self, ways: Sequence[WayRecord]) -> str:
        best = max(ways, key=lambda record: record.weakest)
        what = "pairs" if best.size == 2 else f"sets of {best.size}"
        said = f"of {best.sets} {what}, {best.way} loses a task in {best.lost}"
        if len(ways) == 1:
            return said
        first = ways[0]
        if best is first:
            return f"{said}, and no other way keeps more of the weaker task"
        if best.gain is None:
            return f"{said}, {first.way} in {first.lost}: too few sets to tell that from chance"
        sure = "beyond noise" if best.gain.low > 0 else "which may be chance"
        return f"{said}, {first.way} in {first.lost}: {best.gain.value:+.3f} of the weaker, {sure}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "verdict": self.verdict}


def retention_of(score: float, alone: float) -> float:
    """A score over that of the task's own prompt; 0 where that is 0, and never below 0."""
    return max(0.0, score / alone) if alone > 0 else 0.0


def task_retention(
    prompt: str,
    scores: tuple[float, float],
    rows: tuple[Sequence[float], Sequence[float]] | None = None,
) -> TaskRetention:
    """What is left of one task.

    Args:
        prompt: its name in the library.
        scores: of the combination, and of the task's own prompt.
        rows: of both, per test row 1 where it is right, else 0; None where scores are no shares
            of rows.
    """
    retention = retention_of(*scores)
    lost = retention < LOST
    noise = None if rows is None else lost and is_lost(*rows)
    return TaskRetention(prompt, scores[0], retention, lost, noise)


def is_lost(rows: Sequence[float], alone: Sequence[float]) -> bool:
    """Whether less than 0.8 is kept beyond the noise of the rows.

    Args:
        rows: per test row 1 if the combination is right, else 0.
        alone: the same of the task's own prompt.

    Returns:
        Whether the 95% interval of the mean of `rows - 0.8 alone` lies below zero.
    """
    return bootstrap_mean([a - LOST * b for a, b in zip(rows, alone, strict=True)]).high < 0


def records_of(sets: Sequence[Combined], tasks: Mapping[str, str]) -> tuple[WayRecord, ...]:
    """One record for each size and way.

    Args:
        sets: every set in every way, the first way first.
        tasks: prompt -> name of its task: what is drawn for intervals.
    """
    by: dict[int, dict[str, list[Combined]]] = defaultdict(lambda: defaultdict(list))
    for each in sets:
        by[len(each.tasks)][each.way].append(each)
    records = []
    for ways in by.values():
        first = next(iter(ways.values()))
        units = [[tasks[name] for name in each.prompts] for each in first]
        records += [record_of(own, first, units) for own in ways.values()]
    return tuple(records)


def record_of(
    sets: Sequence[Combined],
    first: Sequence[Combined],
    units: Sequence[Sequence[str]],
    fewest: int = _FEWEST,
) -> WayRecord:
    """How one way did on some sets.

    Args:
        sets: in this way.
        first: the same sets in the way that it is compared with.
        units: of each set the tasks, which are drawn for intervals.
        fewest: different sets of tasks, from which on there are intervals.
    """
    way, size = sets[0].way, len(sets[0].tasks)
    means = [fmean(task.retention for task in each.tasks) for each in sets]
    weakest = [each.weakest.retention for each in sets]
    noise = [[task.beyond_noise for task in each.tasks] for each in sets]
    known = any(value is not None for row in noise for value in row)
    interval = gain = None
    if len(set(map(frozenset, units))) >= fewest:
        interval = bootstrap_mean(means, units=units)
        if first[0].way != way:
            gain = bootstrap_difference(weakest, [e.weakest.retention for e in first], units=units)
    return WayRecord(
        way=way,
        size=size,
        sets=len(sets),
        retention=fmean(means),
        interval=interval,
        weakest=fmean(weakest),
        worst=min(weakest),
        lost=sum(each.weakest.lost for each in sets),
        beyond_noise=sum(map(any, noise)) if known else None,
        gain=gain,
    )


def forecasts_of(sets: Sequence[Combined]) -> dict[str, tuple[int, int]]:
    """Verdict -> how often it was given, and how often the task was kept."""
    tasks = [task for each in sets for task in each.tasks if task.forecast is not None]
    return {
        verdict: (len(own), sum(not task.lost for task in own))
        for verdict in ("kept", "at risk", "lost")
        if (own := [task for task in tasks if task.forecast == verdict])
    }
