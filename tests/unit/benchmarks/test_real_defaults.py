"""Whether the usual settings are close to the best of a grid: figures, and one run on nano-gpt2."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from benchmarks.real_models import defaults
from benchmarks.real_models.defaults import BASE, USUAL, gap, grid, summarise, table

from promptport.backbone import Backbone
from promptport.experiments.result_store import packed
from promptport.tasks import open_task


def cell(way, dev, right, task="sst2"):
    rows = [True] * right + [False] * (10 - right)
    return {
        "model": "m",
        "task": task,
        "way": way,
        "dev": dev,
        "score": right / 10,
        "right": packed(rows),
    }


def test_the_gap_is_read_on_test_rows_of_the_setting_that_dev_rows_choose():
    own = [cell(USUAL, 0.8, 7), cell("5 virtual tokens", 0.9, 8), cell("in front", 0.7, 10)]
    name, points, low, high = gap({c["way"]: c for c in own})
    assert (name, points) == ("5 virtual tokens", pytest.approx(10.0))
    assert low <= points <= high
    equal = [cell(USUAL, 0.8, 7, "trec"), cell(BASE, 0.8, 9, "trec")]
    assert gap({c["way"]: c for c in equal})[:2] == (USUAL, 0.0)
    assert summarise([*own, *equal]) == {
        "defaults_gap_points": 10.0,
        "defaults_mean_gap_points": 5.0,
        "defaults_cells": 2,
    }
    assert "| 5 virtual tokens | +10.0 [" in table([*own, *equal])
    assert summarise([cell(USUAL, 0.8, 7)]) == {}


def test_every_setting_differs_from_the_base_in_one_thing():
    settings = grid(100)
    assert USUAL in settings
    base = vars(settings[BASE])
    for name, setting in settings.items():
        changed = [key for key, value in vars(setting).items() if value != base[key]]
        assert len(changed) == (name != BASE), name


@pytest.mark.slow
def test_a_run_measures_what_is_missing_and_writes_the_figures(tmp_path, monkeypatch):
    task = open_task("sentiment")
    rows = {split: task.load(split)[:12] for split in ("train", "dev", "test")}
    small = replace(task.with_rows(**rows), name="nlu:sst2")
    monkeypatch.setattr(defaults, "laboratory_tasks", lambda *_: [small])
    monkeypatch.setattr(defaults, "check_models", lambda *_: None)
    monkeypatch.setattr(defaults, "model_path", lambda _, folder: folder / "x.gguf")
    opened = []
    monkeypatch.setattr(
        defaults, "open_model", lambda *_: opened.append(1) or Backbone.load("nano-gpt2")
    )
    arguments = ["--model", "smollm2-135m", "--updates", "2", "--results", str(tmp_path / "r")]
    arguments += ["--work", str(tmp_path / "w"), "--setting", USUAL, "starts from label words"]
    assert defaults.main(arguments) == 0
    figures = json.loads((tmp_path / "r" / "summary.json").read_text())
    assert figures["defaults_cells"] == 1
    assert -100 <= figures["defaults_gap_points"] <= 100
    assert defaults.main(arguments) == 0
    assert len(opened) == 1  # nothing was missing the second time
