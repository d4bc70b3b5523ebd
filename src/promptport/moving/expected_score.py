"""What score a moved prompt can be expected to have, before any label of the target is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from promptport.moving.answer_check import FEWEST_ROWS, AnswerCheck


@dataclass(frozen=True)
class ForecastNumbers:
    """What the scores of measured moves were like.

    Attributes:
        lost: share of the score that a row with another answer than the source's costs in the mean.
        apart: standard deviation of that share.
        spread: standard deviation of what is left, where all answers are equal.
    """

    lost: float
    apart: float
    spread: float


# The benchmark score_forecast fits all three by maximum likelihood, on moves between small models.
# The first and the last are these, rounded. The second is wider than the fit: it was set when 23
# moves were measured, and is kept since the fitted intervals hold less often than they say.
OF_SMALL = ForecastNumbers(0.5, 0.3, 0.06)
# The likeliest numbers of moves between pretrained models (`move.fitted_*` of
# benchmarks/real_transfer), rounded up. The second is wider than the fit, since no move there
# answered much otherwise than its source.
OF_LARGE = ForecastNumbers(0.35, 0.2, 0.02)
_WITHIN = 2.0  # standard deviations of an interval
_USUAL_DEV_ROWS = 64  # of a prompt that does not say how many it was scored on
METRICS = ("accuracy", "p@1")  # shares of rows, which equal answers bound


@dataclass(frozen=True)
class ExpectedScore:
    """A forecast of the score on the target.

    Attributes:
        value: the middle, 0 to 1.
        low: 95% of the scores lie above it.
        high: and below this; 95% within both.
        source: the source's own score on dev rows.
    """

    value: float
    low: float
    high: float
    source: float

    @property
    def line(self) -> str:
        """The forecast in words."""
        return (
            f"expected score: {self.value:.2f} ({self.low:.2f} to {self.high:.2f}); "
            f"the source scored {self.source:.3f} on dev rows when it was tuned"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dict(vars(self))


def expect_score(
    source: float | None,
    check: AnswerCheck | None,
    *,
    metric: str,
    dev_rows: int | None = None,
    numbers: ForecastNumbers = OF_SMALL,
) -> ExpectedScore | None:
    """The score that a moved prompt can be expected to have; no label of the target is read.

    Where two prompts answer alike, they are right alike. Of the rows on which they differ a third
    to a half is lost, or nothing if the target is the better model, or all: hence the interval,
    which also holds what a score on few dev rows does not tell.

    Args:
        source: the source's score on dev rows, 0 to 1; None if it is not known.
        check: how far the prompt answers like its source, on texts of the task that it has not
            learned from.
        metric: of the task.
        dev_rows: rows behind `source`; None if that is not known.
        numbers: of moves to models of that size.

    Returns:
        None where nothing can be said: without such a check or score, on random words, on fewer
        than 10 rows, or for another metric than a share of right answers.
    """
    if source is None or check is None or metric not in METRICS:
        return None
    if check.texts != "task" or check.rows < FEWEST_ROWS:
        return None
    return forecast(source, check.same, dev_rows or _USUAL_DEV_ROWS, numbers)


def forecast(
    source: float, same: float, dev_rows: int, numbers: ForecastNumbers = OF_SMALL
) -> ExpectedScore:
    """The forecast of `expect_score` from its figures.

    Args:
        source: the source's score on dev rows, 0 to 1.
        same: share of equal first answers, 0 to 1.
        dev_rows: rows behind `source`, 1 or more.
        numbers: of moves to models of that size.
    """
    value = source * (1 - numbers.lost * (1 - same))
    width = _WITHIN * deviation(source, same, dev_rows, numbers)
    return ExpectedScore(value, max(0.0, value - width), min(1.0, value + width), source)


def deviation(source: float, same: float, dev_rows: int, numbers: ForecastNumbers) -> float:
    """Standard deviation of a forecast; arguments as in `forecast`."""
    sampled = source * (1 - source) / dev_rows
    return math.sqrt(numbers.spread**2 + sampled + (numbers.apart * source * (1 - same)) ** 2)
