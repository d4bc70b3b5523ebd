"""What differs between two runs is told from noise."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from tests.runs import ENVIRONMENT, make_run, write_run

from promptport import diff_runs
from promptport.recipes.reports.summaries import row_test
from promptport.records import packed


def _values(right):
    return {"score": round(float(np.mean(right)), 5), "right": packed(list(right))}


def test_a_run_is_equal_to_itself(tmp_path) -> None:
    run = make_run(tmp_path / "run")
    told = diff_runs(run, run, tmp_path / "diff.md")
    assert (told.shared, told.equal, told.changes) == (209, 209, ())
    assert (told.settings, told.environment, told.only) == ({}, {}, ((), ()))
    assert "209 of 209 shared cells are equal" in (tmp_path / "diff.md").read_text()


def test_a_method_that_became_better_is_found(tmp_path) -> None:
    first = make_run(tmp_path / "a")
    second = make_run(tmp_path / "b", better={"paper": 0.2}, failed=4, missing=0, length=7)
    (second / "environment.json").write_text(json.dumps({**ENVIRONMENT, "torch": "2.14.0"}))
    told = diff_runs(first, second)
    scores = [change for change in told.beyond if change.value == "score"]
    assert len(scores) == 35  # of 36 cells of the method, one failed
    assert all("method paper" in change.cell for change in scores)
    assert all(change.difference == pytest.approx(0.2, abs=0.011) for change in scores)
    assert {c.known_by for c in told.changes if c.value == "loss"} == {"nothing"}
    assert told.settings == {"length": (5, 7)}
    assert told.environment == {"torch": ("2.13.0", "2.14.0")}
    assert [why for _, why in told.only[0]] == [
        "failed: RuntimeError: expected finite logits, got nan"
    ] * 2
    assert [why for _, why in told.only[1]] == ["not run"] * 3
    overall = {(each.kind, each.value): each for each in told.overall}
    moved = overall["transfer", "score"]
    assert moved.cells == 104
    assert moved.mean.value == pytest.approx(sum(c.difference for c in scores) / 104)
    assert moved.mean.low > 0
    assert overall["tune", "score"].p == 1


def test_noise_is_not_taken_for_a_change(tmp_path) -> None:
    rng = np.random.default_rng(0)
    runs = []
    for name in "ab":
        cells = [("k", {"n": n}, _values(rng.random(300) < 0.6)) for n in range(60)]
        runs.append(write_run(tmp_path / name, cells))
    told = diff_runs(*runs)
    assert told.beyond == ()
    assert len(told.changes) > 40
    (overall,) = told.overall
    assert overall.mean.low < 0 < overall.mean.high


def test_rows_are_tested_exactly_and_corrected_for_all_cells(tmp_path) -> None:
    rng = np.random.default_rng(1)
    pairs = [(rng.random(200) < 0.5, rng.random(200) < 0.5 + gain) for gain in (0.0, 0.1, 0.2)]
    runs = [
        write_run(
            tmp_path / name, [("k", {"n": n}, _values(pair[i])) for n, pair in enumerate(pairs)]
        )
        for i, name in enumerate("ab")
    ]
    raw = []
    for a, b in pairs:
        up, down = int((b & ~a).sum()), int((a & ~b).sum())
        raw.append(stats.binomtest(up, up + down).pvalue)
    order = sorted(range(3), key=raw.__getitem__)
    expected, highest = {}, 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (3 - rank) * raw[i]))
        expected[f"k: n {i}"] = highest
    told = {change.cell: change for change in diff_runs(*runs).changes}
    assert set(told) <= set(expected)
    assert len(told) >= 2
    for cell, change in told.items():
        assert change.adjusted == pytest.approx(expected[cell])
        assert change.beyond == (expected[cell] < 0.05)


@pytest.mark.parametrize(
    ("up", "down"), [(0, 0), (1, 0), (5, 5), (3, 9), (40, 2), (0, 30), (700, 800)]
)
def test_the_test_of_rows_is_the_exact_one(up, down) -> None:
    differences = [1.0] * up + [-1.0] * down + [0.0] * 7
    expected = stats.binomtest(up, up + down).pvalue if up + down else 1.0
    assert row_test(differences) == pytest.approx(expected)
    assert row_test([2.5 * d for d in differences]) == pytest.approx(expected)


def test_scores_without_rows_go_by_their_intervals(tmp_path) -> None:
    def cells(far, near):
        return [
            ("k", {"n": 0}, {"score": far, "low": far - 0.05, "high": far + 0.05}),
            ("k", {"n": 1}, {"score": near, "low": near - 0.05, "high": near + 0.05}),
            ("k", {"n": 2}, {"score": far}),
        ]

    told = diff_runs(
        write_run(tmp_path / "a", cells(0.5, 0.5)), write_run(tmp_path / "b", cells(0.7, 0.55))
    )
    assert {c.cell: (c.known_by, c.beyond) for c in told.changes} == {
        "k: n 0": ("intervals", True),
        "k: n 1": ("intervals", False),
        "k: n 2": ("nothing", None),
    }
    assert told.verdict().startswith("1 numbers changed by more than noise, 1 within it, 1 by an")


def test_cells_are_those_of_the_same_place_whatever_their_ids(tmp_path) -> None:
    a = write_run(tmp_path / "a", [("k", {"n": 0, "m": 1}, {"score": 0.5})])
    b = write_run(tmp_path / "b", [("k", {"m": 1, "n": 0}, {"score": 0.5}), ("j", {}, None)])
    for name in ("recipe.json",):
        path = b / name
        path.write_text(path.read_text().replace(next((b / "cells").iterdir()).stem, "other"))
    old = next((b / "cells").iterdir())
    text = old.read_text().replace(old.stem, "other")
    old.unlink()
    (b / "cells" / "other.json").write_text(text)
    told = diff_runs(a, b)
    assert (told.shared, told.equal, told.only) == (1, 1, ((), ()))


def test_the_markdown_has_a_table_of_each_kind(tmp_path) -> None:
    first = make_run(tmp_path / "a")
    second = make_run(tmp_path / "b", better={"paper": 0.2}, failed=3, length="a|b")
    told = diff_runs(first, second, tmp_path / "d.md")
    text = (tmp_path / "d.md").read_text()
    assert text.startswith("# What differs: ")
    lines = [line for line in text.splitlines() if line.startswith("| transfer: ")]
    assert sum("| paired rows |" in line for line in lines) == len(
        [c for c in told.beyond if c.value == "score"]
    )
    assert "| length | 5 | a\\|b |" in text
    assert "## Only in the first" in text
