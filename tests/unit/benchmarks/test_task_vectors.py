"""From cells of the task vector benchmarks to figures: wins, losses, gaps, gains, by hand."""

from __future__ import annotations

from itertools import product

import pytest
from benchmarks.task_vectors import across, common, fewshot, fewshot_summary, moved, origins

from promptport.experiments.result_store import ResultStore
from promptport.tasks import open_task
from promptport.tuning import few_shot


def bits(right: int, rows: int = 100) -> dict:
    text = "1" * right + "0" * (rows - right)
    return {"score": right / rows, "right": f"{rows}:{int(text, 2):x}"}


def curve(column, right, task="a", rows=(0, 5), name="nano-bert"):
    place = {"backbone": name, "weights": "x", "seed": 0, "task": task, "column": column}
    return [{**place, "rows": n, "start": "s", **bits(right)} for n in rows]


@pytest.fixture
def cells():
    rights = {
        "a": {"best single": 50, "adapted": 60, "picked": 48, "random": 20},
        "b": {"best single": 70, "adapted": 40, "picked": 70, "random": 20},
    }
    found = []
    for task, column in product(rights, fewshot_summary.COLUMNS):
        found += curve(column, rights[task].get(column, 30), task)
    for task, best in (("a", 55), ("b", 70)):
        found += curve("single s", best, task, rows=(0,))
    found += curve("random", 99, "unfinished")
    direct = {"dev": 0.4, "majority_dev": 0.38}
    found += [{**c, **direct} for c in curve("direct", 40, "c", rows=(-1,))]
    return found


def test_wins_losses_and_gaps(cells) -> None:
    summary, tables = fewshot.summarise(cells)
    assert summary == {
        "fewshot_targets": 2,
        "fewshot_wins": 1,
        "fewshot_losses": 1,
        "pick_gap_points": pytest.approx(1.0),
        "pick_gap_points_oracle": pytest.approx(3.5),
        "pick_gap_points_area": pytest.approx(1.0),
    }
    (adapted,) = (r for r in tables["starts"] if r["column"] == "adapted")
    assert adapted["gain_points"] == pytest.approx(-10)
    assert adapted["rows 5"] == pytest.approx(0.5)
    assert [r["task"] for r in tables["left_out"]] == ["c"]
    text = fewshot.table(tables)
    assert "Not learned, left out: c (nano-bert)." in text
    assert "| adapted | 0.500 | 0.500 | 0.500, 0.500, - | -10.0" in text
    real = [{**c, "task": f"nlu:{c['task']}"} if c["task"] == "b" else c for c in cells]
    assert "| adapted | 0.500 | 0.500 | 0.500, 0.600, 0.400 |" in fewshot.table(
        fewshot.summarise(real)[1]
    )


def test_bits_survive() -> None:
    cell = bits(3, 7)
    assert common.bits_of(cell) == [1, 1, 1, 0, 0, 0, 0]
    assert common.bits_of({"right": "3:0"}) == [0, 0, 0]


def test_gain_of_ported_vectors() -> None:
    found = []
    for column, right in (("random", 20), ("word vector", 50), ("prompt", 10)):
        source = "" if column == "random" else "nano-bert"
        place = {"source": source, "target": "nano-t5", "task": "a", "seed": 0, "weights": "x"}
        found += [{**place, "column": column, "rows": n, **bits(right)} for n in (0, 10)]
    summary, tables = across.summarise(found)
    assert summary["ported_start_gain_points"] == pytest.approx(30)
    assert summary["across_gain_points.prompt"] == pytest.approx(-10)
    assert tables["pairs"][0]["gain_points"]["value"] == pytest.approx(30)
    assert "| word vector | 0.500 | 0.500 | 0.500 | +30.0" in across.table(tables)


def test_more_rows_than_the_usual_pool_come_from_the_whole_task(tmp_path) -> None:
    target = open_task("setting")
    book = ResultStore(tmp_path / "cells.jsonl", lambda cell: "", *common.VALUES)
    bench = fewshot._Bench("nano-bert", 0, [], [target], fewshot.Settings(), book, tmp_path)
    (usual,) = bench.targets
    assert len(usual.load("train")) == 128
    few = bench.few_rows(usual, 5).load("train")
    assert few == few_shot(usual, 5, 0).load("train")
    assert len(bench.few_rows(usual, 250).load("train")) == 250
    assert len(bench.few_rows(usual, 5000).load("train")) == len(target.load("train"))


