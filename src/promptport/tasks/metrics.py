"""Metrics with percentile bootstrap intervals. Everything is computed from one value per row.

Ranks, Pearson and Wilson's interval agree with `scipy.stats` (see the tests), which is not used:
`rankdata` takes ten times as long per sample, `pearsonr` warns of constant values, and the last
digits of `proportion_ci` differ.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from promptport.errors import TaskError
from promptport.tasks.text_metrics import TEXT_METRICS, text_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

METRICS: Mapping[str, tuple[str, ...]] = {
    "probe": ("p@1", "p@K"),
    "classification": ("accuracy", "macro-f1", "matthews", "pearson", "spearman"),
    "text2text": ("exact-match", *TEXT_METRICS),
}
CONFIDENCE = 0.95
_AT_K = re.compile(r"p@([1-9][0-9]{0,5})")
_TINY = 1e-12  # variances below this share of the mean square are rounding errors of a constant


@dataclass(frozen=True)
class Score:
    """A metric over the rows of a split.

    Attributes:
        metric: its name.
        value: over all rows; 0 to 1, for matthews, pearson and spearman -1 to 1.
        low: lower end of the interval.
        high: upper end.
        rows: number of rows.
        confidence: of the interval, 0 to 1.
    """

    metric: str
    value: float
    low: float
    high: float
    rows: int
    confidence: float = CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def check_metric(metric: str, kind: str, where: str = "metric") -> None:
    """Refuse a metric that does not exist or does not suit the kind of task.

    Raises:
        TaskError: with the metrics that do.
    """
    known = METRICS[kind]
    if metric in known and metric != "p@K":
        return
    if "p@K" in known and _AT_K.fullmatch(metric):
        return
    raise TaskError(
        where,
        expected=f"one of {', '.join(known)} for the kind {kind!r}",
        got=repr(metric),
        fix="Choose one of them (K is a number, for instance p@5)",
    )


def normalise(text: str) -> str:
    """Text as exact match compares it: case folded, white space collapsed and stripped."""
    return " ".join(text.casefold().split())


def bootstrap_score(
    metric: str,
    gold: Sequence[Any],
    predicted: Sequence[Any],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> Score:
    """A metric with its 95% percentile bootstrap interval over rows.

    A share of rows (accuracy, `p@K`, exact match) of 0 or 1 has Wilson's interval, because all
    samples of it are alike.

    Args:
        metric: a name in `METRICS`.
        gold: right answer per row: label names, texts, or numbers for pearson and spearman
            (numbers as text will do). For `p@K` only their number matters.
        predicted: the same kind of values; for `p@K` the rank of the right answer, 0 = best.
        seed: of the resampling.
        resamples: 1 or more.

    Returns:
        The score. A correlation with or without one class or with constant values is 0, not NaN.

    Raises:
        TaskError: no rows, different lengths, an unknown metric, values that are no numbers.
    """
    import numpy as np

    if not len(gold) or len(gold) != len(predicted) or resamples < 1:
        raise TaskError(
            f"metric {metric!r}",
            expected="one prediction per row, at least one row",
            got=f"{len(gold)} rows, {len(predicted)} predictions, {resamples} resamples",
            fix="Give as many predictions as rows",
        )
    rng = np.random.default_rng(seed)
    value, samples = _method(metric)(metric, gold, predicted, (rng, resamples))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    if _method(metric) is _hits and value in (0, 1):
        low, high = wilson(value, len(gold))
    return Score(metric, float(value), float(low), float(high), len(gold))


def hits(metric: str, gold: Sequence[Any], predicted: Sequence[Any]) -> tuple[bool, ...] | None:
    """Per row whether it is right, where the metric is the share of these rows; else None.

    Args:
        metric: a name in `METRICS`.
        gold: as in `bootstrap_score`.
        predicted: likewise.
    """
    if match := _AT_K.fullmatch(metric):
        return tuple(int(rank) < int(match[1]) for rank in predicted)
    pairs = zip(gold, predicted, strict=True)
    if metric == "exact-match":
        return tuple(normalise(str(g)) == normalise(str(p)) for g, p in pairs)
    return tuple(g == p for g, p in pairs) if metric == "accuracy" else None


def wilson(share: float, rows: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of rows.

    Unlike the bootstrap it has a width where all rows agree: 16 of 16 say 0.81 to 1.

    Args:
        share: 0 to 1.
        rows: 1 or more.
        confidence: of the interval, above 0 and below 1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * rows)
    half = z * math.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    low, high = ((centre + side * half) / (1 + z * z / rows) for side in (-1, 1))
    return min(max(0.0, low), share), max(min(1.0, high), share)


def majority_score(
    metric: str, train: Sequence[str], test: Sequence[str], *, seed: int = 0
) -> Score:
    """Score of answering every row with the most frequent training answers.

    Args:
        metric: a name in `METRICS`.
        train: answers of the training rows.
        test: answers of the rows to score.
        seed: of the resampling.

    Returns:
        The score; for `p@K` the K most frequent answers count.

    Raises:
        TaskError: no rows, or an unknown metric.
    """
    if not train:
        raise TaskError(
            "training rows", expected="at least one row", got="none", fix="Give training rows"
        )
    order = [answer for answer, _ in Counter(train).most_common()]
    if _AT_K.fullmatch(metric):
        places = {answer: place for place, answer in enumerate(order)}
        unseen = 10**9
        return bootstrap_score(metric, test, [places.get(a, unseen) for a in test], seed=seed)
    return bootstrap_score(metric, test, [order[0]] * len(test), seed=seed)


_Draw = tuple[Any, int]  # generator, number of resamples
_Method = Callable[[str, Sequence[Any], Sequence[Any], _Draw], "tuple[float, Floats]"]


def _method(metric: str) -> _Method:
    name = "p@K" if _AT_K.fullmatch(metric) else metric
    if name in _METHODS and metric != "p@K":
        return _METHODS[name]
    raise TaskError(
        "metric",
        expected=f"one of {', '.join(_METHODS)}",
        got=repr(metric),
        fix="Choose one of them (K is a number, for instance p@5)",
    )


def _hits(
    metric: str, gold: Sequence[Any], predicted: Sequence[Any], draw: _Draw
) -> tuple[float, Floats]:
    """Share of rows that are right: accuracy, p@K, exact match."""
    import numpy as np

    right = np.asarray(hits(metric, gold, predicted))
    rng, resamples = draw
    # the sum of rows drawn with replacement from zeros and ones is binomial: exact and quick
    samples = rng.binomial(len(right), right.mean(), size=resamples) / len(right)
    return float(right.mean()), samples


def _tables(
    metric: str, gold: Sequence[Any], predicted: Sequence[Any], draw: _Draw
) -> tuple[float, Floats]:
    """Metrics of the confusion matrix; resampled rows give multinomial matrices."""
    import numpy as np

    names = {name: code for code, name in enumerate(dict.fromkeys([*gold, *predicted]))}
    codes = np.array([[names[g], names[p]] for g, p in zip(gold, predicted, strict=True)])
    cells, counts = np.unique(codes, axis=0, return_counts=True)  # (m, 2), (m,): cells in use
    rng, resamples = draw
    drawn = rng.multinomial(len(gold), counts / len(gold), size=resamples)
    tables = np.vstack([counts[None], drawn]).astype(np.float64)  # (resamples + 1, m)
    values = _TABLE_METRICS[metric](tables, cells, len(names))
    return float(values[0]), values[1:]


def _margins(tables: Floats, cells: Ints, classes: int) -> tuple[Floats, Floats, Floats]:
    """Rows that are right, truly and supposedly of each class: three of (tables, classes)."""
    import numpy as np

    truth = np.eye(classes)[cells[:, 0]]  # (m, classes)
    guess = np.eye(classes)[cells[:, 1]]
    return tables @ (truth * guess), tables @ truth, tables @ guess


def _macro_f1(tables: Floats, cells: Ints, classes: int) -> Floats:
    """Mean F1 over the classes that occur among answers or predictions, as scikit-learn does."""
    import numpy as np

    right, truth, guess = _margins(tables, cells, classes)
    total = truth + guess
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(f1.sum(1) / (total > 0).sum(1))


def _matthews(tables: Floats, cells: Ints, classes: int) -> Floats:
    """Matthews correlation for any number of classes; 0 where one side has a single class."""
    import numpy as np

    right, truth, guess = _margins(tables, cells, classes)
    n = tables.sum(1)
    covariance = right.sum(1) * n - (truth * guess).sum(1)
    spread = (n**2 - (truth**2).sum(1)) * (n**2 - (guess**2).sum(1))
    ratio = np.divide(covariance, np.sqrt(spread), out=np.zeros_like(n), where=spread > 0)
    return np.asarray(ratio)


def _correlations(
    metric: str, gold: Sequence[Any], predicted: Sequence[Any], draw: _Draw
) -> tuple[float, Floats]:
    """Pearson, or Spearman with ranks made anew in every resample."""
    import numpy as np

    x, y = _numbers(gold, metric), _numbers(predicted, metric)
    if metric == "spearman":
        codes = [np.unique(v, return_inverse=True)[1] for v in (x, y)]

        def measure(index: Ints) -> float:
            return _pearson(_ranks(codes[0][index]), _ranks(codes[1][index]))
    else:
        x, y = x - x.mean(), y - y.mean()

        def measure(index: Ints) -> float:
            return _pearson(x[index], y[index])

    rng, resamples = draw
    n = len(x)
    samples = [measure(rng.integers(0, n, n)) for _ in range(resamples)]
    return measure(np.arange(n)), np.array(samples)


def _numbers(values: Sequence[Any], metric: str) -> Floats:
    import numpy as np

    try:
        numbers = np.asarray([float(value) for value in values])
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise TaskError(
            f"metric {metric!r}",
            expected="finite numbers",
            got="other values",
            fix="Give numbers, or choose another metric",
        )
    return numbers


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's correlation of two lists of finite numbers; 0 where one of them is constant."""
    import numpy as np

    ranks = [_ranks(np.unique(np.asarray(v), return_inverse=True)[1]) for v in (x, y)]
    return _pearson(*ranks)


def _ranks(codes: Ints) -> Floats:
    """Mean rank of each value among its equals; codes are 0, 1, 2 ... in the order of values."""
    import numpy as np

    counts = np.bincount(codes)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[codes])


def _pearson(x: Floats, y: Floats) -> float:
    mean_x, mean_y = x.mean(), y.mean()
    var_x = float((x * x).mean() - mean_x**2)
    var_y = float((y * y).mean() - mean_y**2)
    if var_x <= _TINY * (mean_x**2 + var_x) or var_y <= _TINY * (mean_y**2 + var_y):
        return 0.0
    covariance = float((x * y).mean() - mean_x * mean_y)
    return max(-1.0, min(1.0, covariance / math.sqrt(var_x * var_y)))


_TABLE_METRICS: Mapping[str, Callable[[Any, Any, int], Any]] = {
    "macro-f1": _macro_f1,
    "matthews": _matthews,
}
_METHODS: Mapping[str, _Method] = {
    "p@K": _hits,
    "accuracy": _hits,
    "exact-match": _hits,
    "macro-f1": _tables,
    "matthews": _tables,
    "pearson": _correlations,
    "spearman": _correlations,
    **dict.fromkeys(TEXT_METRICS, text_scores),
}
