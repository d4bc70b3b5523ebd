"""What soft prompts do on real pretrained models, beside every baseline that needs no training.

Run from the root of the repository:
    python -m benchmarks.real_models.fetch
    python -m benchmarks.real_models.run --data FOLDER

Tuned prompts are kept in build/real_models and finished cells in results/cells.jsonl. A run can be
stopped at any time: the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from benchmarks._command import measured
from benchmarks._result import ROOT, environment, write_summary
from benchmarks.real_models.cells import (
    BASELINES,
    TUNED,
    Laboratory,
    Place,
    Setting,
    book_of,
)
from benchmarks.real_models.models import missing_models, model_path, open_model
from benchmarks.real_models.table import summarise, write_table
from benchmarks.real_models.tasks import (
    LAMA,
    NLU,
    Limits,
    known_tasks,
    laboratory_tasks,
)

from promptport.backbone import Backbone
from promptport.cli.console.progress import duration
from promptport.errors import BackboneError, PromptPortError
from promptport.experiments.pretrained import MODELS, models_folder
from promptport.experiments.result_store import Cell
from promptport.progress import stage
from promptport.tasks import Task
from promptport.tuning.label_prior import has_prior

RESULTS = Path(__file__).resolve().parent / "results"
WORK = ROOT / "build" / "real_models"

# How each way is tuned: the one place to change it. Cells of other settings do not count.
SETTINGS: Mapping[str, Setting] = {
    "tuned": Setting(),
    "tuned_suffix": Setting(place="behind"),
    "tuned_mixture": Setting(origin="mixture"),
}

# The most telling cells come first.
PARTS: Mapping[str, tuple[str, ...]] = {
    "baselines": tuple(way for way in BASELINES if way != "random"),
    "suffix": ("tuned_suffix",),
    "random": ("random",),
    "tuned": ("tuned",),
    "generation": (*BASELINES, "tuned_suffix", "tuned"),
    "mixture": ("tuned_mixture",),
}

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing; the summary and the table follow every cell.

    Returns:
        0, or 1 where something is missing or a cell could not be measured.
    """
    return measured(_run, _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with nlu/ and lama/")
    add("--models", type=Path, default=models_folder(), help="folder with NAME or NAME.gguf")
    add("--model", nargs="*", default=list(MODELS), choices=MODELS, metavar="MODEL")
    add("--task", nargs="*", default=[], help=f"none: all; {', '.join(known_tasks())}")
    add("--part", nargs="*", default=list(PARTS), choices=PARTS, metavar="PART", help="of the run")
    add("--seed", type=int, nargs="*", default=[0, 1, 2])
    add("--together", action="store_true", help="tune the prompts of all seeds in one run")
    add("--train", type=int, default=usual.train, help="most training rows")
    add("--dev", type=int, default=usual.dev, help="most dev rows")
    add("--test", type=int, default=usual.test, help="most test rows")
    add("--updates", type=int, help="of tuning, about so many")
    add("--results", type=Path, default=RESULTS)
    add("--work", type=Path, default=WORK, help="folder of tuned prompts and unfinished runs")
    return parser


def _run(given: argparse.Namespace) -> int:
    """Measure what is missing.

    Returns:
        How many cells could not be measured.

    Raises:
        PromptPortError: models or data are not there.
    """
    torch.set_flush_denormal(True)
    check_models(given.model, given.models)
    limits = Limits(given.train, given.dev, given.test)
    names = given.task or _names_of(given.part)
    tasks = laboratory_tasks(given.data, limits, names)
    recorded = environment(given.results)
    settings = settings_of(given.updates)
    book = book_of(given.results / "cells.jsonl", limits, settings)
    together = given.seed if given.together else ()
    laboratory = Laboratory(book, settings, given.work, together)
    places = in_order(given.part, given.model, tasks, given.seed, together=given.together)
    recorded |= {"limits": asdict(limits), "settings": {k: asdict(v) for k, v in settings.items()}}

    def written() -> None:
        # Read again: another run may have written cells of other models meanwhile.
        cells = book_of(given.results / "cells.jsonl", limits, settings).rows
        figures = summarise(cells) | figures_of_parts(given.results)
        write_summary(given.results, figures, recorded)
        write_table(given.results / "table.md", cells)

    written()
    return measure_all(laboratory, places, given.models, written)


def figures_of_parts(results: Path) -> dict[str, float]:
    """The figures of other comparisons, each with a folder and a `summary.json` of its own."""
    found: dict[str, float] = {}
    for path in sorted(results.glob("*/summary.json")):
        found |= json.loads(path.read_text())
    return found


def check_models(names: Sequence[str], folder: Path) -> None:
    """Refuse a folder that lacks one of the models.

    Raises:
        BackboneError: one line, with the command that gets them.
    """
    missing = []
    for name in names:
        try:
            model_path(name, folder)
        except BackboneError:
            missing.append(name)
    if missing:
        raise missing_models(missing, folder)


def settings_of(updates: int | None) -> dict[str, Setting]:
    """The settings of every way, with another number of updates if one is given."""
    if updates is None:
        return dict(SETTINGS)
    return {way: replace(setting, updates=updates) for way, setting in SETTINGS.items()}


def _names_of(parts: Sequence[str]) -> list[str]:
    """Tasks of some parts: all, or those that are made here."""
    made = [name for name in known_tasks() if name not in (*NLU, *LAMA)]
    return made if list(parts) == ["generation"] else list(known_tasks())


def in_order(
    parts: Sequence[str],
    models: Sequence[str],
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    together: bool = False,
) -> list[Place]:
    """The cells of a run, the most telling first.

    They come part by part, in each seed by seed, and model by model so that each is opened once.
    Text-to-text tasks belong to the part `generation`, all others to the other parts.

    Args:
        parts: names in `PARTS`.
        models: names.
        tasks: with the rows that are used.
        seeds: of tuned and random prompts.
        together: the seeds of a tuned cell follow each other.
    """
    found: dict[tuple[str, str, str, int], Place] = {}
    for part in (part for part in PARTS if part in parts):
        own = [t for t in tasks if (t.kind == "text2text") == (part == "generation")]
        for group in [seeds] if together else [[seed] for seed in seeds]:
            for model, way, task, seed in product(models, PARTS[part], own, group):
                at = seed if way in ("random", *TUNED) else 0
                if exists(way, task):
                    found.setdefault((model, task.name, way, at), Place(model, task, way, at))
    # Further random prompts say little: they come last.
    later = {seed: i for i, seed in enumerate(seeds)}
    return sorted(found.values(), key=lambda p: later[p.seed] if p.way == "random" else 0)


def exists(way: str, task: Task) -> bool:
    """Whether a task has a manual template, or one whose label prior can be taken off."""
    if way == "manual":
        return task.manual is not None
    return way != "manual_prior" or (task.manual is not None and has_prior(task))


def measure_all(
    laboratory: Laboratory,
    places: Sequence[Place],
    folder: Path,
    written: Callable[[], None],
    say: Say = lambda line: print(line, file=sys.stderr, flush=True),
) -> int:
    """Measure the cells that are missing.

    Args:
        laboratory: measures them.
        places: in their order.
        folder: of the models.
        written: called after every new cell.
        say: takes a line on each.

    Returns:
        How many could not be measured; each is told in a line, and the others go on.
    """
    missing = [place for place in places if laboratory.known(place) is None]
    say(f"{len(places) - len(missing)} of {len(places)} cells are there")
    clock = Clock(laboratory.book.rows)
    failed = 0
    opened: tuple[str, Backbone] | None = None
    for number, place in enumerate(missing):
        if laboratory.known(place) is not None:  # the manual template gives two at once
            continue
        try:
            if place.way == "majority" and place.task.kind != "probe":
                cell = laboratory.measure_majority(place)
            else:
                if opened is None or opened[0] != place.model:
                    opened = None  # one model in memory at a time
                    say(f"opening {place.model}")
                    opened = (place.model, open_model(place.model, folder))
                kind = "folder" if model_path(place.model, folder).is_dir() else "gguf"
                with stage(str(place)):
                    cell = laboratory.measure(opened[1], place, kind)
        except PromptPortError as error:
            failed += 1
            say(f"left out, {place}: {error}")
            continue
        clock.took(cell)
        written()
        left = clock.left(missing[number + 1 :])
        about = f"; about {duration(left)} left" if left is not None else ""
        say(
            f"{number + 1}/{len(missing)} {place}: {cell['score']:.3f} "
            f"in {cell['seconds']:.0f} s{about}"
        )
    return failed


class Clock:
    """How long the cells that are missing will take, by those of the same model and way.

    Args:
        cells: finished ones.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}
        for cell in cells:
            self.took(cell)

    def took(self, cell: Cell) -> None:
        """Count a finished cell."""
        self.seconds.setdefault((cell["model"], cell["way"]), []).append(cell["seconds"])

    def left(self, places: Sequence[Place]) -> float | None:
        """Seconds of some cells; None while nothing alike has been measured."""
        guesses = [self._guess(place.model, place.way) for place in places]
        return None if None in guesses else sum(g for g in guesses if g is not None)

    def _guess(self, model: str, way: str) -> float | None:
        """Of the same model and way, else of the same way on other models, else of any tuning."""
        if (model, way) in self.seconds:
            return fmean(self.seconds[model, way])
        alike = [s for (_, other), known in self.seconds.items() if other == way for s in known]
        if not alike and way in TUNED:
            alike = [
                s for (_, other), known in self.seconds.items() if other in TUNED for s in known
            ]
        return fmean(alike) if alike else None


if __name__ == "__main__":
    sys.exit(main())