def origin_cells(task, own, other, widened, paper_right, wide_right):
    """A task tuned directly, and widened; on more rows the numbers of right answers of 100."""
    place = {"part": "origins", "backbone": "nano-bert", "seed": 0, "task": task, "weights": "x"}
    rest = {"majority": 0.2, "own_low": 0.5, "alike": [], "dev_own": 0.8, "length_ratio": 1.0}
    more = {
        key: [bits(right)["right"] for right in rights]
        for key, rights in (("paper", paper_right), ("wide", wide_right))
    }
    direct = {"own": own, "other": other, "dev_other": [other[0]]}
    wide = {"own": widened[0], "other": widened[1:], "dev_other": [widened[1]], "direct": 0.9}
    return [
        {**place, "training": "one origin", "found": {**rest, **direct}},
        {**place, "training": "widened", "learning": "x", "found": {**rest, **wide, **more}},
    ]


def test_what_vectors_keep_on_other_origins() -> None:
    cells = origin_cells("a", 1.0, [0.5, 0.7], [0.8, 0.8, 0.6], [80, 40, 40], [80, 80, 79])
    cells += origin_cells("nlu:b", 0.8, [0.8, 0.8], [0.9, 0.9, 0.9], [50, 50, 49], [50, 60, 60])
    summary, tables = origins.summarise(cells)
    assert tables["best"] == "widened"
    assert summary["own_to_other_paper_mean"] == pytest.approx(0.8)
    assert "own_to_other_paper_length_rank" not in summary, "vectors of one length"
    cells[2]["found"]["length_ratio"] = 0.5  # the shorter one keeps more
    assert origins.summarise(cells)[0]["own_to_other_paper_length_rank"] == -1
    assert summary["own_to_other_mean"] == pytest.approx((0.7 / 0.8 + 1) / 2)
    # of the prompt that was widened, whatever it has become on its own origin
    assert summary["own_to_other_of_direct"] == pytest.approx((0.7 / 0.9 + 1) / 2, abs=1e-4)
    (wide,) = (r for r in tables["trainings"] if r["training"] == "widened")
    assert wide["of_direct"] == pytest.approx((0.7 / 0.9 + 0.9 / 0.9) / 2, abs=1e-4)
    paper, more = tables["more"]
    assert (paper["mean"], more["mean"]) == (
        pytest.approx((0.5 + 0.99) / 2),
        pytest.approx((79.5 / 80 + 60 / 50) / 2, abs=1e-4),
    )
    assert (paper["min"], more["min"]) == (0.5, pytest.approx(79.5 / 80, abs=1e-4))
    assert [(r["below"], r["below_beyond_noise"]) for r in (paper, more)] == [(1, 1), (0, 0)]
    assert summary["own_to_other_paper_below_beyond_noise_more_rows"] == 1
    assert [r["above_95"] for r in (paper, more)] == [1, 2]
    assert "| widened | 2 | 1.097 [" in origins.table(tables)
    # a has 20 right on bare origins: of the way to 80 its vector leads a third, the widened one
    # 59.5 / 60; of b, with 40, 9.5 and 20 of 10.
    bare = [
        {"part": "bare", "backbone": "nano-bert", "task": task, "found": {"right": [right] * 4}}
        for task, right in (("a", bits(20)["right"]), ("nlu:b", bits(40)["right"]))
    ]
    assert "added" not in origins.summarise([*cells, bare[0]])[1]["more"][0]
    summary, tables = origins.summarise([*cells, *bare])
    assert summary["own_to_other_paper_added_more_rows"] == pytest.approx((20 + 9.5) / 70, abs=1e-4)
    assert summary["own_to_other_added_more_rows"] == pytest.approx(79.5 / 70, abs=1e-4)
    assert "| 0.300 | 0.421 [0.333, 0.950] |" in origins.table(tables)
    cells += bare
    # The same rows again, under another seed, tell nothing new.
    again = [{**c, "seed": 1} for c in cells if c["part"] != "bare"]
    text = origins.table(origins.summarise([*cells, *again])[1])
    assert "| nlu:b (nano-bert) | 0, 1 | 0.990, 0.990 | 1.200, 1.200 |" in text
    twice = origins.summarise([*cells, *again])[1]["more"]
    for row, other in zip(twice, tables["more"], strict=True):
        same = set(row) - {"seeds", "each"}
        assert {k: row[k] for k in same} == {k: other[k] for k in same}


def test_trainings_are_compared_where_all_of_them_are() -> None:
    cells = origin_cells("a", 1.0, [0.5], [0.8, 0.8], [80, 40], [80, 80])
    cells += [{**c, "seed": 1} for c in cells]
    small = {**cells[0], "training": "64 origins"}
    small["found"] = {**small["found"], "dev_other": [0.9]}
    summary, tables = origins.summarise([*cells, small])
    assert tables["best"] == "64 origins", "on seed 0, where all are, it has the best dev scores"
    assert summary["own_to_other_mean"] == pytest.approx(0.5)
    assert summary["own_to_other_paper_mean"] == pytest.approx(0.5)
    # Nothing in common: the rarest is left out, of equal ones the first.
    few = {"one origin": {1: 0, 2: 0}, "widened": {2: 0}, "64 origins": {1: 0}}
    assert moved._comparable(few) == (["one origin", "64 origins"], [1])
