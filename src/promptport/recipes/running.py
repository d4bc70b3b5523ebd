"""Running a recipe: plan, dispatch, retries, and what is said in the end."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

from promptport._version import __version__
from promptport.errors import RecipeError, StorageError
from promptport.progress import Stage, stage
from promptport.recipes.cells import Cell
from promptport.recipes.planning import Plan, Unit, make_plan, reuse, unit_of, units_of
from promptport.recipes.recipe import Recipe
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.runners import RUNNERS, Runner, RunnerSettings
from promptport.recipes.runners.base import Event, Order
from promptport.recipes.settings import unknown
from promptport.recipes.tracking import Tracking

_QUEUED = 64  # jobs of a SLURM cluster at once, where nobody says otherwise
_JOB_THREADS = 4  # of each of them
_ROOM = 1.5 * 2**30  # bytes that a worker needs besides weights


@dataclass(frozen=True)
class RunConfig:
    """Where and how a recipe runs.

    Attributes:
        engine: `local` (processes of this machine), `ray` or `slurm` (a cluster).
        workers: that measure at once; 0: as many as cores and memory allow.
        data: folder with `lama/` and `nlu/`.
        models: folder of pretrained models by name; None for the usual one.
        only: measure only cells with these values (any of several), and those that they need.
        address: of a Ray cluster.
        gpus: of each worker of a cluster; for Ray it may be a share.
        slurm: options of `sbatch` by name: `partition`, `time`, `cpus_per_task`, `mem`.
        reuse: folders of other runs; cells that are there, of the same settings, weights and rows,
            are copied.
        track: `mlflow` or `trackio` is told of every finished cell; empty for nobody.
    """

    engine: str = "local"
    workers: int = 0
    data: Path | None = None
    models: Path | None = None
    only: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    gpus: float = 0.0
    slurm: Mapping[str, str | int] = field(default_factory=dict)
    reuse: tuple[Path, ...] = ()
    track: str = ""


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Attributes:
        folder: of the run.
        cells: that were asked, and those whose prompts they read.
        measured: by this run.
        finished: in all.
        failed: id -> error.
        waiting: that read the prompt of a failed cell.
        left_out: id -> why it cannot be measured here.
        seconds: wall time of this run.
        tracked: cells that the tracker was told of by this run.
        track_error: why it was told no more.
    """

    folder: Path
    cells: int
    measured: int
    finished: int
    failed: Mapping[str, str]
    waiting: int
    left_out: Mapping[str, str]
    seconds: float
    tracked: int = 0
    track_error: str = ""

    @property
    def complete(self) -> bool:
        """Whether every cell that can be measured here is there."""
        return not self.failed and not self.waiting

    def __repr__(self) -> str:
        return f"RunResult({self.finished} of {self.cells} cells, {len(self.failed)} failed)"


def run_recipe(
    recipe: Recipe, out: str | Path, config: RunConfig | None = None, *, source: str = ""
) -> RunResult:
    """Measure the cells of a recipe that are not there yet.

    A run that was stopped, killed or had no space goes on where it was. A cell whose worker dies is
    tried again; one that fails with an error is left, and the others go on.

    Args:
        recipe: what is asked.
        out: folder of the run.
        config: where and how.
        source: the command that runs it, for the report.

    Raises:
        RecipeError: another run is in this folder, it belongs to another recipe, or nothing can be
            measured here.
        UnknownNameError, MissingPackageError: no such engine, or its package is not installed.
        StorageError: the folder cannot be written (full, read-only).
    """
    config = config or RunConfig()
    if config.engine not in RUNNERS:
        raise unknown("--engine", config.engine, list(RUNNERS))
    folder, began = RunFolder(Path(out)), time.perf_counter()
    with folder.locked():
        _check_same(folder, recipe)
        others = [RunFolder(path) for path in config.reuse]
        for other in others:
            other.read("recipe.json")  # refuses what is no run
        tracking = Tracking(config.track, recipe.name, folder) if config.track else None
        with stage("looking at backbones and tasks"):
            given = config.data, config.models, config.only
            plan = make_plan(recipe, folder, *given, every=True)
        _check_some(plan, recipe)
        _write(folder, recipe, plan, source)
        for cell in plan.missing:
            folder.forget(cell.id)
        for other in others:
            reuse(plan, folder, other)
        dispatch = _Dispatch(recipe, plan, folder, tracking)
        for unit in dispatch.units:
            for cells in (unit.cells, *((cell,) for cell in unit.cells)):
                folder.forget_states([cell.id for cell in cells], plan.stamps)
        if dispatch.units:
            dispatch.run(_settings(folder, plan, config, dispatch.units), config.engine)
        if not dispatch.missing and not config.only:  # nothing is left to go on with
            shutil.rmtree(folder.unfinished, ignore_errors=True)
    return RunResult(
        folder=folder.path,
        cells=len(plan.cells),
        measured=dispatch.measured,
        finished=len(plan.finished),
        failed=dispatch.failed,
        waiting=len(plan.missing) - len(dispatch.failed),
        left_out=plan.left_out,
        seconds=time.perf_counter() - began,
        tracked=tracking.told if tracking else 0,
        track_error=tracking.error if tracking else "",
    )


