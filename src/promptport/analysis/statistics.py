"""Paired comparisons over seeds or rows: an exact test, Holm's correction, bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    """One method against the reference, on the same seeds or rows.

    Attributes:
        difference: mean of method minus reference, with its interval.
        p: two-sided, of the sign-flip test.
        adjusted: the same after Holm's correction for all comparisons made together.
        pairs: number of seeds or rows.
    """

    difference: Interval
    p: float
    adjusted: float
    pairs: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def sign_flip_test(
    left: Sequence[float], right: Sequence[float], *, seed: int = 0, resamples: int = 10_000
) -> float:
    """Two-sided paired permutation test of the mean difference.

    If left and right are exchangeable within each pair, each difference might as well have had the
    other sign. Up to 12 pairs all patterns of signs are tried, and p cannot go below 2 / 2^pairs:
    three seeds can never show p < 0.25.

    Args:
        left: one score per seed or row.
        right: the scores of the other method, in the same order.
        seed: of the random signs beyond 12 pairs.
        resamples: number of random patterns, 1 or more.

    Returns:
        p in (0, 1].

    Raises:
        PromptPortError: no pairs, different lengths, or values that are not finite.
    """
    differences = _differences(left, right)
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
    values: Sequence[float], *, confidence: float = 0.95, seed: int = 0, resamples: int = 2000
) -> Interval:
    """The mean with its percentile bootstrap interval.

    Args:
        values: one per seed or row.
        confidence: of the interval, above 0 and below 1.
        seed: of the resampling.
        resamples: 1 or more.

    Raises:
        PromptPortError: no values, or values that are not finite.
    """
    data = _checked("values", values)
    return _resampled(data, np.ones(len(data)), confidence, seed, resamples)


def bootstrap_share(
    groups: Sequence[Sequence[float]], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """A share of rows with its percentile bootstrap interval; groups of rows are drawn whole.

    Where all rows agree, all samples are alike: the interval is then Wilson's of as many rows as
    there are groups.

    Args:
        groups: rows that belong together, each 0 or 1; groups of one row if none do.
        confidence: of the interval, above 0 and below 1.
        seed: of the resampling.

    Raises:
        PromptPortError: no groups, a group without rows, or values that are not finite.
    """
    sizes = [float(len(group)) or math.nan for group in groups]
    found = _resampled(
        _checked("groups", [sum(group) for group in groups]),
        _checked("groups", sizes),
        confidence,
        seed,
    )
    if found.value not in (0, 1):
        return found
    low, high = wilson(found.value, len(groups), confidence)
    return replace(found, low=low, high=high)


def _resampled(
    sums: Floats, sizes: Floats, confidence: float, seed: int, resamples: int = 2000
) -> Interval:
    """Mean over all rows of m groups, given each group's sum and size (m,)."""
    if not 0 < confidence < 1:
        raise _bad("confidence", "a number above 0 and below 1", repr(confidence))
    rng = np.random.default_rng(seed)
    count = len(sums)
    step = max(1, _BLOCK // count)
    means = []
    for first in range(0, resamples, step):
        drawn = rng.integers(0, count, (min(step, resamples - first), count))
        means.append(sums[drawn].sum(1) / sizes[drawn].sum(1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high), confidence)


def bootstrap_difference(
    left: Sequence[float], right: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of left minus right over pairs, with its interval: pairs are drawn whole.

    Raises:
        PromptPortError: as `sign_flip_test`.
    """
    return bootstrap_mean(_differences(left, right).tolist(), confidence=confidence, seed=seed)


def compare_to(
    reference: Sequence[float], others: Mapping[str, Sequence[float]], *, seed: int = 0
) -> dict[str, Comparison]:
    """Compare several methods with one, and correct for their number.

    Args:
        reference: one score per seed or row.
        others: the scores of each method, in the same order.
        seed: of tests and intervals.

    Raises:
        PromptPortError: as `sign_flip_test`.
    """
    tests = {name: sign_flip_test(s, reference, seed=seed) for name, s in others.items()}
    adjusted = holm(list(tests.values()))
    return {
        name: Comparison(
            bootstrap_difference(others[name], reference, seed=seed),
            tests[name],
            corrected,
            len(reference),
        )
        for name, corrected in zip(tests, adjusted, strict=True)
    }


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
