"""What came out of the runs of recipes that are kept: a few figures of each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from promptport.analysis.statistics import bootstrap_difference
from promptport.experiments.result_store import unpacked

Cells = list[dict[str, Any]]
_BEST = "distill"  # the way to combine prompts that is to lose none


def outcomes(runs: Path) -> dict[str, Any]:
    """Figures by name, of those runs that are there.

    Args:
        runs: folder with a run of each recipe, under the recipe's name.
    """
    transfer = _cells(runs / "zero-shot-transfer/transfer")
    found: dict[str, Any] = {}
    for method in ("paper", "move"):
        found[f"nano_moved_{method}"] = _mean(_scores(transfer, "transfer", method))
    found["nano_moved_tuned_there"] = _mean(_scores(transfer, "tune", "free"))
    where = "task-prompt-vectors"
    for model, folder in (("nano", "cross-origin"), ("real", "real")):
        cells = _cells(runs / where / folder)
        for name, method in (("_paper", "one_origin"), ("", "widened")):
            found[f"{model}_own_to_other{name}"] = _mean(_shares(cells, method))
    for model, folder in (("nano", "pairs"), ("real", "real")):
        found |= _pairs(model, _cells(runs / where / folder))
    found |= _few_shot(_cells(runs / where / "real"))
    return {name: value for name, value in found.items() if value is not None}


def _cells(run: Path) -> Cells:
    files = sorted((run / "cells").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 3) if values else None


def _of(cells: Cells, kind: str, method: str) -> Iterable[dict[str, Any]]:
    return (c for c in cells if c["kind"] == kind and c["place"]["method"] == method)


def _scores(cells: Cells, kind: str, method: str) -> list[float]:
    return [cell["values"]["score"] for cell in _of(cells, kind, method)]


def _shares(cells: Cells, method: str) -> list[float]:
    """What vectors keep on other origins of the score on their own."""
    return [c["values"]["kept"] for c in _of(cells, "origins", method) if c["values"]["kept"]]


def _pairs(model: str, cells: Cells) -> dict[str, Any]:
    """Of pairs that were combined by the paper's way and by ours: how many lose a task.

    A task is lost if it keeps less than 80% of the score of its own prompt.
    """
    lost: dict[str, dict[str, float]] = defaultdict(dict)
    for method in ("paper", _BEST):
        for cell in _of(cells, "sum", method):
            key = json.dumps([cell["place"]["backbone"], cell["place"]["tasks"]])
            lost[key][method] = max(lost[key].get(method, 0.0), cell["values"]["lost"])
    both = [each for each in lost.values() if len(each) == 2]
    if not both:
        return {}
    return {
        f"{model}_pairs": len(both),
        f"{model}_pairs_wiped_paper": int(sum(each["paper"] for each in both)),
        f"{model}_pairs_wiped_best": int(sum(each[_BEST] for each in both)),
    }


def _few_shot(cells: Cells) -> dict[str, Any]:
    """In how many settings `adapt` is behind another start, row by row and beyond noise."""
    settings: dict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for cell in cells:
        if cell["kind"] == "few_shot" and cell["values"]["right"] is not None:
            place = {**cell["place"], "method": None}
            rows = [float(bit) for bit in unpacked(cell["values"]["right"])]
            settings[json.dumps(place, sort_keys=True)][cell["place"]["method"]] = rows
    whole = [each for each in settings.values() if "adapt" in each and len(each) > 1]
    if not whole:
        return {}
    losses = sum(
        any(
            bootstrap_difference(each["adapt"], rows).high < 0
            for method, rows in each.items()
            if method != "adapt"
        )
        for each in whole
    )
    return {"real_fewshot_settings": len(whole), "real_fewshot_losses": losses}
