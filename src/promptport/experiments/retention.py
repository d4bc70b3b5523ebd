"""What tasks keep of their own prompts' scores when prompts are combined, and that summed up."""

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
class KeptScore:
    """What is left of one task.

    Attributes:
        prompt: name in the library.
        score: of the combination.
        kept: that over the score of the task's own prompt, 0 or more.
        lost: whether it is below 0.8.
        beyond_noise: whether the 95% interval over rows says so too: that of the score less 0.8 of
            the own prompt's lies below zero. None where the score is no share of rows.
        said: the verdict of the forecast, if there is one.
    """

    prompt: str
    score: float
    kept: float
    lost: bool
    beyond_noise: bool | None
    said: str | None = None


@dataclass(frozen=True)
class Combined:
    """A set of prompts, combined in one way.

    Attributes:
        way: see `PairsConfig`.
        tasks: in the order of the library.
        coefficients: that were found, for the ways that search.
    """

    way: str
    tasks: tuple[KeptScore, ...]
    coefficients: tuple[float, ...] | None

    @property
    def prompts(self) -> tuple[str, ...]:
        """Names in the library."""
        return tuple(kept.prompt for kept in self.tasks)

    @property
    def weakest(self) -> KeptScore:
        """The task that keeps least."""
        return min(self.tasks, key=lambda kept: kept.kept)


@dataclass(frozen=True)
class WayRecord:
    """How one way did on all sets of one size.

    Attributes:
        way: its name.
        size: tasks in a set.
        sets: how many.
        kept: mean kept share.
        interval: its interval; tasks are drawn, which sets share. None for fewer than three
            different sets of tasks.
        weakest: mean kept share of the weaker task of each set.
        worst: the least kept share.
        lost: sets that lose a task.
        beyond_noise: sets that lose one beyond the noise of the rows, of the tasks whose score is a
            share of rows; None if there are none.
        gain: of the weaker task, over the first way; None for that itself and for few sets.
    """

    way: str
    size: int
    sets: int
    kept: float
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

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def kept_share(score: float, alone: float) -> float:
    """A score over that of the task's own prompt; 0 where that is 0, and never below 0."""
    return max(0.0, score / alone) if alone > 0 else 0.0


def is_lost(rows: Sequence[float], alone: Sequence[float]) -> bool:
    """Whether less than 0.8 is kept beyond the noise of the rows.

    Args:
        rows: per test row 1 if the combination is right, else 0.
        alone: the same of the task's own prompt.

    Returns:
        Whether the 95% interval of the mean of `rows - 0.8 alone` lies below zero.
    """
    return bootstrap_mean([a - LOST * b for a, b in zip(rows, alone, strict=True)]).high < 0


def records_of(found: Sequence[Combined], tasks: Mapping[str, str]) -> tuple[WayRecord, ...]:
    """One record for each size and way.

    Args:
        found: every set in every way, the first way first.
        tasks: prompt -> name of its task: what is drawn for intervals.
    """
    by: dict[int, dict[str, list[Combined]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        by[len(each.tasks)][each.way].append(each)
    records = []
    for ways in by.values():
        first = next(iter(ways.values()))
        units = [[tasks[name] for name in each.prompts] for each in first]
        records += [_record(sets, first, units) for sets in ways.values()]
    return tuple(records)


def _record(
    sets: Sequence[Combined], first: Sequence[Combined], units: Sequence[Sequence[str]]
) -> WayRecord:
    """Of all sets of one way and size; units are the tasks of each set."""
    way, size = sets[0].way, len(sets[0].tasks)
    means = [fmean(k.kept for k in each.tasks) for each in sets]
    weakest = [each.weakest.kept for each in sets]
    noise = [[k.beyond_noise for k in each.tasks] for each in sets]
    known = any(value is not None for row in noise for value in row)
    interval = gain = None
    if len(set(map(frozenset, units))) >= _FEWEST:
        interval = bootstrap_mean(means, units=units)
        if first[0].way != way:
            gain = bootstrap_difference(weakest, [e.weakest.kept for e in first], units=units)
    return WayRecord(
        way=way,
        size=size,
        sets=len(sets),
        kept=fmean(means),
        interval=interval,
        weakest=fmean(weakest),
        worst=min(weakest),
        lost=sum(each.weakest.lost for each in sets),
        beyond_noise=sum(map(any, noise)) if known else None,
        gain=gain,
    )


def forecasts_of(found: Sequence[Combined]) -> dict[str, tuple[int, int]]:
    """Verdict -> how often it was given, and how often the task was kept."""
    tasks = [kept for each in found for kept in each.tasks if kept.said is not None]
    return {
        verdict: (len(own), sum(not kept.lost for kept in own))
        for verdict in ("kept", "at risk", "lost")
        if (own := [kept for kept in tasks if kept.said == verdict])
    }
