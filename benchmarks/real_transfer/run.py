"""What is left of a prompt that moves from one pretrained model to another, in many ways.

Run from the root of the repository, after `benchmarks.real_models.fetch`:
    python -m benchmarks.real_transfer.run --data FOLDER

Source prompts, the prompts tuned on targets and all baselines are cells of `real_models`, measured
there if they are missing. A run can be stopped: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from benchmarks._command import measured
from benchmarks._result import environment, write_summary
from benchmarks.real_models.cells import Laboratory, Place, book_of
from benchmarks.real_models.models import model_path, open_model
from benchmarks.real_models.run import RESULTS as LABORATORY
from benchmarks.real_models.run import SETTINGS, WORK, check_models
from benchmarks.real_models.tasks import Limits, laboratory_tasks, short_name
from benchmarks.real_transfer.table import summarise, table
from benchmarks.real_transfer.ways import COLUMNS, STAGES, VALUES, Way, measure

from promptport.backbone import Backbone
from promptport.distillation.starts import LARGE_BUDGET
from promptport.experiments.pretrained import MODELS, models_folder
from promptport.experiments.result_store import Cell, ResultStore, stamp_of, task_stamp
from promptport.files import write_atomic
from promptport.progress import stage
from promptport.tasks import Task

RESULTS = Path(__file__).resolve().parent / "results"
TASKS = ("sst2", "ag_news", "trec", "subj", "dbpedia", "rte")
TUNED = "tuned_suffix"  # how source and target are tuned
BASELINES = ("majority", "no_prompt", "manual_prior", TUNED)  # on the target
# Settings were chosen on these cells; they are reported apart.
DEVELOPED = {("smollm2-135m", "gemma3-270m", task) for task in ("sst2", "trec")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing.

    Returns:
        0, or 1 where something is missing.
    """
    return measured(_run, _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    pairs = [f"{a}:{b}" for a, b in permutations(MODELS, 2)]
    add("--data", type=Path, help="folder with nlu/ and lama/")
    add("--models", type=Path, default=models_folder(), help="folder with NAME or NAME.gguf")
    add("--pair", nargs="*", default=pairs, choices=pairs, metavar="SOURCE:TARGET")
    add("--task", nargs="*", default=list(TASKS))
    add("--way", nargs="*", default=list(COLUMNS), choices=[*COLUMNS, *STAGES], metavar="WAY")
    add("--seed", type=int, nargs="*", default=[0])
    add("--test", type=int, default=usual.test, help="most test rows")
    add("--results", type=Path, default=RESULTS)
    add("--laboratory", type=Path, default=LABORATORY, help="results of real_models")
    add("--work", type=Path, default=WORK, help="folder of tuned prompts")
    return parser


class Moves:
    """Cells of moved prompts, and those of `real_models` that they are compared with.

    Args:
        given: options of the command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.limits = Limits(test=given.test)
        self.laboratory = Laboratory(
            book_of(given.laboratory / "cells.jsonl", self.limits, SETTINGS), SETTINGS, given.work
        )
        self.book = ResultStore(given.results / "cells.jsonl", self._stamp, *VALUES)
        self._open: dict[str, Backbone] = {}

    def _stamp(self, cell: Mapping[str, Any]) -> str:
        """Of the models, the rows, how source prompts were tuned and how they were moved."""
        way = {**COLUMNS, **STAGES}.get(cell["way"])
        models = [MODELS[cell[side]].sha256 for side in ("source", "target")]
        settings = [asdict(self.limits), asdict(SETTINGS[TUNED]), asdict(LARGE_BUDGET)]
        return stamp_of(models, settings, way and asdict(way))

    def model(self, name: str) -> Backbone:
        """A model, loaded."""
        if name not in self._open:
            self._open[name] = open_model(name, self.given.models)
        return self._open[name]

    def close(self) -> None:
        """Let the models go."""
        self._open.clear()

    def on(self, name: str, task: Task, way: str, seed: int) -> Cell:
        """A cell of `real_models`, which is measured if it is missing."""
        place = Place(name, task, way, seed if way == TUNED else 0)
        known = self.laboratory.known(place)
        if known is not None:
            return known
        if way == "majority":
            return self.laboratory.measure_majority(place)
        kind = "folder" if model_path(name, self.given.models).is_dir() else "gguf"
        with stage(str(place)):
            return self.laboratory.measure(self.model(name), place, kind)

    def moved(self, source: str, target: str, task: Task, way: str, seed: int) -> Cell:
        """A cell of a moved prompt."""
        place = {
            "source": source,
            "target": target,
            "task": short_name(task),
            "way": way,
            "seed": seed,
            "data": task_stamp(task, "test"),
        }
        if not self.book.has(**place):
            self.on(source, task, TUNED, seed)
            prompt = self.laboratory.tuned(self.model(source), Place(source, task, TUNED, seed))
            how: Way = {**COLUMNS, **STAGES}[way]
            models = self.model(source), self.model(target)
            with stage(f"{source} to {target}, {short_name(task)}, {way}, seed {seed}"):
                self.book.add(measure(how, prompt, *models, task, seed), **place)
        return self.book.get(**place) or {}


def _run(given: argparse.Namespace) -> int:
    torch.set_flush_denormal(True)
    names = sorted({name for pair in given.pair for name in pair.split(":")})
    check_models(names, given.models)
    moves = Moves(given)
    tasks = laboratory_tasks(given.data, moves.limits, given.task)
    recorded = environment(given.results) | {"limits": asdict(moves.limits)}
    recorded["settings"] = asdict(SETTINGS[TUNED])
    recorded["ways"] = {name: asdict(way) for name, way in {**COLUMNS, **STAGES}.items()}
    given.results.mkdir(parents=True, exist_ok=True)

    def written() -> None:
        cells, known = moves.book.rows, moves.laboratory.book.rows
        write_summary(given.results, summarise(cells, known, DEVELOPED), recorded)
        write_atomic(given.results / "table.md", table(cells, known, DEVELOPED).encode())

    written()
    for pair in given.pair:
        source, target = pair.split(":")
        for task in tasks:
            for seed in given.seed:
                for way in given.way:
                    cell = moves.moved(source, target, task, way, seed)
                    print(_line(cell), file=sys.stderr, flush=True)
                    written()
                for way in BASELINES:
                    moves.on(target, task, way, seed)
                written()
        moves.close()
    return 0


def _line(cell: Cell) -> str:
    same = "" if cell.get("same") is None else f", equal answers {cell['same']:.2f}"
    where = f"{cell['source']} to {cell['target']}, {cell['task']}, {cell['way']}"
    return f"{where}: {cell['score']:.3f}{same}, {cell['processor']:.0f} s of processor time"


if __name__ == "__main__":
    sys.exit(main())
