"""From cells to figures and a table: means over cells with bootstrap intervals over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from promptport.files import write_atomic

COLUMNS = (
    *("majority", "random", "no prompt", "no prompt, word", "manual", "paper"),
    *("least squares", "least squares 2"),
    *("least squares 3", "words", "no data", "no data 2", "no data 3", "re-anchored"),
    *("re-anchored, read out", "anchored", "anchored, read out", "joint 2"),
    *("joint 2, read out", "joint 3", "joint 3, read out", "calibrated", "tuned anchored"),
    "tuned",
)
# Figures of summary.json: the best of these columns.
FIGURES = {
    "retention_paper": ("paper",),
    "retention_tables_only": ("least squares",),
    "retention_zero_data": ("no data",),
    "retention_multi": ("no data 2", "no data 3"),
    "retention_reanchored": ("re-anchored", "re-anchored, read out"),
    "retention_anchored": ("anchored", "anchored, read out"),
    "retention_joint": ("joint 2", "joint 3", "joint 2, read out", "joint 3, read out"),
    "retention_calibrated": ("calibrated",),
}
OURS = (
    *("least squares", "words", "no data", "no data 2", "no data 3", "re-anchored"),
    *("re-anchored, read out", "anchored", "anchored, read out", "joint 2"),
    *("joint 2, read out", "joint 3", "joint 3, read out", "calibrated"),
)
# What several sources are compared with.
SINGLE = {
    **dict.fromkeys(("least squares 2", "least squares 3"), "least squares"),
    **dict.fromkeys(("no data 2", "no data 3"), "no data"),
    **dict.fromkeys(("joint 2", "joint 3"), "anchored"),
}
RESAMPLES = 2000
LEAST_GAIN = 0.1  # of tuning over the majority answer, or over no prompt at all
# Learning on random words was worked out on these tasks, nano-bert to nano-roberta, by scores on
# the target: the columns that use it are told apart for all other tasks and pairs.
DEVELOPED_ON = ("country-capital", "opposite", "sentiment", "topic")
DEVELOPED_PAIR = ("nano-bert", "nano-roberta")
# That a causal target wants a word in front of the answer was found on these, with scores.
READ_OUT_TARGET = "nano-gpt2"
READ_OUT_ON = ("country-capital", "past-tense", "company-country", "person-country", "opposite")
ResultStore = Sequence[dict[str, Any]]


def summarise(cells: ResultStore) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures per column, and the rows of the table.

    Retention is the mean over cells of score / score when tuned on the target, over cells where
    that tuning beats the majority answer by a tenth (elsewhere there is nothing to retain). Many
    tasks can be guessed in part from the template alone, so *gain kept* is told beside it:
    mean(score - no prompt) / mean(tuned - no prompt), over cells where tuning gains a tenth.
    """
    tuned = {_place(c): c["score"] for c in cells if c["column"] == "tuned"}
    manual = {_place(c): c["score"] for c in cells if c["column"] == "manual"}
    majority = {_place(c): c["score"] for c in cells if c["column"] == "majority"}
    bare = {_place(c): c["score"] for c in cells if c["column"] == "no prompt"}
    learnable = {
        place for place, score in tuned.items() if score >= majority.get(place, 1.0) + LEAST_GAIN
    }
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        if _place(cell) in learnable:
            found[cell["column"]].append(cell)
    summary: dict[str, float] = {"cells": len(cells), "learnable": len(learnable)}
    real = [score for place, score in tuned.items() if place in learnable and ":" in place[1]]
    if real:  # tasks of the data folder
        summary |= {"learnable_real": len(real), "real_least": min(real), "real_most": max(real)}
    rows = []
    for column in COLUMNS:
        own = found.get(column, [])
        if not own:
            continue
        scores = [c["score"] for c in own]
        kept = [c["score"] / tuned[_place(c)] for c in own]
        beats = [float(c["score"] > manual[_place(c)]) for c in own]
        low, high = _interval(own, kept)
        gains = [
            (c["score"] - bare[_place(c)], tuned[_place(c)] - bare[_place(c)])
            for c in own
            if tuned[_place(c)] - bare.get(_place(c), 1.0) >= LEAST_GAIN
        ]
        row = {
            "column": column,
            "cells": len(own),
            "score": round(fmean(scores), 4),
            "retention": round(fmean(kept), 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "gain_kept": round(_share(gains), 4),
            "beats_manual": round(fmean(beats), 4),
        }
        rows.append(row)
        key = column.replace(", ", "_").replace(" ", "_").replace("-", "_")
        for figure in ("score", "retention", "gain_kept", "beats_manual"):
            summary[f"{key}.{figure}"] = row[figure]
        fresh = [c for c in own if _is_fresh(c)]
        if fresh:
            kept_fresh = fmean(c["score"] / tuned[_place(c)] for c in fresh)
            row |= {"fresh": round(kept_fresh, 4), "fresh_cells": len(fresh)}
            summary[f"{key}.retention_fresh"] = row["fresh"]
    for figure, columns in FIGURES.items():
        values = [row["retention"] for row in rows if row["column"] in columns]
        if values:
            summary[figure] = max(values)
    best = max((r for r in rows if r["column"] in OURS), key=lambda r: r["retention"])
    summary["beats_manual_share"] = best["beats_manual"]
    several = _several(found)
    for row in several:
        key = row["column"].replace(" ", "_")
        summary |= {f"{key}.over_{what}_single": row[what]["value"] for what in ("mean", "best")}
    return summary, {
        "columns": rows,
        "several": several,
        "pairs": _by(found, tuned, "pair"),
        "tasks": _by(found, tuned, "task"),
        "targets": _by(found, tuned, "target"),
        "seeds": _by(found, tuned, "seed"),
    }


def _several(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Score of several sources less the mean, and less the best, of the same sources alone.

    The best is known only afterwards, by its test score: nobody could have chosen it.
    """
    rows = []
    for column, single in SINGLE.items():
        alone = {(c["source"], *_place(c)): c["score"] for c in found.get(single, [])}
        cells, singles = [], []
        for cell in found.get(column, []):
            own = [alone.get((source, *_place(cell))) for source in cell["source"].split("+")]
            if None not in own:
                cells.append(cell)
                singles.append([score for score in own if score is not None])
        if not cells:
            continue
        row: dict[str, Any] = {"column": column, "alone": single, "cells": len(cells)}
        for what, chosen in (("mean", fmean), ("best", max)):
            apart = [c["score"] - chosen(own) for c, own in zip(cells, singles, strict=True)]
            low, high = _interval(cells, apart)
            figures = {"value": fmean(apart), "low": low, "high": high}
            row[what] = {name: round(value, 4) for name, value in figures.items()}
        rows.append(row)
    return rows


def _is_fresh(cell: dict[str, Any]) -> bool:
    """Whether nothing was worked out on this task or pair."""
    first, last = DEVELOPED_PAIR
    pair = first in cell["source"].split("+") and cell["target"] == last
    seen = cell["target"] == READ_OUT_TARGET and cell["task"] in READ_OUT_ON
    return cell["task"] not in DEVELOPED_ON and not pair and not seen


def _place(cell: dict[str, Any]) -> tuple[str, str, int]:
    return cell["target"], cell["task"], cell["seed"]


def _share(gains: Sequence[tuple[float, float]]) -> float:
    whole = sum(best for _, best in gains)
    return sum(own for own, _ in gains) / whole if whole else 0.0


def _interval(cells: ResultStore, values: Sequence[float]) -> tuple[float, float]:
    """95% of the means when whole (target, task) cells are drawn again, their seeds together."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell, value in zip(cells, values, strict=True):
        groups[cell["target"], cell["task"]].append(value)
    sums = np.array([sum(g) for g in groups.values()])
    counts = np.array([len(g) for g in groups.values()])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _by(
    found: dict[str, list[dict[str, Any]]], tuned: dict[tuple[str, str, int], float], what: str
) -> dict[str, dict[str, float]]:
    """Mean retention per pair of backbones, task, target or seed, and column."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for column, cells in found.items():
        for cell in cells:
            pair = f"{cell['source']} -> {cell['target']}"
            name = pair if what == "pair" else str(cell[what])
            groups[name][column].append(cell["score"] / tuned[_place(cell)])
    return {
        name: {column: round(fmean(values), 4) for column, values in row.items()}
        for name, row in sorted(groups.items())
    }


def write_table(path: Path, tables: dict[str, Any]) -> None:
    """The columns, and their retention on every target, seed and task, in Markdown."""
    parts = tables["targets"] | {f"seed {n}": row for n, row in tables["seeds"].items()}
    lines = [
        "| prompt | cells | score | retention | 95% | fresh cells | gain kept | beats manual |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['column']} | {r['cells']} | {r['score']:.3f} | {r['retention']:.2f} "
            f"| {r['low']:.2f} to {r['high']:.2f} | {_told(r.get('fresh'))} "
            f"| {r['gain_kept']:.2f} | {r['beats_manual']:.0%} |"
            for r in tables["columns"]
        ),
        "",
        *_retentions(parts, tables["columns"]),
        "",
        *_retentions(tables["tasks"], tables["columns"]),
        "",
        "| several sources: score less that of the same sources alone | cells | their mean [95%] "
        "| the best of them, known afterwards [95%] |",
        "|---|---|---|---|",
        *(
            f"| {r['column']} against {r['alone']} | {r['cells']} | {_apart(r['mean'])} "
            f"| {_apart(r['best'])} |"
            for r in tables["several"]
        ),
    ]
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def _retentions(parts: dict[str, dict[str, float]], columns: Sequence[dict[str, Any]]) -> list[str]:
    """A line per column of the benchmark, with a column for every part of its cells."""
    names = [row["column"] for row in columns]
    return [
        f"| retention | {' | '.join(parts)} |",
        "|---|" + "---|" * len(parts),
        *(
            f"| {name} | {' | '.join(_told(own.get(name)) for own in parts.values())} |"
            for name in names
        ),
    ]


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _apart(found: dict[str, float]) -> str:
    return f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
