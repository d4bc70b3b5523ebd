"""What kinds of cells work with: backbones, tasks and prompts of one run, each opened once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from promptport.backbone import Backbone, silence_libraries
from promptport.evaluation import Evaluation
from promptport.experiments.pretrained import MODELS
from promptport.experiments.result_store import packed
from promptport.prompt import SoftPrompt
from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import Context
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.settings import Settings
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Score, Task, open_task, rightly_labelled
from promptport.tasks.data import SPLITS
from promptport.tasks.limiting import limited

_MOST_OPEN = 3  # backbones in memory: source, target, and the one that is likely to come next


class Bench:
    """One worker's backbones, tasks and prompts.

    Attributes:
        stamps: cell id -> digest of what it depends on, of the cells that are measured now.

    Args:
        folder: of the run.
        context: settings and methods of its recipe.
        data: folder with `lama/` and `nlu/`; None for none.
        models: folder of pretrained models by name; None for the usual one.
    """

    def __init__(
        self,
        folder: RunFolder,
        context: Context,
        data: Path | None = None,
        models: Path | None = None,
    ) -> None:
        self.folder, self.context, self.data, self.models = folder, context, data, models
        self.settings = context.settings
        self.stamps: Mapping[str, str] = {}
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._tasks: dict[str, Task] = {}
        silence_libraries()
        torch.set_flush_denormal(True)

    def backbone(self, name: str) -> Backbone:
        """A frozen model; a few of them stay open."""
        if name not in self._backbones:
            while len(self._backbones) >= _MOST_OPEN:
                self._backbones.popitem(last=False)
            self._backbones[name] = Backbone.load(model_place(name, self.models))
        self._backbones.move_to_end(name)
        return self._backbones[name]

    def task(self, name: str) -> Task:
        """A task with the rows that the recipe asks for."""
        if name not in self._tasks:
            opened = open_task(name, data_folder(name, self.data))
            self._tasks[name] = asked_rows(opened, self.settings)
        return self._tasks[name]

    def keep(self, cell: Cell, prompt: SoftPrompt) -> None:
        """Write the prompt of a cell, unless it is there: units are measured whole, and the cells
        of others may have read it."""
        place = self.folder.prompt(cell.id)
        if not place.is_dir():
            save_prompt(prompt, place)

    def prompt(self, cell: Cell) -> SoftPrompt:
        """The prompt of a finished cell."""
        return load_prompt(self.folder.prompt(cell.id))

    def state(self, cells: list[Cell]) -> Path:
        """Where an unfinished run of these cells is kept."""
        return self.folder.state([cell.id for cell in cells], self.stamps)


def bench_of(values: Mapping[str, Any], folder: RunFolder, given: Mapping[str, Any]) -> Bench:
    """The bench of a process that measures for a run.

    Args:
        values: of the recipe, as `recipe.json` has them.
        folder: where cells and prompts are read and written.
        given: `data` and `models`, paths or None.
    """
    from promptport.recipes.recipe import recipe_of

    recipe = recipe_of(values, values["name"])
    places = {key: Path(given[key]) if given[key] else None for key in ("data", "models")}
    return Bench(folder, recipe.context, **places)


def model_place(name: str, models: Path | None) -> str | Path:
    """What opens a backbone: the folder or GGUF file of a pretrained model, else its name.

    Args:
        name: as recipes write it.
        models: folder of pretrained models; None for the name alone.
    """
    if name in MODELS and models is not None:
        for path in (models / name, models / f"{name}.gguf"):
            if (path / "config.json").is_file() or path.is_file():
                return path
    return name


def data_folder(task: str, data: Path | None) -> Path | None:
    """The folder of a collection (`data/lama`, `data/nlu`) that a task belongs to."""
    family, colon, _ = task.partition(":")
    return data / family if data is not None and colon and family != "pocket" else None


def asked_rows(task: Task, settings: Settings) -> Task:
    """A task with the rows, labels and words that a recipe asks for."""
    if task.name in settings.labels_moved:
        task = rightly_labelled(task)
    rows = {split: settings.rows.get(split, 0) for split in SPLITS}
    return limited(task, rows, settings.words)


def scored(evaluation: Evaluation) -> dict[str, Any]:
    """Score, interval, and a bit per row, of an evaluation."""
    return {
        **score_values(evaluation.score, evaluation.right),
        "skipped": evaluation.skipped,
        "nll": evaluation.loss,
    }


def score_values(score: Score, right: tuple[bool, ...] | None) -> dict[str, Any]:
    """The same of a score alone; no bits where it is no share of rows."""
    return {
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "rows": score.rows,
        "metric": score.metric,
        "right": None if right is None else packed(right),
    }
