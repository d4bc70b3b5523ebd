"""The score that a move tells before any label of the target is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport.moving.answer_check import AnswerCheck
from promptport.moving.expected_score import OF_LARGE, OF_SMALL, expect_score, forecast

CHECK = AnswerCheck(
    same=0.8, divergence=0.2, rows=50, answers=2, commonest=0.5, random=0.5, texts="task"
)


def test_equal_answers_give_the_sources_score_with_what_few_rows_do_not_tell() -> None:
    for numbers in (OF_SMALL, OF_LARGE):
        told = forecast(0.8, 1.0, 100, numbers)
        assert told.value == pytest.approx(0.8)
        assert told.high - told.low == pytest.approx(4 * (numbers.spread**2 + 0.16 / 100) ** 0.5)


def test_moves_between_large_models_lose_less_and_are_surer() -> None:
    small, large = (
        expect_score(0.8, CHECK, metric="accuracy", dev_rows=100, numbers=numbers)
        for numbers in (OF_SMALL, OF_LARGE)
    )
    assert (small.value, large.value) == (pytest.approx(0.72), pytest.approx(0.744))
    assert large.high - large.low < small.high - small.low


def test_it_falls_and_widens_with_different_answers_and_stays_inside_0_and_1() -> None:
    told = [forecast(0.9, same, 100) for same in (1.0, 0.8, 0.4, 0.0)]
    values = [own.value for own in told]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.45)
    widths = [own.high - own.value for own in told[1:]]
    assert widths == sorted(widths)
    assert all(0 <= own.low <= own.value <= own.high <= 1 for own in told)
    assert forecast(1.0, 1.0, 10).high == 1.0
    assert forecast(0.0, 0.0, 10).low == 0.0


def test_more_dev_rows_make_it_surer() -> None:
    few, many = (expect_score(0.7, CHECK, metric="accuracy", dev_rows=n) for n in (20, 2000))
    assert few.high - few.low > many.high - many.low
    assert few.value == many.value == pytest.approx(0.63)
    assert many.line == (
        f"expected score: 0.63 ({many.low:.2f} to {many.high:.2f}); the source scored 0.700 on "
        "dev rows when it was tuned"
    )


@pytest.mark.parametrize(
    ("source", "check", "metric"),
    [
        (None, CHECK, "accuracy"),
        (0.7, None, "accuracy"),
        (0.7, replace(CHECK, texts="words"), "accuracy"),
        (0.7, replace(CHECK, texts="write"), "accuracy"),
        (0.7, replace(CHECK, rows=9), "accuracy"),
        (0.7, CHECK, "macro-f1"),
        (0.7, CHECK, "pearson"),
    ],
)
def test_nothing_is_told_that_is_not_known(source, check, metric) -> None:
    assert expect_score(source, check, metric=metric, dev_rows=50) is None
