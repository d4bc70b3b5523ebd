"""Metrics against hand-made cases, scikit-learn and SciPy."""

from __future__ import annotations

import time

import numpy as np
import pytest

from promptport.errors import TaskError
from promptport.tasks import bootstrap_score, majority_score, normalise
from promptport.tasks.metrics import check_metric, wilson


def noisy_labels(rows, classes, seed=0):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, classes, rows)
    wrong = rng.random(rows) < 0.4
    return gold, np.where(wrong, rng.integers(0, classes, rows), gold)


def test_p_at_k_from_ranks():
    ranks = [0, 0, 1, 4, 9]
    assert bootstrap_score("p@1", range(5), ranks).value == pytest.approx(0.4)
    assert bootstrap_score("p@5", range(5), ranks).value == pytest.approx(0.8)
    assert bootstrap_score("p@10", range(5), ranks).value == 1.0


def test_accuracy_and_its_interval():
    score = bootstrap_score("accuracy", ["a"] * 400, ["a"] * 100 + ["b"] * 300)
    deviation = (0.25 * 0.75 / 400) ** 0.5
    assert score.value == 0.25
    assert score.low == pytest.approx(0.25 - 1.96 * deviation, abs=0.006)
    assert score.high == pytest.approx(0.25 + 1.96 * deviation, abs=0.006)
    assert score.to_dict() == {
        "metric": "accuracy",
        "value": 0.25,
        "low": score.low,
        "high": score.high,
        "rows": 400,
        "confidence": 0.95,
    }


def test_exact_match_is_normalised():
    assert normalise("  New\tYORK ") == "new york"
    score = bootstrap_score("exact-match", ["New York", "a", "b"], [" new  york", "A", "c"])
    assert score.value == pytest.approx(2 / 3)


def test_macro_f1_by_hand():
    # a: 1 right of 2 gold and 1 guessed: 2/3; b: 1 right of 1 gold and 2 guessed: 2/3
    assert bootstrap_score("macro-f1", list("aab"), list("abb")).value == pytest.approx(2 / 3)


@pytest.mark.long
@pytest.mark.parametrize("classes", [2, 5])
def test_tables_agree_with_sklearn(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    gold, predicted = noisy_labels(300, classes)
    f1 = bootstrap_score("macro-f1", gold.tolist(), predicted.tolist())
    assert f1.value == pytest.approx(metrics.f1_score(gold, predicted, average="macro"))
    matthews = bootstrap_score("matthews", gold.tolist(), predicted.tolist())
    assert matthews.value == pytest.approx(metrics.matthews_corrcoef(gold, predicted))


@pytest.mark.slow
def test_resampled_tables_agree_with_resampled_rows():
    metrics = pytest.importorskip("sklearn.metrics")
    gold, predicted = noisy_labels(200, 3)
    rng = np.random.default_rng(1)
    draws = [rng.integers(0, 200, 200) for _ in range(400)]
    samples = [metrics.matthews_corrcoef(gold[i], predicted[i]) for i in draws]
    score = bootstrap_score("matthews", gold.tolist(), predicted.tolist())
    assert score.low == pytest.approx(np.quantile(samples, 0.025), abs=0.025)
    assert score.high == pytest.approx(np.quantile(samples, 0.975), abs=0.025)


def test_f1_counts_a_class_that_is_only_predicted():
    metrics = pytest.importorskip("sklearn.metrics")
    gold, predicted = [0, 0, 1, 1], [0, 2, 1, 1]
    expected = metrics.f1_score(gold, predicted, average="macro", zero_division=0)
    assert bootstrap_score("macro-f1", gold, predicted).value == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlations_agree_with_scipy(metric):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, 250).astype(float)  # many ties
    predicted = 1000 + np.round(gold + rng.normal(size=250), 1)
    score = bootstrap_score(metric, gold, predicted)
    scipy_metric = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[metric]
    assert score.value == pytest.approx(scipy_metric(gold, predicted).statistic)
    draws = [rng.integers(0, 250, 250) for _ in range(300)]
    samples = [scipy_metric(gold[i], predicted[i]).statistic for i in draws]
    assert score.low == pytest.approx(np.quantile(samples, 0.025), abs=0.025)
    assert score.high == pytest.approx(np.quantile(samples, 0.975), abs=0.025)


