"""Many tasks in one number, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from promptport.analysis import bootstrap_mean, micro_average
from promptport.errors import PromptPortError
from promptport.evaluation import Evaluation
from promptport.tasks import Score
from promptport.tasks.metrics import wilson


def evaluation(right, metric="p@1", skipped=0):
    score = Score(metric, 0.5, 0.4, 0.6, len(right or [1]))
    return Evaluation(score, 1.0, skipped, "{subject} {answer}", (), right)


def test_rows_count_not_tasks():
    scored = {
        "lama:P36": evaluation((True,) * 8 + (False,) * 2, skipped=3),
        "lama:P19": evaluation((True,) * 10 + (False,) * 80, skipped=1),
    }
    found = micro_average(scored)
    assert (found.score.metric, found.score.value, found.score.rows) == ("p@1", 18 / 100, 100)
    assert found.macro == pytest.approx((0.8 + 1 / 9) / 2)
    assert found.tasks == pytest.approx({"lama:P36": 0.8, "lama:P19": 1 / 9})
    assert (found.rows, found.skipped) == ({"lama:P36": 10, "lama:P19": 90}, 4)
    # two tasks: either may be drawn twice
    assert (found.score.low, found.score.high) == pytest.approx((1 / 9, 0.8))
    assert found.to_dict()["score"]["rows"] == 100


def test_the_interval_draws_tasks():
    rng = np.random.default_rng(0)
    rows = {
        f"t{k}": (rng.random(20 + 10 * k) < share).tolist()
        for k, share in enumerate(rng.random(12))
    }
    found = micro_average(rows).score
    flat = [float(r) for own in rows.values() for r in own]
    units = [(name,) for name, own in rows.items() for _ in own]
    other = bootstrap_mean(flat, units=units, seed=1, resamples=4000)
    assert found.value == pytest.approx(other.value)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.02)
    by_rows = bootstrap_mean(flat)
    assert found.high - found.low > 2 * (by_rows.high - by_rows.low)  # rows of a task are alike
    assert micro_average(rows).score == found
    assert micro_average(rows, seed=1).score != found


def test_intervals_where_nothing_can_be_drawn():
    one = micro_average({"a": [True, False, True, True]}).score
    assert (one.low, one.high) == wilson(0.75, 4)
    alike = micro_average({"a": [True] * 50, "b": [True] * 50}).score
    assert (alike.low, alike.high) == wilson(1.0, 2)


def test_what_cannot_be_averaged():
    with pytest.raises(PromptPortError, match="one task or more, all by the same metric, got none"):
        micro_average({})
    mixed = {"a": evaluation((True,)), "b": evaluation((True,), metric="accuracy")}
    with pytest.raises(PromptPortError, match="the same metric, got accuracy, p@1"):
        micro_average(mixed)
    with pytest.raises(PromptPortError, match="task 'b': expected one row or more.*share of rows"):
        micro_average({"a": [True], "b": evaluation(None, metric="macro-f1")})
    with pytest.raises(PromptPortError, match="task 'a': expected one row or more.*got no rows"):
        micro_average({"a": []})