class _Dispatch:
    """Units of work, given to an engine as soon as what they need is there."""

    def __init__(
        self, recipe: Recipe, plan: Plan, folder: RunFolder, tracking: Tracking | None
    ) -> None:
        self.recipe, self.plan, self.folder, self.tracking = recipe, plan, folder, tracking
        self.settings = recipe.context.settings
        self.units = units_of(plan, recipe)
        self.missing = {cell.id for cell in plan.missing}
        self.failed: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.measured, self.at = 0, ""
        if tracking is not None:
            tracking.tell(sorted(plan.finished))

    def run(self, settings: RunnerSettings, engine: str) -> None:
        runner: Runner = import_module(RUNNERS[engine]).Runner(settings)
        running = 0
        try:
            with stage("measuring cells") as told:
                self._tell(told)
                while True:
                    while runner.free() and (unit := self._next(runner)) is not None:
                        runner.submit(self._order(unit))
                        running += 1
                    if not running:
                        return
                    for event in runner.events():
                        running -= event.what in ("end", "died")
                        self._handle(event)
                        self._tell(told)
        finally:
            runner.close()

    def _order(self, unit: Unit) -> Order:
        wanted = frozenset(cell.id for cell in unit.cells if cell.id in self.missing)
        attempt = 1 + max(self.attempts.get(cell, 0) for cell in wanted)
        return Order(unit, wanted, self.plan.stamps, attempt)

    def _next(self, runner: Runner) -> Unit | None:
        """A unit whose needs are there; of several the one whose backbones are open."""
        ready = [unit for unit in self.units if unit.needs <= self.plan.finished]
        if not ready:
            return None
        open_now = [set(each) for each in runner.last_backbones()]

        def fit(unit: Unit) -> int:
            return max((len(each & set(unit.backbones)) for each in open_now), default=0)

        best = max(ready, key=fit)
        self.units.remove(best)
        return best

    def _handle(self, event: Event) -> None:
        self.at = event.error if event.what == "at" else self.at
        if event.what == "stop":
            raise StorageError.of_line(event.error, str(self.folder.path))
        if event.what == "done":
            self.plan.finished.add(event.cell)
            self.missing.discard(event.cell)
            self.measured += 1
            if self.tracking is not None:
                self.tracking.tell([event.cell])
        elif event.what == "failed":
            self._again_or_fail([event.cell], event.error, event.again)
        elif event.what == "died" and event.order is not None:
            left = [cell.id for cell in event.order.unit.cells if cell.id in self.missing]
            self._again_or_fail(left, event.error, again=True, unit=event.order.unit)

    def _again_or_fail(
        self, ids: list[str], error: str, again: bool, unit: Unit | None = None
    ) -> None:
        cells = {cell.id: cell for cell in self.plan.cells}
        retried: list[Cell] = []
        for cell in ids:
            self.attempts[cell] = self.attempts.get(cell, 0) + 1
            if again and self.attempts[cell] < self.settings.attempts:
                retried.append(cells[cell])
                continue
            tries = self.attempts[cell]
            self.failed[cell] = error
            known = {**cells[cell].to_dict(), "stamp": self.plan.stamps[cell], "error": error}
            when = datetime.now(UTC).isoformat(timespec="seconds")
            self.folder.add_failure({**known, "attempts": tries, "finished": when})
        if not retried:
            return
        if unit is not None and max(self.attempts[cell.id] for cell in retried) == 1:
            self.units.insert(0, unit)  # in the same batches, so with the same numbers
            return
        # A worker that dies twice over a unit leaves it open which of its cells it was.
        self.units[:0] = [unit_of([cell], self.recipe) for cell in retried]

    def _tell(self, told: Stage) -> None:
        done = len(self.plan.finished) + len(self.failed)
        notes = [f"{len(self.failed)} failed"] if self.failed else []
        notes += [self.at] if self.at else []
        told.at(done, len(self.plan.cells) - len(self.plan.left_out), ", ".join(notes))


