"""From cells of origins and pairs to figures, and the fit of the forecast, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.task_vectors import common, fit_forecast, origins, pairs, pairs_summary

from promptport.analysis.forecast import COEFFICIENTS


def _origin(task, training, own, other, *, dev=0.5, majority=0.2, seed=0, alike=None):
    found = {"majority": majority, "own": own, "own_low": own - 0.05, "other": other}
    found["alike"] = alike or other if training == "small origin" else []
    found |= {"dev_own": own, "dev_other": [dev, dev], "length_ratio": 1.0}
    place = {"part": "origins", "backbone": "b", "seed": seed, "training": training}
    return {**place, "task": task, "found": found}


def test_kept_shares_of_origins() -> None:
    cells = [
        _origin("x", "one origin", 0.8, [0.4, 0.8], dev=0.5),
        _origin("x", "64 origins", 0.8, [0.8, 0.8], dev=0.7),
        _origin("x", "small origin", 0.8, [0.2, 0.2], dev=0.2, alike=[0.8, 0.6]),
        _origin("y", "one origin", 1.0, [1.0, 0.9]),
        _origin("y", "64 origins", 1.0, [0.9, 0.9], dev=0.9),
        _origin("y", "small origin", 1.0, [0.9, 0.9]),
        _origin("z", "one origin", 0.29, [0.1, 0.1]),
    ]
    summary, tables = origins.summarise(cells)
    assert tables["best"] == "64 origins"
    assert tables["left_out"] == ["z (b)"], "nine points above the majority are not enough"
    assert summary["own_to_other_mean"] == pytest.approx(0.95)
    assert summary["own_to_other_min"] == pytest.approx(0.9)
    assert summary["own_to_other_paper_mean"] == pytest.approx((0.75 + 0.95) / 2)
    assert summary["own_to_other_paper_min"] == pytest.approx(0.75)
    assert summary["own_to_other_paper_worst"] == pytest.approx(0.5)
    assert summary["own_to_other_small_min"] == pytest.approx(0.7 / 0.8)
    assert summary["own_to_other_small_worst"] == pytest.approx(0.75)
    cells += [
        _origin("nlu:w", "one origin", 0.9, [0.6, 0.3]),
        _origin("nlu:w", "64 origins", 0.8, [0.9, 0.9], dev=0.9),
        _origin("nlu:w", "small origin", 0.9, [0.2, 0.2]),
    ]
    row = next(r for r in origins.summarise(cells)[1]["trainings"] if r["training"] == "64 origins")
    assert (row["of_direct_embedded"], row["of_direct_real"]) == (0.95, 1.0)
    assert row["of_direct"] == pytest.approx(2.9 / 3, abs=1e-4)
    text = origins.table(tables)
    assert "| **64 origins** | 2 |" in text
    assert "| x (b) | 0.750 | 1.000 | 0.250 | 0.875 |" in text


def _pair(tasks, ways, alone=(0.8, 0.5), backbone="b"):
    both = {name: {"dev": list(dev), "test": list(test)} for name, (dev, test) in ways.items()}
    found = {"alone": {"dev": list(alone), "test": list(alone)}, "ways": both, "forecasts": []}
    return {"part": "pairs", "backbone": backbone, "seed": 0, "tasks": tasks, "found": found}


def test_wiped_pairs_and_the_best_way_by_dev() -> None:
    paper = pairs_summary.PAPER_COLUMN
    cells = [
        _pair(["x", "y"], {paper: ((0.8, 0.1), (0.8, 0.0)), "apart": ((0.8, 0.45), (0.8, 0.5))}),
        _pair(["x", "z"], {paper: ((0.8, 0.5), (0.8, 0.5)), "apart": ((0.7, 0.5), (0.6, 0.5))}),
    ]
    summary, tables = pairs.summarise(cells)
    assert tables["best"] == "apart"
    assert (summary["pairs"], summary["larger_sets"]) == (2, 0)
    assert (summary["pairs_wiped_paper"], summary["pairs_wiped_best"]) == (1, 1)
    assert summary["pairs_kept_paper"] == pytest.approx((0.5 + 1.0) / 2)
    assert summary["pairs_kept_best"] == pytest.approx((1.0 + 0.875) / 2)
    each = next(row for row in tables["pairs"] if row["way"] == pairs_summary.EACH)
    assert (each["wiped"], each["mean"]) == (0, 1.0)
    assert pairs_summary.choose(cells[1]["found"]) == paper
    for cell in cells:
        cell["found"]["coefficients"] = {"apart": [1.0]}
    assert pairs.summarise(cells)[1]["best"] == paper, "what was searched on dev cannot win there"
    for cell in cells:
        del cell["found"]["coefficients"]
    assert "| **apart** | 2 |" in pairs.table(tables)


def test_the_reconciled_set_is_one_of_the_ways() -> None:
    paper = pairs_summary.PAPER_COLUMN
    cells = [_pair(["x", "y"], {paper: ((0.8, 0.1), (0.8, 0.0))})]
    ways = {pairs_summary.RECONCILED: {"dev": [0.8, 0.5], "test": [0.8, 0.45]}}
    cells.append({**cells[0], "part": pairs.SETTLED, "found": {"ways": ways}})
    summary, tables = pairs.summarise(cells)
    assert tables["best"] == pairs_summary.RECONCILED
    assert (summary["pairs"], summary["pairs_wiped_best"]) == (1, 0)
    assert summary["pairs_kept_best"] == pytest.approx(0.95)
    ways[pairs_summary.RECONCILED]["alone"] = {"dev": [0.8, 0.5], "test": [0.8, 0.6]}
    summary, _ = pairs.summarise(cells)
    assert summary["pairs_kept_best"] == pytest.approx((1 + 0.75) / 2), "of its own single prompts"
    assert summary["pairs_kept_paper"] == pytest.approx(0.5)


def test_lost_tasks_on_more_rows_and_beyond_noise() -> None:
    def bits(right, rows=100):
        return {"score": right / rows, "right": f"{rows}:{(1 << right) - 1:x}"}

    paper = pairs_summary.PAPER_COLUMN
    cells = []
    for tasks, right in ((["x", "y"], 30), (["x", "z"], 39), (["y", "z"], 50)):
        cells.append(_pair(tasks, {paper: ((0.8, 0.1), (0.8, 0.0))}))
        more = {"alone": [bits(80), bits(50)], paper: [bits(80), bits(20)]}
        more |= {pairs_summary.RECONCILED: [bits(80), bits(right)]}
        ways = {pairs_summary.RECONCILED: {"dev": [0.8, 0.5], "test": [0.8, 0.45]}}
        cells.append({**cells[-1], "part": pairs.SETTLED, "found": {"ways": ways, "more": more}})
    summary, tables = pairs.summarise(cells)
    assert summary["pairs_wiped_paper_more_rows"] == 3
    assert summary["pairs_wiped_paper_beyond_noise"] == 3
    assert summary["pairs_wiped_reconciled_more_rows"] == 2, "30 and 39 of 50"
    assert summary["pairs_wiped_reconciled_beyond_noise"] == 1, "39 of 50 may be chance"
    row = tables["more"]["pairs"][1]
    assert (row["worst"], row["mean"]) == (0.6, pytest.approx((0.8 + 0.89 + 1) / 3, abs=1e-4))
    text = pairs.table(tables)
    assert "| pairs: one origin: reconciled | 3 | 0.897" in text
    del cells[-1]["found"]["more"]
    assert pairs.summarise(cells)[1]["more"]["pairs"] == [], "of some sets only: not comparable"


def test_logistic_regression_finds_the_coefficients_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(4000, 2))
    truth = np.array([0.5, 2.0, -1.0])
    likely = 1 / (1 + np.exp(-(truth[0] + features @ truth[1:])))
    survived = (rng.random(4000) < likely).astype(float)
    np.testing.assert_allclose(fit_forecast.fit_logistic(features, survived), truth, atol=0.15)
    apart = fit_forecast.fit_logistic(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]))
    assert np.isfinite(apart).all()
    assert apart[1] > 0
    assert np.isfinite(fit_forecast.fit_logistic(features, np.ones(4000))).all()


def test_calibration_judges_only_what_it_has_not_seen() -> None:
    """One backbone keeps what agrees, the other what does not: each fit is wrong on the other."""
    cells = []
    for name, turned in (("b", False), ("c", True)):
        for i in range(20):
            agreement = (i % 2) * 1.0
            features = dict.fromkeys(fit_forecast.NAMES, 0.0) | {
                "agreement": agreement,
                "kl": 1 - agreement,
            }
            share = 1.0 if bool(agreement) != turned else 0.0
            cell = _pair(["x", "y"], {"sum": ((1.0, 1.0), (1.0, 1.0))}, backbone=name)
            cell["found"]["forecasts"] = [
                {"of": "sum", "features": features, "kept": share, "task": "x"}
            ]
            cells.append(cell)
    summary, known = fit_forecast.fit_forecast(cells)
    assert summary["forecast_accuracy"] == 0.0
    assert summary["forecast_accuracy_present"] == 0.5
    assert (summary["forecast_accuracy_frequent"], summary["forecasts"]) == (0.5, 40)
    assert known["coefficients"].keys() == COEFFICIENTS.keys()
    present = {row["verdict"]: row for row in known["reliability_present"]}
    assert (present["lost"]["said"], present["lost"]["right"]) == (20, 0.5)
    assert known["by_way"]["sum"]["forecasts"] == 40
    assert known["by_way"]["sum"]["accuracy"] == 0.0
    assert "forecast_accuracy_other_seed" not in summary
    apart, _ = fit_forecast.fit_forecast([{**c, "seed": int(c["backbone"] == "c")} for c in cells])
    assert apart["forecast_accuracy_other_seed"] == 0.0
    assert apart["forecast_accuracy_other_seed_sums"] == 0.0
    assert fit_forecast.fit_forecast([]) == ({}, {})


def test_tasks_are_cut_and_missing_data_is_said(capsys) -> None:
    tasks = common.benchmark_tasks(None, ["country-capital", "topic", "trec"])
    assert "left out, no --data folder with nlu/: trec" in capsys.readouterr().out
    assert [task.name for task in tasks] == ["country-capital", "topic"]
    assert [len(tasks[1].load(s)) for s in ("train", "dev", "test")] == [128, 60, 200]
    words = [len(v.split()) for row in tasks[1].load("test") for v in row.fields.values()]
    assert max(words) <= common.WORDS


def test_sets_that_are_not_asked_any_more_are_left_out(tmp_path, monkeypatch) -> None:
    book = common.book_of(tmp_path / "pairs" / "cells.jsonl")
    sets = [["topic", "emotion"], ["topic", "animal-class"], ["emotion", "animal-class"]]
    for names in sets:
        book.add({"found": {}}, part="pairs", backbone="nano-bert", seed=0, tasks=names)
    learned = []

    def asked(name, seed, tasks, more, cells, work):
        assert set(more) == set(common.EMBEDDED)
        learned.append((name, seed, [task.name for task in tasks]))
        return sets[:1]

    monkeypatch.setattr(pairs, "measure_origins", lambda *given, **more: [])
    monkeypatch.setattr(pairs, "learnable", lambda cells, name, seed: {"topic", "emotion"})
    monkeypatch.setattr(pairs, "_measure", asked)
    cells = pairs.measure(None, [0], ["nano-bert"], results=tmp_path)
    assert [cell["tasks"] for cell in cells] == sets[:1]
    assert learned == [("nano-bert", 0, ["topic", "emotion"])]
    # Those of another seed stay, of tasks that are learned.
    cells = pairs.measure(None, [1], ["nano-bert"], results=tmp_path)
    assert [(cell["seed"], cell["tasks"]) for cell in cells] == [(0, sets[0])]
