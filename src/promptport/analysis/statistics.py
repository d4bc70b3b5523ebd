"""Paired comparisons over seeds or rows: an exact test, Holm's correction, bootstrap intervals.

Student's t is that of `scipy.stats`; for the rest scipy is the referee of the tests. Its
`permutation_test` draws other signs beyond 12 pairs and has no groups, its `bootstrap` draws
neither units nor rows beside units, and importing it takes longer than all of this. So the numbers
that were published stay the same to the digit.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from promptport.errors import PromptPortError
from promptport.tasks.metrics import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_EXACT_PAIRS = 12  # up to 4,096 patterns of signs are all tried
_BLOCK = 2_000_000  # random numbers that are held at once
_ROUNDING = 1e-9  # share of the mean size below which two means count as equal


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes:
        value: the mean.
        low: lower end.
        high: upper end.
        confidence: of the interval, 0 to 1.
    """

    value: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Comparison:
    """One method against the reference, on the same seeds, rows or tasks.

    Attributes:
        difference: mean of method minus reference, with its interval.
        p: two-sided, of the sign-flip test.
        adjusted: the same after Holm's correction for all comparisons made together.
        pairs: number of seeds or rows, or of the groups that they belong to.
    """

    difference: Interval
    p: float
    adjusted: float
    pairs: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def sign_flip_test(
    left: Sequence[float],
    right: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> float:
    """Two-sided paired permutation test of the mean difference.

    If left and right are exchangeable within each pair, each difference might as well have had the
    other sign. Up to 12 pairs all patterns of signs are tried, and p cannot go below 2 / 2^pairs:
    three seeds can never show p < 0.25.

    Args:
        left: one score per seed or row.
        right: the scores of the other method, in the same order.
        groups: per pair what it belongs to, for instance its task; pairs of one group are not
            independent and change their sign together. None: every pair on its own.
        seed: of the random signs beyond 12 pairs or groups.
        resamples: number of random patterns, 1 or more.

    Returns:
        p in (0, 1].

    Raises:
        PromptPortError: no pairs, different lengths, or values that are not finite.
    """
    differences = _differences(left, right)
    if groups is not None:
        places = _numbered(groups, len(differences))
        differences = np.bincount(places, weights=differences).astype(np.float64)
    count = len(differences)
    bound = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    if count <= _EXACT_PAIRS:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1  # (2^n, n)
        return float(np.mean(np.abs((2 * bits - 1) @ differences) >= bound))
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // count)
    extreme = 0
    for first in range(0, resamples, step):
        size = (min(step, resamples - first), count)
        sums = (2 * rng.integers(0, 2, size) - 1) @ differences
        extreme += int((np.abs(sums) >= bound).sum())
    return (extreme + 1) / (resamples + 1)  # the observed pattern counts as one


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the chance of any false finding stays below the level.

    Args:
        p_values: m of them, in [0, 1].

    Returns:
        Adjusted p in the same order: the k-th smallest times (m - k + 1), never below a smaller
        one's, at most 1.

    Raises:
        PromptPortError: a value outside [0, 1].
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise _bad("p", "values from 0 to 1", repr(p))
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def bootstrap_mean(
    values: Sequence[float],
    *,
    units: Sequence[Sequence[Hashable]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """The mean with its percentile bootstrap interval.

    Args:
        values: one per seed or row.
        units: per value what is drawn in its place, for instance its task, or both tasks of a
            pair: values that share one are not independent. A value counts as often as all its
            units are drawn, multiplied. None: every value is drawn on its own.
        confidence: of the interval, above 0 and below 1.
        seed: of the resampling.
        resamples: 1 or more.

    Raises:
        PromptPortError: no values, or values that are not finite.
    """
    data = _checked("values", values)
    if not 0 < confidence < 1:
        raise _bad("confidence", "a number above 0 and below 1", repr(confidence))
    rng = np.random.default_rng(seed)
    count = len(data)
    step = max(1, _BLOCK // count)
    sizes = [min(step, resamples - first) for first in range(0, resamples, step)]
    if units is None:
        means = np.concatenate([data[rng.integers(0, count, (n, count))].mean(1) for n in sizes])
    else:
        weigh = _Weights(units, count)
        means = np.concatenate([_weighted(data, weigh.draw(rng, n)) for n in sizes])
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(data.mean()), float(low), float(high), confidence)


def bootstrap_share(
    rows: Sequence[float],
    *,
    units: Sequence[Sequence[Hashable]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A share of rows with its percentile bootstrap interval.

    Where all rows agree, all samples are alike: the interval is then Wilson's, of as many rows as
    there are rows or units.

    Args:
        rows: each 0 or 1.
        units: of each row, as in `bootstrap_mean`.
        confidence: of the interval, above 0 and below 1.
        seed: of the resampling.

    Raises:
        PromptPortError: as `bootstrap_mean`.
    """
    interval = bootstrap_mean(rows, units=units, confidence=confidence, seed=seed)
    if interval.value not in (0, 1):
        return interval
    count = len(rows if units is None else {unit for own in units for unit in own})
    low, high = wilson(interval.value, count, confidence)
    return replace(interval, low=low, high=high)


def bootstrap_difference(
    left: Sequence[float],
    right: Sequence[float],
    *,
    units: Sequence[Sequence[Hashable]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of left minus right over pairs, with its interval: pairs are drawn whole, or by
    their units as in `bootstrap_mean`.

    Raises:
        PromptPortError: as `sign_flip_test`.
    """
    differences = _differences(left, right).tolist()
    return bootstrap_mean(differences, units=units, confidence=confidence, seed=seed)


def bootstrap_ratio(
    above: Sequence[Sequence[float]],
    below: Sequence[Sequence[float]],
    *,
    units: Sequence[Sequence[Hashable]],
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """One mean over another, with an interval for both what was tried and the rows it was asked on.

    Args:
        above: (P, R) scores of P cases on the same R rows.
        below: (P, R), what they are measured by; its mean must be above 0.
        units: per case what is drawn in its place, as in `bootstrap_mean`; rows are drawn as well.
        confidence: of the interval, above 0 and below 1.
        seed: of the resampling.
        resamples: 1 or more. Those whose mean below is 0 or less are left out.

    Raises:
        PromptPortError: no cases, shapes that differ, values that are not finite, a mean below
            that is not above 0.
    """
    tops, bottoms = (np.asarray(table, dtype=np.float64) for table in (above, below))
    if tops.ndim != 2 or tops.shape != bottoms.shape or not tops.size:
        raise _bad("ratio", "two tables of cases by rows", f"{tops.shape} and {bottoms.shape}")
    if not np.isfinite(tops).all() or not np.isfinite(bottoms).all() or bottoms.mean() <= 0:
        raise _bad("ratio", "finite scores, of a mean above 0 below", f"{bottoms.mean():.3g}")
    rng = np.random.default_rng(seed)
    weights = _Weights(units, len(tops)).draw(rng, resamples)  # (B, P)
    rows = rng.multinomial(tops.shape[1], [1 / tops.shape[1]] * tops.shape[1], resamples)  # (B, R)
    numerators, denominators = (
        np.einsum("bp,pr,br->b", weights, t, rows, optimize=True) for t in (tops, bottoms)
    )
    ratios = numerators[denominators > 0] / denominators[denominators > 0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(float(tops.mean() / bottoms.mean()), float(low), float(high), confidence)


def compare_to(
    reference: Sequence[float],
    others: Mapping[str, Sequence[float]],
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare several methods with one, and correct for their number.

    Args:
        reference: one score per seed or row.
        others: the scores of each method, in the same order.
        groups: per score what it belongs to, as in `sign_flip_test`; intervals draw groups too.
        seed: of tests and intervals.

    Raises:
        PromptPortError: as `sign_flip_test`.
    """
    tests = {
        name: sign_flip_test(s, reference, groups=groups, seed=seed) for name, s in others.items()
    }
    adjusted = holm(list(tests.values()))
    units = None if groups is None else [(group,) for group in groups]
    pairs = len(reference if groups is None else set(groups))
    return {
        name: Comparison(
            bootstrap_difference(others[name], reference, units=units, seed=seed),
            tests[name],
            corrected,
            pairs,
        )
        for name, corrected in zip(tests, adjusted, strict=True)
    }


def compare_crossed(
    reference: Sequence[Sequence[float]],
    others: Mapping[str, Sequence[Sequence[float]]],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compare several methods with one, where every seed was asked on the same rows.

    Another draw of the seeds gives other scores, and so does another draw of the rows: the variance
    of the mean difference is that over seeds plus that over rows, a little too large, since both
    hold what neither explains. Intervals and p are Student's t, with Satterthwaite's (1946) degrees
    of freedom; p is never below that of `sign_flip_test` over the rows.

    Args:
        reference: (S, R) scores of S >= 2 seeds on R rows.
        others: the scores of each method, (S, R), in the same order.
        confidence: of the intervals, above 0 and below 1.
        seed: of the sign-flip tests.

    Raises:
        PromptPortError: fewer than two seeds, shapes that differ, or values that are not finite.
    """
    base = np.asarray(reference, dtype=np.float64)
    results: dict[str, tuple[Interval, float]] = {}
    for name, scores in others.items():
        table = np.asarray(scores, dtype=np.float64)
        if base.ndim != 2 or len(base) < 2 or table.shape != base.shape:
            expected = "the same rows for each of two seeds or more"
            raise _bad("scores", expected, f"{base.shape} and {table.shape}")
        interval, p = _crossed(table - base, confidence)
        rows = sign_flip_test(table.mean(0).tolist(), base.mean(0).tolist(), seed=seed)
        results[name] = interval, max(p, rows)
    adjusted = holm([p for _, p in results.values()])
    return {
        name: Comparison(interval, p, corrected, base.shape[1])
        for (name, (interval, p)), corrected in zip(results.items(), adjusted, strict=True)
    }


def _crossed(differences: Floats, confidence: float) -> tuple[Interval, float]:
    """Interval and p of the mean of (S, R) differences."""
    from scipy.stats import t as student  # takes a second

    mean = float(differences.mean())
    parts = []  # variance of the mean and its degrees of freedom, over seeds and over rows
    for means in (differences.mean(1), differences.mean(0)):
        if len(means) > 1:
            parts.append((float(means.var(ddof=1)) / len(means), len(means) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(mean, mean, mean, confidence), float(mean == 0)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    error = variance**0.5
    p = 2 * float(student.sf(abs(mean) / error, freedom))
    far = error * float(student.ppf((1 + confidence) / 2, freedom))
    return Interval(mean, mean - far, mean + far, confidence), p


class _Weights:
    """How often values count when their units are drawn with replacement."""

    def __init__(self, units: Sequence[Sequence[Hashable]], count: int) -> None:
        if len(units) != count or not all(units):
            raise _bad("units", f"one or more for each of {count} values", f"{len(units)} lists")
        flat = _numbered([u for own in units for u in own], sum(map(len, units)))
        self.kinds = int(flat.max()) + 1
        # (values, most units of one); values with fewer have one more that is always drawn once.
        self.places = np.full((count, max(map(len, units))), self.kinds)
        ends = np.cumsum([len(own) for own in units])
        for row, own in enumerate(np.split(flat, ends[:-1])):
            self.places[row, : len(own)] = own

    def draw(self, rng: np.random.Generator, times: int) -> Floats:
        """(times, values), no row of which is all 0: such draws are made again."""
        kept = np.zeros((0, len(self.places)))
        while len(kept) < times:
            drawn = rng.multinomial(self.kinds, [1 / self.kinds] * self.kinds, times)
            counts = np.concatenate([drawn, np.ones((times, 1))], axis=1)
            weights = counts[:, self.places].prod(2)
            kept = np.concatenate([kept, weights[weights.sum(1) > 0]])
        return kept[:times]


def _weighted(data: Floats, weights: Floats) -> Floats:
    means: Floats = weights @ data / weights.sum(1)
    return means


def _numbered(names: Sequence[Hashable], count: int) -> NDArray[np.int64]:
    """Every name's number, in the order of their first appearance."""
    if len(names) != count:
        raise _bad("groups", f"one for each of {count} pairs", str(len(names)))
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


def _differences(left: Sequence[float], right: Sequence[float]) -> Floats:
    if len(left) != len(right):
        raise _bad("pairs", "as many scores on both sides", f"{len(left)} and {len(right)}")
    return _checked("left", left) - _checked("right", right)


def _checked(name: str, values: Sequence[float]) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or not len(data) or not np.isfinite(data).all():
        got = "none" if not data.size else f"shape {data.shape}, or values that are not finite"
        raise _bad(name, "one finite number per seed or row, at least one", got)
    return data


def _bad(name: str, expected: str, got: str) -> PromptPortError:
    return PromptPortError(name, expected=expected, got=got, fix=f"Correct {name}")
