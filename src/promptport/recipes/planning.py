"""From cells to units of work: what is finished, what cannot be, and what is measured together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from promptport.errors import PromptPortError, RecipeError
from promptport.recipes.cells import Cell
from promptport.recipes.kinds import KINDS, names_in
from promptport.recipes.matching import is_one_of
from promptport.recipes.recipe import Recipe
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.settings import Settings, unknown
from promptport.records import digest
from promptport.tasks.data import SPLITS


@dataclass(frozen=True)
class Unit:
    """Cells that one worker measures, one after another or in shared batches.

    Attributes:
        cells: of one kind, alike in the keys that their kind names.
        needs: ids of cells whose prompts they read.
        backbones: that they open.
    """

    cells: tuple[Cell, ...]
    needs: frozenset[str]
    backbones: tuple[str, ...]


@dataclass
class Plan:
    """What a run has to do.

    Attributes:
        asked: cells of the grids.
        cells: these, and those whose prompts they read.
        left_out: cell id -> why it cannot be measured here.
        stamps: cell id -> digest of the weights and rows that it depends on.
        finished: ids of cells that are there, of these weights and rows.
    """

    asked: list[Cell]
    cells: list[Cell]
    left_out: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)

    @property
    def missing(self) -> list[Cell]:
        """Cells to measure."""
        done = self.finished | set(self.left_out)
        return [cell for cell in self.cells if cell.id not in done]


def make_plan(
    recipe: Recipe,
    folder: RunFolder,
    data: Path | None = None,
    models: Path | None = None,
    only: Mapping[str, Any] | None = None,
    *,
    every: bool = False,
) -> Plan:
    """Look at backbones, tasks and the folder of the run: what is there, and what is to be done.

    A finished cell counts if the weights and rows that it depends on are still the same.

    Args:
        recipe: what is asked.
        folder: of the run.
        data: folder with `lama/` and `nlu/`.
        models: folder of pretrained models.
        only: measure only cells with these values (any of several).
        every: look at what all other cells of the recipe depend on as well, for their stamps.

    Raises:
        RecipeError: a key of `only` that no cell has.
        FileFormatError: a damaged cell.
    """
    all_cells = recipe.cells()
    asked = chosen(all_cells, only or {})
    plan = Plan(asked, recipe.with_needs(asked))
    places = _Inputs(recipe, data, models)
    for cell in plan.cells:
        stamp, why = places.stamp(cell)
        lacking = [
            need.id
            for need in KINDS[cell.kind].needs(cell.place, recipe.context)
            if need.id in plan.left_out
        ]
        if why is None and lacking:
            why = plan.left_out[lacking[0]]
        if why is not None:
            plan.left_out[cell.id] = why
            continue
        plan.stamps[cell.id] = stamp
        if _is_there(cell, folder, stamp):
            plan.finished.add(cell.id)
    for cell in all_cells if every else ():
        stamp, why = places.stamp(cell)
        if why is None:
            plan.stamps.setdefault(cell.id, stamp)
    return plan


def _is_there(cell: Cell, folder: RunFolder, stamp: str) -> bool:
    known = folder.cell(cell.id)
    has_prompt = not KINDS[cell.kind].makes_prompt or folder.prompt(cell.id).is_dir()
    return known is not None and known["stamp"] == stamp and has_prompt


def reuse(plan: Plan, folder: RunFolder, other: RunFolder) -> None:
    """Copy missing cells that another run has, of the same settings, weights and rows.

    Args:
        plan: of a run; cells that are copied are finished then.
        folder: of that run.
        other: of the other run.

    Raises:
        FileFormatError: a damaged cell.
        StorageError: a prompt that cannot be read.
    """
    for cell in reusable(plan, other):
        folder.take(other, cell.id)
        plan.finished.add(cell.id)


def reusable(plan: Plan, other: RunFolder) -> list[Cell]:
    """Missing cells of a plan that another run has, of the same settings, weights and rows.

    Raises:
        RecipeError: it is no folder of a run.
        FileFormatError: a damaged cell.
    """
    other.read("recipe.json")  # refuses what is no run
    return [cell for cell in plan.missing if _is_there(cell, other, plan.stamps[cell.id])]


def chosen(cells: Iterable[Cell], only: Mapping[str, Any]) -> list[Cell]:
    """Cells whose places (and `kind`) have some values.

    Raises:
        RecipeError: a key that none of them has, or values that no cell has together.
    """
    cells = list(cells)
    keys = {"kind", *(key for cell in cells for key in cell.place)}
    for key in only:
        if key not in keys:
            raise unknown("--only", key, sorted(keys))

    def has(cell: Cell) -> bool:
        place = {"kind": cell.kind, **cell.place}
        return all(key in place and _is_named(place[key], only[key]) for key in only)

    found = [cell for cell in cells if has(cell)]
    if cells and not found:
        told = " ".join(f"{key}={','.join(dict.fromkeys(map(str, only[key])))}" for key in only)
        raise RecipeError(
            "--only",
            expected="values that one of the recipe's cells has, or more",
            got=f"{told}, which none has",
            fix="List the cells with --dry-run and without --only; of a pair name both tasks",
        )
    return found


def _is_named(value: Any, wanted: Sequence[Any]) -> bool:
    """Whether a value is wanted; of several (the tasks of a sum), whether all of them are."""
    several = isinstance(value, list) and all(is_one_of(each, wanted) for each in value)
    return several or is_one_of(value, wanted)


def units_of(plan: Plan, recipe: Recipe) -> list[Unit]:
    """The missing cells as units of work; the order is that of the cells.

    Which cells are measured together depends on the recipe alone, so that every engine and every
    resumed run gives the same numbers.
    """
    settings: Settings = recipe.context.settings
    groups: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        if cell.id not in plan.left_out:
            kind = KINDS[cell.kind]
            alike = [cell.place[key] for key in kind.alike]
            groups.setdefault(json.dumps([cell.kind, alike]), []).append(cell)
    missing = {cell.id for cell in plan.missing}
    units = []
    for group in groups.values():
        for first in range(0, len(group), settings.together):
            some = group[first : first + settings.together]
            kind = KINDS[some[0].kind]
            wanted = [cell for cell in some if cell.id in missing]
            if wanted:
                units.append(unit_of(some if kind.whole else wanted, recipe))
    return units


def unit_of(cells: Sequence[Cell], recipe: Recipe) -> Unit:
    """A unit of these cells."""
    kind = KINDS[cells[0].kind]
    needs = {n.id for cell in cells for n in kind.needs(cell.place, recipe.context)}
    backbones = [name for cell in cells for name in names_in(kind, cell.place, "backbone")]
    return Unit(tuple(cells), frozenset(needs), tuple(dict.fromkeys(backbones)))


class _Inputs:
    """Weights and rows by name, looked at once."""

    def __init__(self, recipe: Recipe, data: Path | None, models: Path | None) -> None:
        self.settings, self.data, self.models = recipe.context.settings, data, models
        self._tasks: dict[str, tuple[str, str | None]] = {}
        self._backbones: dict[str, tuple[str, str | None]] = {}

    def stamp(self, cell: Cell) -> tuple[str, str | None]:
        """Digest of what a cell depends on, and why it cannot be measured."""
        kind = KINDS[cell.kind]
        found = [self._backbone(n) for n in names_in(kind, cell.place, "backbone")]
        found += [self._task(n) for n in names_in(kind, cell.place, "task")]
        why = next((reason for _, reason in found if reason is not None), None)
        return digest([stamp for stamp, _ in found]), why

    def _task(self, name: str) -> tuple[str, str | None]:
        if name not in self._tasks:
            self._tasks[name] = self._look_at_task(name)
        return self._tasks[name]

    def _look_at_task(self, name: str) -> tuple[str, str | None]:
        from promptport.experiments.result_store import task_stamp
        from promptport.recipes.bench import asked_rows, data_folder
        from promptport.tasks import open_task

        try:
            opened = open_task(name, data_folder(name, self.data))
            task = asked_rows(opened, self.settings)
            return digest([task_stamp(task, split) for split in SPLITS]), None
        except PromptPortError as error:
            return "", str(error)

    def _backbone(self, name: str) -> tuple[str, str | None]:
        if name not in self._backbones:
            self._backbones[name] = self._look_at_backbone(name)
        return self._backbones[name]

    def _look_at_backbone(self, name: str) -> tuple[str, str | None]:
        from promptport.backbone import weights_at_hand
        from promptport.recipes.bench import model_place

        place = str(model_place(name, self.models))
        try:
            lacks = weights_at_hand(place).lacks
            return ("", lacks) if lacks else (weights_stamp(place), None)
        except PromptPortError as error:
            return "", str(error)


@cache
def weights_stamp(name: str) -> str:
    """Digest of the files of a backbone: weights, configuration and tokenizer.

    Of a model of the Hub that is not on this machine: of its name.

    Args:
        name: embedded name, folder, GGUF file or Hub id.
    """
    from promptport.backbone.loading import find_checkpoint

    checkpoint = find_checkpoint(name)
    if not checkpoint.local:
        return digest(name)
    if checkpoint.gguf is not None:
        return _file_digest(Path(checkpoint.gguf))
    folder = Path(checkpoint.folder)
    files = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix in (".safetensors", ".bin", ".json", ".model", ".txt")
    )
    return digest([[path.name, _file_digest(path)] for path in files])


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
