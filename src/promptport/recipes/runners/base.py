"""What an engine does, and the names of the engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from promptport.recipes.cells import Cell
from promptport.recipes.planning import Unit
from promptport.recipes.run_folder import RunFolder

# name -> module of a class `Runner`
RUNNERS = {
    "local": "promptport.recipes.runners.local",
    "ray": "promptport.recipes.runners.on_ray",
    "slurm": "promptport.recipes.runners.on_slurm",
}


@dataclass(frozen=True)
class RunnerSettings:
    """Where units of work run.

    Attributes:
        folder: of the run; its `recipe.json` is written.
        data: folder with `lama/` and `nlu/`.
        models: folder of pretrained models.
        workers: that measure at once.
        threads: of each.
        memory: bytes that a worker may need, for engines that plan with it.
        gpus: of each worker, for engines that plan with it; may be a share.
        address: of a cluster; None for this machine.
        slurm: options of `sbatch` by name.
    """

    folder: RunFolder
    data: Path | None
    models: Path | None
    workers: int
    threads: int
    memory: int = 0
    gpus: float = 0.0
    address: str | None = None
    slurm: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """A unit of work for a worker.

    Attributes:
        unit: what to measure.
        wanted: ids of its cells that are not finished.
        stamps: by cell id.
        attempt: 1 for the first.
    """

    unit: Unit
    wanted: frozenset[str]
    stamps: Mapping[str, str]
    attempt: int = 1

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "cells": [
                {"kind": c.kind, "place": dict(c.place), "settings": dict(c.settings)}
                for c in self.unit.cells
            ],
            "wanted": sorted(self.wanted),
            "stamps": {cell.id: self.stamps[cell.id] for cell in self.unit.cells},
            "attempt": self.attempt,
        }


def cells_of(order: Mapping[str, Any]) -> list[Cell]:
    """The cells of an order as plain JSON values."""
    return [Cell(c["kind"], c["place"], c["settings"]) for c in order["cells"]]


@dataclass(frozen=True)
class Event:
    """What an engine tells.

    Attributes:
        order: that it is about.
        what: `done` or `failed` (a cell), `died` (its worker, with what is not finished), `end`,
            `at` (how far its worker is), or `stop` (nothing can go on).
        cell: id.
        error: one line: what went wrong, or how far the worker is.
        again: whether another try may help.
    """

    order: Order | None
    what: str
    cell: str = ""
    error: str = ""
    again: bool = False


class Runner(Protocol):
    """An engine.

    `free` says how many orders it takes now; `events` waits for what happens next.
    """

    def free(self) -> int:
        """How many further orders it takes now."""
        ...

    def submit(self, order: Order) -> None:
        """Begin a unit of work."""
        ...

    def last_backbones(self) -> Sequence[tuple[str, ...]]:
        """What free workers have open; empty where that is not known."""
        ...

    def events(self) -> Iterator[Event]:
        """Wait, and give what happened, one event at least, while orders are running."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...
