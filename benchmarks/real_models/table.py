"""From cells to figures and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from promptport.experiments.result_store import Cell, unpacked

WAYS = {  # way -> its name in tables
    "majority": "majority",
    "no_prompt": "no prompt",
    "manual": "manual",
    "manual_prior": "manual, prior off",
    "random": "random",
    "tuned": "tuned, in front",
    "tuned_suffix": "tuned, behind the text",
    "tuned_mixture": "tuned as a mixture",
}
PLACES = ("tuned", "tuned_suffix")  # a free prompt in front of the text, or behind it
MARGIN = 0.03  # what a prompt should gain over the template that needs no labels
RESAMPLES = 1000

Key = tuple[str, str]  # model, task
Seeds = Mapping[Key, Mapping[str, list[Cell]]]  # way -> a cell for each seed


def by_place(cells: Iterable[Cell]) -> dict[Key, dict[str, list[Cell]]]:
    """Cells of every model and task by way, in the order of seeds; the later of two counts."""
    latest = {(c["model"], c["task"], c["way"], c["seed"]): c for c in cells}
    found: dict[Key, dict[str, list[Cell]]] = {}
    for (model, task, way, _), cell in sorted(latest.items(), key=lambda item: item[0]):
        found.setdefault((model, task), {}).setdefault(way, []).append(cell)
    return found


def score_of(cells: Sequence[Cell]) -> tuple[float, float, float]:
    """Mean over seeds, with the 95% interval over rows: seeds share their rows.

    A score that is no share of rows has the mean of the ends of its seeds' intervals.
    """
    rows = rows_of(cells)
    if len(cells) == 1 or rows is None:
        score, low, high = (fmean(cell[end] for cell in cells) for end in ("score", "low", "high"))
        return score, low, high
    return bootstrap_mean(rows)


def rows_of(cells: Sequence[Cell]) -> Any | None:
    """(R,) per row the share of seeds that are right; None if scores are no shares of rows."""
    if any(cell["right"] is None for cell in cells):
        return None
    return np.mean([unpacked(cell["right"]) for cell in cells], axis=0)


def bootstrap_mean(rows: Any) -> tuple[float, float, float]:
    """Mean of some rows with its 95% percentile interval."""
    drawn = np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))
    low, high = np.quantile(rows[drawn].mean(1), [0.025, 0.975])
    return float(rows.mean()), float(low), float(high)


def template_of(ways: Mapping[str, Sequence[Cell]]) -> Sequence[Cell]:
    """The manual template, with its prior off where it has one; nothing without any."""
    return ways.get("manual_prior") or ways.get("manual") or ()


def chosen(ways: Mapping[str, Sequence[Cell]]) -> str | None:
    """The place of a free prompt with the higher dev score; None without any tuned."""
    there = [way for way in PLACES if ways.get(way)]
    return max(there, key=lambda way: fmean(c["dev"] for c in ways[way])) if there else None


def gain(ways: Mapping[str, Sequence[Cell]], way: str | None) -> tuple[float, float, float] | None:
    """What a tuned way gains over the template of `template_of`, with its interval over rows.

    The interval of scores that are no shares of rows is not known: its ends are the gain.
    """
    template = template_of(ways)
    if way is None or not ways.get(way) or not template:
        return None
    own, other = rows_of(ways[way]), rows_of(template)
    if own is None or other is None or len(own) != len(other):
        difference = score_of(ways[way])[0] - score_of(template)[0]
        return difference, difference, difference
    return bootstrap_mean(own - other)


def summarise(cells: Iterable[Cell]) -> dict[str, float]:
    """The figures of `summary.json`."""
    found = by_place(cells)
    tuned = [c for ways in found.values() for way in WAYS for c in ways.get(way, ())]
    seeds = {c["seed"] for c in tuned if c["way"].startswith("tuned")}
    summary: dict[str, float] = {
        "models": len({model for model, _ in found}),
        "tasks": len({task for _, task in found}),
        "seeds": len(seeds),
        "cells": len(tuned),
    }
    for (model, task), ways in found.items():
        for way in WAYS:
            if ways.get(way):
                summary[f"{model}.{task}.{way}"] = round(score_of(ways[way])[0], 4)
    return summary | _shares(found)


def _shares(found: Seeds) -> dict[str, float]:
    """In how many cells a tuned prompt gains 3 points over the template that needs no labels."""
    gains: dict[str, list[float]] = {}
    for ways in found.values():
        for name, way in (("", chosen(ways)), *((f"{way}.", way) for way in PLACES)):
            if (told := gain(ways, way)) is not None:
                gains.setdefault(name, []).append(told[0])
    figures = {}
    for name, values in gains.items():
        share = fmean(value >= MARGIN - 1e-9 for value in values)
        figures[f"{name}share_of_cells_above_manual_prior_by_3_points"] = round(share, 4)
        figures[f"{name}gain_over_manual_prior"] = round(fmean(values), 4)
        figures[f"{name}compared_cells"] = len(values)
    return figures


def table(cells: Iterable[Cell]) -> str:
    """One table for each model."""
    found = by_place(cells)
    parts = []
    for model in dict.fromkeys(model for model, _ in found):
        tasks = {task: ways for (name, task), ways in found.items() if name == model}
        parts.append(f"## {model}\n\n{_model_table(tasks)}")
    return "\n".join(parts)


def _model_table(tasks: Mapping[str, Mapping[str, Sequence[Cell]]]) -> str:
    there = [way for way in WAYS if any(ways.get(way) for ways in tasks.values())]
    head = ["task", "rows", *(WAYS[way] for way in there), "gain"]
    lines = [_line(head), _line(["---"] * len(head))]
    for task, ways in tasks.items():
        rows = max(c["rows"] for cells in ways.values() for c in cells)
        scores = [_score(ways.get(way, ())) for way in there]
        lines.append(_line([task, str(rows), *scores, _gain(ways)]))
    return "\n".join(lines) + "\n"


def _score(cells: Sequence[Cell]) -> str:
    if not cells:
        return ""
    value, low, high = score_of(cells)
    seeds = f" ({len(cells)} seeds)" if len(cells) > 1 else ""
    return f"{value:.3f} [{low:.2f}, {high:.2f}]{seeds}"


def _gain(ways: Mapping[str, Sequence[Cell]]) -> str:
    told = gain(ways, chosen(ways))
    return "" if told is None else f"{told[0]:+.3f} [{told[1]:+.2f}, {told[2]:+.2f}]"


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
