"""Whether the usual settings of tuning are close to the best of a grid.

The best setting of a model and task is the one with the highest dev score. The gap is what it has
more than the usual one on the test rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

import numpy as np
from benchmarks.real_models.table import bootstrap_mean

from promptport.experiments.result_store import Cell, unpacked

USUAL = "free"


def by_cell(cells: Iterable[Cell]) -> dict[tuple[str, str], dict[str, Cell]]:
    """Finished cells of every model and task by setting."""
    found: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        found.setdefault((cell["model"], cell["task"]), {})[cell["way"]] = cell
    return found


def gap(cells: Mapping[str, Cell]) -> tuple[str, float, float, float] | None:
    """The setting with the highest dev score, and what it has more than the usual one on test.

    Returns:
        Its name, the difference in points and the ends of its 95% interval over rows; None while
        there is nothing to compare. Of equal dev scores the usual setting counts first.
    """
    if USUAL not in cells or len(cells) < 2:
        return None
    order = [USUAL, *(name for name in cells if name != USUAL)]
    best = max(order, key=lambda name: cells[name]["dev"])
    right, usual = (np.array(unpacked(cells[name]["right"])) for name in (best, USUAL))
    mean, low, high = bootstrap_mean((right - usual).astype(float))
    return best, 100 * mean, 100 * low, 100 * high


def summarise(cells: Iterable[Cell]) -> dict[str, Any]:
    """`defaults_gap_points`: the worst gap; and the mean one, and of how many models and tasks."""
    gaps = [told for own in by_cell(cells).values() if (told := gap(own)) is not None]
    if not gaps:
        return {}
    points = [own[1] for own in gaps]
    return {
        "defaults_gap_points": round(max(points), 2),
        "defaults_mean_gap_points": round(fmean(points), 2),
        "defaults_cells": len(gaps),
    }


def table(cells: Iterable[Cell]) -> str:
    """Test scores of every setting, with the gap."""
    found = by_cell(cells)
    others = {name for own in found.values() for name in own} - {USUAL}
    names = [USUAL, *sorted(others)]
    shown = ["usual", *(name.replace("_", " ") for name in names[1:])]
    lines = [
        "| model, task | " + " | ".join(shown) + " | best by dev | its gain, points |",
        "|" + "---|" * (len(names) + 3),
    ]
    for (model, task), own in sorted(found.items()):
        scores = [f"{own[name]['score']:.3f}" if name in own else "" for name in names]
        told = gap(own)
        best = ["", ""]
        if told is not None:
            name, points, low, high = told
            words = "usual" if name == USUAL else name.replace("_", " ")
            best = [words, f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"]
        lines.append("| " + " | ".join([f"{model}, {task}", *scores, *best]) + " |")
    return "\n".join(lines) + "\n"
