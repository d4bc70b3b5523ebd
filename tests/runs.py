"""Folders of runs as `promptport run` leaves them, made of drawn numbers, for tests of reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from promptport.records import packed
from promptport.tasks.metrics import wilson

MODELS = ("nano-bert", "nano-roberta", "nano-albert")
METHODS = {"paper": 0.45, "least-squares": 0.55, "mixture": 0.72}  # share of right rows
TASKS = ("sentiment", "topic")
SEEDS = (0, 1, 2)
STARTS = {"random": 0.0, "best single": 0.08, "sum": 0.12, "adapt": 0.15}
ROWS = 200  # of a test split
ENVIRONMENT = {
    "promptport": "0.1.0",
    "python": "3.11.9",
    "torch": "2.13.0",
    "transformers": "5.20.0",
    "platform": "Linux-6.8-x86_64",
    "processor": "Example CPU 2.0 GHz",
    "cores": 2,
}
REPORT = {
    "tables": [
        {
            "name": "transfer",
            "title": "Zero-shot transfer between models",
            "of": {"kind": "transfer"},
            "rows": ["source", "target"],
            "columns": "method",
            "value": "score",
            "scale": 100,
            "compare_to": "paper",
            "best": "max",
        },
        {
            "name": "tuned",
            "title": "Tuned on the model itself",
            "of": {"kind": "tune"},
            "rows": ["target"],
            "columns": "task",
            "over": ["seed"],
            "note": "The bound for every transfer",
        },
    ],
    "figures": [
        {
            "name": "heat",
            "title": "Scores of mixture prompts by source and target",
            "figure": "heat_map",
            "of": {"kind": "transfer", "method": "mixture"},
            "rows": ["source"],
            "columns": "target",
            "value": "score",
        },
        {
            "name": "cosines",
            "title": "Cosines of task vectors",
            "figure": "heat_map",
            "of": {"kind": "cosine"},
            "rows": ["task"],
            "columns": "other",
            "value": "cosine",
        },
        {
            "name": "few-shot",
            "title": "Few labelled rows",
            "figure": "curves",
            "of": {"kind": "few-shot"},
            "x": "rows",
            "lines": "start",
            "value": "score",
        },
        {
            "name": "kept",
            "title": "Share of the tuned score that a transfer keeps",
            "figure": "bars",
            "of": {"kind": "transfer"},
            "rows": ["method", "target"],
            "value": "score",
            "relative_to": {"kind": "tune"},
        },
        {
            "name": "loss",
            "title": "Matching loss against score",
            "figure": "scatter",
            "of": {"kind": "transfer"},
            "x": "loss",
            "y": "score",
            "colour": "method",
        },
    ],
    "published": [
        {
            "table": "transfer",
            "row": ["bert-base-cased", "roberta-base"],
            "column": "paper",
            "value": 0.1768,
            "source": "arXiv 2310.01691, Table 2",
            "model": "roberta-base",
        },
        {
            "table": "transfer",
            "row": ["bert-base-cased", "bert-large-cased"],
            "column": "paper",
            "value": 0.314,
            "source": "arXiv 2310.01691, Table 2",
            "model": "bert-large-cased",
        },
    ],
}


def grid() -> Iterator[tuple[str, dict[str, Any]]]:
    """Kinds and places of all cells."""
    for seed in SEEDS:
        for task in TASKS:
            for target in MODELS:
                yield "tune", {"target": target, "task": task, "seed": seed}
            for source in MODELS:
                for target in MODELS:
                    for method in METHODS:
                        if source != target:
                            yield (
                                "transfer",
                                {
                                    "source": source,
                                    "target": target,
                                    "task": task,
                                    "method": method,
                                    "seed": seed,
                                },
                            )
        for start in STARTS:
            for rows in (0, 5, 10, 25, 50, 100):
                yield "few-shot", {"start": start, "rows": rows, "seed": seed}
    for task in ("sentiment", "topic", "subjectivity", "capital"):
        for other in ("sentiment", "topic", "subjectivity", "capital"):
            yield "cosine", {"task": task, "other": other}


def identity(kind: str, place: dict[str, Any]) -> str:
    """The id of a cell: 16 digits of what it is."""
    text = json.dumps([kind, place], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:16]


def share_of(kind: str, place: dict[str, Any]) -> float:
    """How many rows are right on average."""
    if kind == "transfer":
        hard = 0.08 * MODELS.index(place["target"]) + 0.1 * TASKS.index(place["task"])
        return METHODS[place["method"]] - hard
    if kind == "few-shot":
        return 0.55 + 0.06 * np.log1p(place["rows"]) + STARTS[place["start"]] / (1 + place["rows"])
    return 0.85 - 0.03 * MODELS.index(place["target"])


def measured(kind: str, place: dict[str, Any], share: float) -> dict[str, Any]:
    """Values of a cell: rows are as hard for every cell of a task."""
    rng = np.random.default_rng(int(identity(kind, place), 16))
    if kind == "cosine":
        same = place["task"] == place["other"]
        return {"cosine": 1.0 if same else round(float(rng.normal(0.1, 0.25)), 5)}
    task = str(place.get("task", "new"))
    hard = np.random.default_rng(int(sha256(task.encode()).hexdigest()[:8], 16)).normal(size=ROWS)
    draw = 0.6 * hard + 0.8 * rng.normal(size=ROWS)
    right = draw <= np.quantile(draw, min(0.99, share + rng.normal(0, 0.015)))
    score = round(float(right.mean()), 5)
    low, high = wilson(score, ROWS)
    values = {"score": score, "low": low, "high": high, "rows": ROWS, "metric": "accuracy"}
    values["right"] = packed(right.tolist())
    if kind == "transfer":
        values["loss"] = round(1.2 - score + float(rng.normal(0, 0.08)), 5)
    return values


def make_run(
    folder: Path,
    *,
    failed: int = 2,
    missing: int = 3,
    better: dict[str, float] | None = None,
    **changes: Any,
) -> Path:
    """Write the folder of a run.

    Args:
        folder: made here.
        failed: number of cells that failed: the last transfers.
        missing: number of cells that were never run: the last few-shot ones.
        better: method -> what is added to its share of right rows.
        changes: keys of recipe.json.
    """
    for name in ("cells", "failed"):
        (folder / name).mkdir(parents=True)
    cells = [{"id": identity(k, p), "kind": k, "place": p} for k, p in grid()]
    transfers = [cell["id"] for cell in cells if cell["kind"] == "transfer"]
    few = [cell["id"] for cell in cells if cell["kind"] == "few-shot"]
    lost = set(transfers[len(transfers) - failed :])
    never = set(few[len(few) - missing :])
    for number, cell in enumerate(cells):
        kind, place = cell["kind"], cell["place"]
        if cell["id"] in never:
            continue
        if cell["id"] in lost:
            why = "RuntimeError: expected finite logits, got nan"
            record = {**cell, "stamp": "0" * 16, "error": why, "attempts": 3}
            _write(folder / "failed" / f"{cell['id']}.json", record)
            continue
        share = 0.0 if kind == "cosine" else share_of(kind, place)
        share += (better or {}).get(str(place.get("method")), 0.0)
        _write(
            folder / "cells" / f"{cell['id']}.json",
            {
                **cell,
                "values": measured(kind, place, share),
                "stamp": "0" * 16,
                "seconds": 1.5 + number % 4,
                "processor_seconds": 2.5 + number % 5,
                "worker": f"local-{number % 2}",
                "attempt": 1,
                "finished": f"2026-11-29T18:{number // 60:02}:{number % 60:02}+00:00",
            },
        )
    recipe = {
        "name": "zero-shot-transfer/example",
        "question": "Does a prompt of one model serve another, by the embedding tables alone?",
        "command": "promptport run recipes/zero-shot-transfer/example.yaml --engine local",
        "expected": "mixture prompts keep most of the tuned score, the paper's search little",
        "time": "4 minutes on two cores",
        "reference": "arXiv 2310.01691, Table 2",
        "backbones": list(MODELS),
        "length": 5,
        "tuning": {"epochs": 8, "lr": 0.3},
        "cells": cells,
        "left_out": [
            {
                "place": {"source": "nano-bert", "target": "nano-t5", "method": "paper"},
                "why": "the two models share 12 words, the least is 32",
            }
        ],
        "report": REPORT,
        **changes,
    }
    _write(folder / "recipe.json", recipe)
    _write(folder / "environment.json", ENVIRONMENT)
    return folder


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def write_run(folder: Path, cells: list[tuple[str, dict[str, Any], Any]], **recipe: Any) -> Path:
    """Write the folder of a run of given cells.

    Args:
        folder: made here.
        cells: kind, place, and values; a text in their place is why the cell failed, None: missing.
        recipe: keys of recipe.json.
    """
    for name in ("cells", "failed"):
        (folder / name).mkdir(parents=True)
    asked = []
    for kind, place, values in cells:
        cell = {"id": identity(kind, place), "kind": kind, "place": place}
        asked.append(cell)
        if isinstance(values, str):
            _write(folder / "failed" / f"{cell['id']}.json", {**cell, "error": values})
        elif values is not None:
            _write(folder / "cells" / f"{cell['id']}.json", {**cell, "values": values})
    _write(folder / "recipe.json", {"name": "a run", "cells": asked, **recipe})
    return folder
