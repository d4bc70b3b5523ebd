"""What repeats another cell is no evidence of its own in the tests of a report."""

from itertools import combinations

import numpy as np
import pytest

from promptport.recipes.reports.differences import _overall
from promptport.recipes.reports.run_record import MeasuredCell
from promptport.recipes.reports.summaries import compare, mean_of, paired
from promptport.recipes.reports.units import SETS, TASKS, units_of
from promptport.records import packed

DRAWS = 60


def _cell(place: dict, **values) -> MeasuredCell:
    return MeasuredCell(id="x", kind="k", place=place, state="finished", values=values)


def _sides(places, values):
    """Cells of two methods: those of `a` have the values, those of `b` have 0."""
    pairs = zip(places, values, strict=True)
    left = [_cell({**p, "method": "a"}, score=float(v)) for p, v in pairs]
    right = [_cell({**p, "method": "b"}, score=0.0) for p in places]
    return left, right


def _tested(places, values):
    return compare(paired(*_sides(places, values), ["method"]), "score", ["method"])


def test_seeds_of_one_place_change_their_sign_together() -> None:
    places = [{"backbone": b, "seed": s} for b in "pqrs" for s in range(5)]
    test = _tested(places, np.repeat([0.1, 0.2, 0.3, 0.4], 5))
    assert (test.p, test.over, test.pairs, test.cells) == (2 / 2**4, "places", 4, 20)
    left, _ = _sides(places, np.repeat([0.1, 0.2, 0.3, 0.4], 5))
    mean = mean_of(left, "score")
    assert (mean.low, mean.high) == (test.low, test.high)  # both draw places


def test_seeds_of_a_single_place_are_all_that_there_is() -> None:
    test = _tested([{"backbone": "p", "seed": s} for s in range(5)], [0.1] * 5)
    assert (test.p, test.over, test.pairs) == (2 / 2**5, "cells", 5)


def test_pairs_of_tasks_are_drawn_by_task() -> None:
    rng = np.random.default_rng(1)
    places = [{"tasks": pair, "seed": 0} for pair in combinations("abcdef", 2)]
    found = []
    for _ in range(DRAWS):
        effect = dict(zip("abcdef", rng.normal(0, 0.1, 6), strict=True))
        values = [sum(effect[t] for t in p["tasks"]) + rng.normal(0, 0.02) for p in places]
        found.append(_tested(places, values))
    assert {(test.over, test.pairs) for test in found} == {(TASKS, 6)}
    assert np.mean([test.p < 0.05 for test in found]) < 0.1


def test_sets_whose_tasks_cannot_be_told_apart_are_drawn_whole() -> None:
    chain = [_cell({"tasks": pair, "seed": 0}) for pair in (("a", "b"), ("b", "c"), ("d", "e"))]
    units = units_of(chain, ["seed"])
    assert (units.name, units.count) == (SETS, 2)
    assert units.of[0] == units.of[1] != units.of[2]


@pytest.mark.parametrize("seeds", [1, 3])
def test_rows_that_several_models_were_asked_count_once(seeds) -> None:
    rng = np.random.default_rng(2)
    rows = {way: rng.random(60) < 0.6 for way in "ab"}
    cells = {"a": [], "b": []}
    for way, right in rows.items():
        for target in range(8):
            for seed in range(seeds):
                place = {"target": target, "task": "t", "method": way, "seed": seed}
                values = {"score": float(right.mean()), "right": packed(right.tolist())}
                cells[way].append(_cell(place, **values))
    several = compare(paired(*cells.values(), ["method"]), "score", ["method"])
    one = [own[:seeds] for own in cells.values()]
    alone = compare(paired(*one, ["method"]), "score", ["method"])
    assert (several.pairs, several.cells) == (60, 8 * seeds)
    assert several.p == pytest.approx(alone.p)
    assert several.difference == pytest.approx(alone.difference)


def test_task_sizes_do_not_weigh_and_models_do() -> None:
    cells = {"a": [], "b": []}
    for task, count, models, share in (("s", 10, 1, 1.0), ("t", 40, 3, 0.5)):
        for way, right in (
            ("a", [i < share * count for i in range(count)]),
            ("b", [False] * count),
        ):
            for target in range(models):
                place = {"target": target, "task": task, "method": way}
                values = {"score": sum(right) / count, "right": packed(right)}
                cells[way].append(_cell(place, **values))
    test = compare(paired(*cells.values(), ["method"]), "score", ["method"])
    assert test.difference == pytest.approx((1.0 + 3 * 0.5) / 4)
    assert test.pairs == 50


def test_two_runs_are_compared_by_places() -> None:
    places = [{"backbone": b, "seed": s} for b in "pqr" for s in range(6)]
    after, before = _sides(places, [0.1] * 18)
    (line,) = _overall(list(zip(before, after, strict=True)), ["score"])
    assert (line.p, line.cells, line.sure) == (2 / 2**3, 18, True)
