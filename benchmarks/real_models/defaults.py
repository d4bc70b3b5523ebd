"""Are the usual settings of tuning close to the best of a small grid, on every model and task?

Run from the root of the repository:
    python -m benchmarks.real_models.defaults --data FOLDER

Every setting of the grid differs from the base in one thing. One of them was chosen as the usual
one. The best of the grid is the one with the highest dev score; the gap is what it has more than
the usual one on the test rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from benchmarks._command import measured
from benchmarks._result import environment, write_summary
from benchmarks.real_models.cells import Laboratory, Place, Setting, book_of
from benchmarks.real_models.models import model_path, open_model
from benchmarks.real_models.run import RESULTS, WORK, check_models
from benchmarks.real_models.table import bootstrap_mean
from benchmarks.real_models.tasks import Limits, laboratory_tasks, short_name

from promptport.experiments.pretrained import MODELS, models_folder
from promptport.experiments.result_store import Cell, unpacked
from promptport.files import write_atomic
from promptport.tasks import Task

BASE, USUAL = "base", "rate x 2"
TASKS = ("sst2", "ag_news", "trec", "subj", "dbpedia", "rte")


def grid(updates: int) -> dict[str, Setting]:
    """The settings by name; the base first."""
    base = Setting(place="behind", updates=updates, relative_lr=0.1)
    return {
        BASE: base,
        "rate x 0.5": replace(base, relative_lr=base.relative_lr / 2),
        USUAL: replace(base, relative_lr=base.relative_lr * 2),
        "5 virtual tokens": replace(base, length=5),
        "20 virtual tokens": replace(base, length=20),
        "8 rows an update": replace(base, batch=8),
        "constant rate": replace(base, schedule="constant"),
        "starts from label words": replace(base, origin="labels"),
        "starts from a text": replace(base, origin="text:What is said here, in one word, is that"),
        "in front": replace(base, place="front"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing.

    Returns:
        0, or 1 where something is missing.
    """
    return measured(_run, _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with nlu/ and lama/")
    add("--models", type=Path, default=models_folder(), help="folder with NAME or NAME.gguf")
    add("--model", nargs="*", default=list(MODELS), choices=MODELS, metavar="MODEL")
    add("--task", nargs="*", default=list(TASKS))
    add("--setting", nargs="*", default=list(grid(1)), choices=grid(1), metavar="SETTING")
    add("--updates", type=int, default=100)
    add("--train", type=int, default=480)
    add("--dev", type=int, default=160)
    add("--test", type=int, default=300)
    add("--results", type=Path, default=RESULTS / "defaults")
    add("--work", type=Path, default=WORK / "defaults")
    return parser


def _run(given: argparse.Namespace) -> int:
    torch.set_flush_denormal(True)
    check_models(given.model, given.models)
    limits = Limits(given.train, given.dev, given.test)
    tasks = laboratory_tasks(given.data, limits, given.task)
    settings = grid(given.updates)
    recorded = environment(given.results) | {
        "limits": asdict(limits),
        "settings": {name: asdict(setting) for name, setting in settings.items()},
    }
    given.results.mkdir(parents=True, exist_ok=True)
    laboratory = Laboratory(
        book_of(given.results / "cells.jsonl", limits, settings), settings, given.work
    )

    def written() -> None:
        write_summary(given.results, summarise(laboratory.book.rows), recorded)
        write_atomic(given.results / "table.md", table(laboratory.book.rows).encode())

    written()
    for model in given.model:
        _measure(laboratory, model, tasks, given, written)
    return 0


def _measure(
    laboratory: Laboratory,
    model: str,
    tasks: Iterable[Task],
    given: argparse.Namespace,
    written: Callable[[], None],
) -> None:
    """All settings of a model, task by task: they share the keys and values of its texts."""
    places = [[Place(model, task, way, 0) for way in given.setting] for task in tasks]
    if all(laboratory.known(place) is not None for own in places for place in own):
        return
    backbone = open_model(model, given.models)
    kind = "folder" if model_path(model, given.models).is_dir() else "gguf"
    for own in places:
        with backbone.keeping_texts():
            for place in own:
                if laboratory.known(place) is None:
                    cell = laboratory.measure(backbone, place, kind)
                    print(
                        f"{model} {short_name(place.task)}, {place.way}: dev {cell['dev']:.3f}, "
                        f"test {cell['score']:.3f}, {cell['seconds']:.0f} s",
                        file=sys.stderr,
                        flush=True,
                    )
                    written()


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


def summarise(cells: Iterable[Cell]) -> dict[str, float]:
    """`defaults_gap_points`: the worst gap; and the mean one."""
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
    names = list(grid(1))
    lines = [
        "| model, task | " + " | ".join(names) + " | best by dev | its gain, points |",
        "|" + "---|" * (len(names) + 3),
    ]
    for (model, task), own in sorted(found.items()):
        scores = [f"{own[name]['score']:.3f}" if name in own else "" for name in names]
        told = gap(own)
        best = ["", ""]
        if told is not None:
            name, points, low, high = told
            best = [name, f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"]
        lines.append("| " + " | ".join([f"{model}, {task}", *scores, *best]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