def test_numbers_may_be_text():
    assert bootstrap_score("pearson", ["0.0", "1.5", "5"], [0, 1.5, 5]).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("metric", "gold", "predicted"),
    [
        ("matthews", list("aab"), list("aaa")),
        ("matthews", list("aaa"), list("aba")),
        ("pearson", [1, 2, 3], [0.1, 0.1, 0.1]),
        ("pearson", [2, 2], [1, 3]),
        ("spearman", [1, 2, 3], [7, 7, 7]),
        ("pearson", [1], [1]),
    ],
)
def test_undefined_correlations_are_zero(metric, gold, predicted):
    score = bootstrap_score(metric, gold, predicted)
    assert (score.value, score.low, score.high) == (0, 0, 0)


@pytest.mark.parametrize("metric", ["accuracy", "exact-match", "p@1"])
def test_a_share_of_all_rows_or_none_is_not_certain(metric):
    right, wrong = (0, 1) if metric == "p@1" else ("a", "b")
    gold = ["a"] * 16
    best, worst = (bootstrap_score(metric, gold, [said] * 16) for said in (right, wrong))
    # Wilson by hand: 1 / (1 + 1.96^2 / 16)
    assert (best.value, best.high) == (1, 1)
    assert best.low == pytest.approx(0.8064, abs=1e-4)
    assert (worst.value, worst.low) == (0, 0)
    assert worst.high == pytest.approx(1 - best.low)


def test_wilson_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for right, rows in ((0, 5), (3, 7), (40, 40), (50, 200)):
        wanted = stats.binomtest(right, rows).proportion_ci(0.9, method="wilson")
        assert wilson(right / rows, rows, 0.9) == pytest.approx((wanted.low, wanted.high))


def test_one_class_all_right():
    score = bootstrap_score("macro-f1", ["a"] * 3, ["a"] * 3)
    assert (score.value, score.low, score.high) == (1, 1, 1)


@pytest.mark.long
@pytest.mark.parametrize("metric", ["accuracy", "macro-f1", "matthews", "pearson", "spearman"])
def test_seeded_and_quick(metric):
    gold, predicted = noisy_labels(10_000, 14)
    start = time.perf_counter()
    score = bootstrap_score(metric, gold.tolist(), predicted.tolist())
    assert time.perf_counter() - start < 5  # well under 1 s on a free core
    assert score == bootstrap_score(metric, gold.tolist(), predicted.tolist())
    assert score.low < score.value < score.high
    other = bootstrap_score(metric, gold.tolist(), predicted.tolist(), seed=1)
    assert (other.low, other.high) != (score.low, score.high)


def test_majority():
    train, test = list("aabbbc"), list("abcd")
    assert majority_score("accuracy", train, test).value == 0.25
    assert majority_score("p@1", train, test).value == 0.25
    assert majority_score("p@2", train, test).value == 0.5
    assert majority_score("p@10", train, test).value == 0.75
    assert majority_score("matthews", train, test).value == 0
    assert majority_score("pearson", ["1.0", "1.0", "2.0"], ["3", "4"]).value == 0


def test_bad_calls():
    with pytest.raises(TaskError, match="at least one row, got 0 rows"):
        bootstrap_score("accuracy", [], [])
    with pytest.raises(TaskError, match="got 2 rows, 1 predictions"):
        bootstrap_score("accuracy", ["a", "b"], ["a"])
    with pytest.raises(TaskError, match="got 'meteor'"):
        bootstrap_score("meteor", ["a"], ["a"])
    with pytest.raises(TaskError, match="got 'p@K'"):
        bootstrap_score("p@K", [0], [0])
    with pytest.raises(TaskError, match="expected finite numbers"):
        bootstrap_score("pearson", ["a"], [1.0])
    with pytest.raises(TaskError, match="expected finite numbers"):
        bootstrap_score("spearman", [1.0, 2.0], [float("nan"), 1.0])
    with pytest.raises(TaskError, match="training rows"):
        majority_score("accuracy", [], ["a"])


def test_metrics_suit_the_kind():
    check_metric("p@7", "probe")
    check_metric("macro-f1", "classification")
    for metric, kind in [
        ("accuracy", "probe"),
        ("p@1", "classification"),
        ("p@0", "probe"),
        ("p@K", "probe"),
        ("matthews", "text2text"),
    ]:
        with pytest.raises(TaskError, match="expected one of"):
            check_metric(metric, kind)