def _check_same(folder: RunFolder, recipe: Recipe) -> None:
    """A folder keeps the cells of one recipe; that its settings change is no harm.

    A recipe is named by its path as it was written, so `small` and `here/small` may be one file.
    """
    if (folder.path / "recipe.json").is_file():
        name = str(folder.read("recipe.json").get("name"))
        short, long = sorted((name.split("/"), recipe.name.split("/")), key=len)
        if long[-len(short) :] != short:
            raise RecipeError(
                str(folder.path),
                expected=f"a run of {recipe.name}",
                got=f"one of {name}",
                fix="Give another folder with --out",
            )


def _check_some(plan: Plan, recipe: Recipe) -> None:
    """A run in which nothing can be measured is a mistake."""
    if plan.cells and len(plan.left_out) == len(plan.cells):
        raise RecipeError(
            recipe.name,
            expected="a cell that can be measured here",
            got=f"none of {len(plan.cells)}",
            fix=f"Mend this first: {next(iter(plan.left_out.values()))}".removesuffix("."),
        )


def _write(folder: RunFolder, recipe: Recipe, plan: Plan, source: str) -> None:
    """What the report reads, besides the cells."""
    shown = recipe.to_dict()
    cells = {cell.id: cell for cell in recipe.cells()}  # also those that --only leaves for later
    record = {
        **{name: shown[name] for name in ("name", "question", "expected", "time", "reference")},
        "command": source,
        "cells": [{**c.to_dict(), "stamp": plan.stamps.get(c.id)} for c in cells.values()],
        "left_out": [
            {"id": i, "kind": cells[i].kind, "place": dict(cells[i].place), "why": why}
            for i, why in plan.left_out.items()
            if i in cells
        ],
        "report": shown["report"],
        "settings": shown["settings"],
        "resolved": shown,
    }
    folder.write("recipe.json", record)
    folder.write("environment.json", environment())


def environment() -> dict[str, Any]:
    """Versions and machine, for a report."""
    packages = {}
    for name in ("torch", "transformers", "tokenizers", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "none"
    return {
        "promptport": __version__,
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _settings(
    folder: RunFolder, plan: Plan, config: RunConfig, units: list[Unit]
) -> RunnerSettings:
    """As many workers as cores, units and memory allow; SLURM knows its machines itself."""
    cores = len(os.sched_getaffinity(0))
    memory = _memory_of_a_worker(units, config.models)
    workers = config.workers
    if not workers and config.engine == "slurm":
        workers = min(len(units), _QUEUED)
    elif not workers:
        workers = max(1, min(cores, len(units), int(_free_memory() / memory)))
    threads = _JOB_THREADS if config.engine == "slurm" else max(1, cores // workers)
    return RunnerSettings(
        folder=folder,
        data=config.data,
        models=config.models,
        workers=workers,
        threads=threads,
        memory=memory,
        gpus=config.gpus,
        address=config.address,
        slurm=config.slurm,
    )


def _free_memory() -> int:
    """Bytes that programs may take; what files are cached in counts as free."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _memory_of_a_worker(units: list[Unit], models: Path | None) -> int:
    """Bytes: weights of the largest unit, as much again for caches, and room for libraries."""
    from promptport.backbone import weights_at_hand
    from promptport.recipes.bench import model_place

    sizes = {
        name: weights_at_hand(str(model_place(name, models))).size
        for name in {name for unit in units for name in unit.backbones}
    }
    return int(_ROOM + 2 * max(sum(sizes[name] for name in unit.backbones) for unit in units))


def estimate_seconds(recipe: Recipe, folder: RunFolder, cells: list[Cell]) -> float | None:
    """Processor time that cells will take: by finished cells of their kind in the folder, else by
    the recipe's own figures; None where neither knows a kind.

    Args:
        recipe: of the run.
        folder: of the run.
        cells: to measure.
    """
    known: dict[str, list[float]] = {}
    for file in sorted((folder.path / "cells").glob("*.json")):
        record = folder.cell(file.stem)
        if record is not None and record.get("processor_seconds") is not None:
            known.setdefault(record["kind"], []).append(record["processor_seconds"])
    total = 0.0
    for cell in cells:
        if cell.kind in known:
            total += fmean(known[cell.kind])
        elif cell.kind in recipe.seconds:
            total += recipe.seconds[cell.kind]
        else:
            return None
    return total
