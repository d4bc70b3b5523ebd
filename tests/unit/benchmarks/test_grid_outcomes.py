"""Figures of kept runs, from cells made by hand."""

from __future__ import annotations

import json

from benchmarks.grid.outcomes import outcomes

from promptport.experiments.result_store import packed


def write(run, *cells) -> None:
    (run / "cells").mkdir(parents=True)
    for number, (kind, place, values) in enumerate(cells):
        cell = {"kind": kind, "place": {"backbone": "m", **place}, "values": values}
        (run / "cells" / f"{number}.json").write_text(json.dumps(cell))


def pair(tasks, method, lost):
    return "sum", {"tasks": tasks, "method": method}, {"lost": lost}


def start(shots, method, right):
    place = {"task": "t", "shots": shots, "method": method, "seed": 0}
    return "few_shot", place, {"score": 0.5, "right": packed(right)}


def test_only_what_was_measured_is_told(tmp_path) -> None:
    assert outcomes(tmp_path) == {}
    kept = {"kept": 0.5, "score": 0.4}
    write(
        tmp_path / "task-prompt-vectors/real",
        ("origins", {"method": "one_origin"}, kept),
        ("origins", {"method": "one_origin"}, {**kept, "kept": 0.7}),
        pair(["a", "b"], "paper", 1.0),
        pair(["a", "b"], "distill", 0.0),
        pair(["a", "c"], "paper", 1.0),  # not combined by the other way yet
        start(8, "adapt", [1] * 60 + [0] * 40),
        start(8, "random", [1] * 20 + [0] * 80),
        start(32, "adapt", [1] * 20 + [0] * 80),
        start(32, "random", [1] * 60 + [0] * 40),
    )
    assert outcomes(tmp_path) == {
        "real_own_to_other_paper": 0.6,
        "real_pairs": 1,
        "real_pairs_wiped_paper": 1,
        "real_pairs_wiped_best": 0,
        "real_fewshot_settings": 2,
        "real_fewshot_losses": 1,
    }


def test_moves_on_small_models(tmp_path) -> None:
    write(
        tmp_path / "zero-shot-transfer/transfer",
        *(("transfer", {"method": "paper"}, {"score": s}) for s in (0.2, 0.4)),
        ("transfer", {"method": "move"}, {"score": 0.9}),
        ("tune", {"method": "free"}, {"score": 0.95}),
    )
    assert outcomes(tmp_path) == {
        "nano_moved_paper": 0.3,
        "nano_moved_move": 0.9,
        "nano_moved_tuned_there": 0.95,
    }
