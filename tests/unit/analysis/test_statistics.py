"""Paired tests, Holm's correction and bootstrap intervals, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from promptport.analysis import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_share,
    compare_crossed,
    compare_to,
    holm,
    sign_flip_test,
)
from promptport.errors import PromptPortError


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),  # only +++ and --- reach 6
        ([1, 2, -3], 1.0),  # sum 0: every pattern reaches it
        ([1, 1, 1, -1], 10 / 16),  # sum 2: all but the six patterns with two of each sign
        ([0.1, 0.2, 0.3, 0.4, 0.5, -0.05], 4 / 64),  # the smallest one may have either sign
        ([0, 0, 5], 1.0),  # |sum| is always 5
        ([0, 0, 0], 1.0),
        ([7], 1.0),
    ],
)
def test_sign_flip_by_hand(differences, p) -> None:
    assert sign_flip_test(differences, [0] * len(differences)) == p
    assert sign_flip_test([0] * len(differences), differences) == p


def test_sign_flip_agrees_with_scipy_exact_and_sampled() -> None:
    rng = np.random.default_rng(1)
    for count, tolerance in ((12, 1e-12), (14, 0.02)):
        left, right = rng.normal(0.4, 1, count), rng.normal(0, 1, count)
        wanted = stats.permutation_test(
            (left - right,), np.mean, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert sign_flip_test(left, right) == pytest.approx(wanted, abs=tolerance)


def test_sampled_p_is_seeded_and_never_zero() -> None:
    left, right = [1.0] * 30, [0.0] * 30
    assert sign_flip_test(left, right, resamples=999) == 1 / 1000
    noisy = np.random.default_rng(0).normal(0.2, 1, 30).tolist()
    assert sign_flip_test(noisy, right, seed=3) == sign_flip_test(noisy, right, seed=3)
    assert sign_flip_test(noisy, right, seed=3) != sign_flip_test(noisy, right, seed=4)


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and .04 may not fall below .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    with pytest.raises(PromptPortError, match="values from 0 to 1, got 1.5"):
        holm([1.5])


def test_bootstrap_interval() -> None:
    assert vars(bootstrap_mean([2.0, 2.0, 2.0])) == {
        "value": 2.0,
        "low": 2.0,
        "high": 2.0,
        "confidence": 0.95,
    }
    # 400 rows, half right: the normal interval is .5 +- 1.96 * .5 / 20 = .451 to .549.
    found = bootstrap_mean([0.0, 1.0] * 200)
    assert found.value == 0.5
    assert (found.low, found.high) == (
        pytest.approx(0.451, abs=0.006),
        pytest.approx(0.549, abs=0.006),
    )
    wide, narrow = (
        bootstrap_mean([0, 1, 2], confidence=0.99),
        bootstrap_mean([0, 1, 2], confidence=0.5),
    )
    assert wide.low <= narrow.low <= 1 <= narrow.high <= wide.high


def test_interval_of_a_share() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0] * 10
    assert bootstrap_share(values) == bootstrap_mean(values)
    units = [(i // 2,) for i in range(50)]
    assert bootstrap_share(values, units=units) == bootstrap_mean(values, units=units)
    # Wilson, 16 of 16 by hand: 1 / (1 + 1.96^2 / 16).
    assert vars(bootstrap_share([1.0] * 16)) == {
        "value": 1.0,
        "low": pytest.approx(1 / (1 + 1.95996**2 / 16)),
        "high": 1.0,
        "confidence": 0.95,
    }
    # Rows that always agree with their neighbours say half as much.
    halves = bootstrap_share([0.0] * 32, units=[(i // 2,) for i in range(32)])
    assert halves.high == pytest.approx(0.1936, abs=1e-4)
    with pytest.raises(PromptPortError, match="values: expected one finite number"):
        bootstrap_share([])


def test_paired_interval_ignores_what_pairs_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 50)
    found = bootstrap_difference(hard + 1, hard)
    assert (found.low, found.value, found.high) == pytest.approx((1, 1, 1))


def test_compare_to_corrects_for_the_number_of_methods() -> None:
    reference = [0.0] * 6
    found = compare_to(reference, {"same": [0, 0, 0, 0, 0, 0], "better": [1, 2, 1, 2, 1, 2]})
    assert list(found) == ["same", "better"]
    better = found["better"]
    assert (better.p, better.adjusted, better.pairs) == (2 / 64, 4 / 64, 6)
    assert better.difference.value == 1.5
    assert 1 <= better.difference.low < 1.5 < better.difference.high <= 2
    assert found["same"].adjusted == 1
    assert better.to_dict()["difference"]["value"] == 1.5


def test_seeds_and_rows_are_both_drawn() -> None:
    base = np.zeros((3, 40))
    rows = np.array([[0.2], [0.3], [0.7]]) + np.random.default_rng(0).normal(0, 1, (1, 40))
    found = compare_crossed(base, {"same": base, "better": rows})
    better, same = found["better"], found["same"]
    over = (0.2 - 0.4) ** 2 + 0.1**2 + 0.3**2  # of the seeds
    parts = over / 2 / 3, rows[0].var(ddof=1) / 40
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 39)
    expected = stats.t(freedom, rows.mean(), sum(parts) ** 0.5)
    assert better.p == pytest.approx(2 * expected.cdf(0), abs=1e-6)
    assert better.difference.value == pytest.approx(rows.mean())
    ends = (better.difference.low, better.difference.high)
    assert ends == pytest.approx(expected.interval(0.95), abs=1e-5)
    assert (better.adjusted, better.pairs) == (2 * better.p, 40)
    assert (same.p, same.difference.low, same.difference.high) == (1, 0, 0)
    # Where all differ alike, few rows still say little.
    assert compare_crossed(np.zeros((2, 3)), {"x": np.ones((2, 3))})["x"].p == 0.25


@pytest.mark.parametrize("shape", [(1, 4), (2, 5), (3, 4)])
def test_seeds_must_share_their_rows(shape) -> None:
    base = np.zeros(shape if shape[0] == 1 else (2, 4))
    with pytest.raises(PromptPortError, match="the same rows for each of two seeds or more"):
        compare_crossed(base, {"x": np.zeros(shape)})


def test_what_belongs_together_is_drawn_together() -> None:
    # Ten copies of the same three numbers tell no more than three.
    values, tasks = [0.0, 1.0, 2.0] * 10, ["a", "b", "c"] * 10
    alone = bootstrap_mean([0.0, 1.0, 2.0], resamples=20_000)
    together = bootstrap_mean(values, units=[(task,) for task in tasks], resamples=20_000)
    assert (together.value, together.low, together.high) == pytest.approx(
        (alone.value, alone.low, alone.high), abs=0.05
    )
    apart = bootstrap_mean(values)
    assert apart.high - apart.low < 0.5 * (together.high - together.low)
    assert sign_flip_test(values, [-1] * 30, groups=tasks) == 2 / 8
    assert sign_flip_test(values, [-1] * 30) < 0.001
    found = compare_to([0.0] * 30, {"x": values}, groups=tasks)["x"]
    assert (found.p, found.pairs) == (sign_flip_test(values, [0] * 30, groups=tasks), 3)
    assert found.difference.low == pytest.approx(alone.low, abs=0.05)


def test_pairs_are_drawn_by_both_of_their_tasks() -> None:
    # Three tasks, draws (n_a, n_b, n_c) of a multinomial of 3 in 3; each pair counts as the product
    # of its two, and a draw of one task alone (3, 0, 0) has no pair and is made again. Left are
    # (1,1,1) with 6/24 and the six like (2,1,0), where one pair alone is left, with 3/24 each.
    pairs, values = [("a", "b"), ("a", "c"), ("b", "c")], [0.0, 0.0, 3.0]
    for confidence, low, high in ((0.95, 0.0, 3.0), (0.2, 0.0, 1.0)):
        found = bootstrap_mean(values, units=pairs, confidence=confidence, resamples=20_000)
        # 0 with 12/24, 1 with 6/24, 3 with 6/24.
        assert (found.value, found.low, found.high) == pytest.approx((1.0, low, high))
    # A value with fewer units than others counts as often as these few.
    found = bootstrap_mean([0.0, 1.0], units=[("a", "b"), ("a",)])
    assert found.low == 0.5
    assert found.high == 1.0  # b is not drawn


def test_a_ratio_over_cases_and_rows() -> None:
    # All cases alike: the rows are left, of which half are right above and all below.
    rows = [[1.0, 0.0] * 50] * 3
    found = bootstrap_ratio(rows, [[1.0] * 100] * 3, units=[("a",), ("b",), ("c",)])
    assert found.value == 0.5
    assert (found.low, found.high) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))
    # All rows alike: the cases are left, half of which are right.
    cases = [[float(i % 2)] * 9 for i in range(100)]
    found = bootstrap_ratio(cases, [[1.0] * 9] * 100, units=[(i,) for i in range(100)])
    assert (found.low, found.high) == (pytest.approx(0.4, abs=0.02), pytest.approx(0.6, abs=0.02))
    # A mean over a mean, no mean of ratios; and rows that are hard for both cancel.
    assert bootstrap_ratio([[1.0], [1.0]], [[1.0], [3.0]], units=[(0,), (1,)]).value == 0.5
    hard = [[1.0, 0.0, 1.0, 0.0]]
    found = bootstrap_ratio(hard, hard, units=[("a",)])
    assert (found.low, found.high) == (1.0, 1.0)
    for above, below in (([], []), ([[1.0]], [[1.0, 2.0]]), ([[1.0]], [[0.0]])):
        with pytest.raises(PromptPortError, match="ratio: expected"):
            bootstrap_ratio(above, below, units=[("a",)])


def test_bad_units() -> None:
    with pytest.raises(PromptPortError, match="one or more for each of 2 values, got 1 lists"):
        bootstrap_mean([1, 2], units=[("a",)])
    with pytest.raises(PromptPortError, match="one or more for each of 1 values"):
        bootstrap_mean([1], units=[()])
    with pytest.raises(PromptPortError, match="one for each of 2 pairs, got 1"):
        sign_flip_test([1, 2], [0, 0], groups=["a"])


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ([1, 2], [1], "as many scores on both sides, got 2 and 1"),
        ([], [], "at least one, got none"),
        ([1, float("nan")], [1, 2], "left: expected one finite number"),
        ([1, 2], [float("inf"), 2], "right: expected one finite number"),
    ],
)
def test_bad_scores(left, right, message) -> None:
    with pytest.raises(PromptPortError, match=message):
        sign_flip_test(left, right)
    with pytest.raises(PromptPortError, match=message):
        bootstrap_difference(left, right)


def test_bad_confidence() -> None:
    with pytest.raises(PromptPortError, match="above 0 and below 1"):
        bootstrap_mean([1.0], confidence=1)
