"""The engine `ray`: units of work as tasks of a Ray cluster; results come home as values."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError
from promptport.files import atomic_folder
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.runners.base import Event, Order, RunnerSettings, cells_of
from promptport.scratch import scratch_folder

_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_WAIT = 1.0  # seconds between two looks at the tasks
Files = dict[str, bytes]


class RayRunner:
    """One task for each unit of work, so many at once.

    Nothing of the run's folder needs to be seen by other machines: the recipe and the prompts that
    a unit reads travel with its task, and finished cells and prompts come back. Data and models
    must lie at the same paths everywhere.

    Args:
        settings: of the run.

    Raises:
        MissingPackageError: Ray is not installed.
        PromptPortError: the cluster cannot be reached.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingPackageError(
                "--engine ray",
                expected="Ray",
                got=f"no {error.name}",
                fix="Run: pip install 'promptport[ray]'",
            ) from error
        os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})
        self.ray, self.settings = ray, settings
        self._owns = not ray.is_initialized()
        if self._owns:
            own = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
            given = {"address": settings.address} if settings.address else own
            try:
                ray.init(**given, log_to_driver=False, logging_level="error")
            except Exception as error:
                raise PromptPortError(
                    "--address" if settings.address else "--engine ray",
                    expected="a Ray cluster that can be reached",
                    got=" ".join(str(error).split())[:200],
                    fix="Start one (ray start --head), or leave --address out",
                ) from error
        self._recipe = ray.put(settings.folder.read("recipe.json")["resolved"])
        threads = max(1, settings.threads)
        self._task = ray.remote(
            num_cpus=threads,
            num_gpus=settings.gpus,
            memory=settings.memory if settings.address else 0,
            max_retries=0,  # the run counts tries itself
        )(_measure)
        self._prompts: dict[str, Any] = {}
        self._running: dict[Any, Order] = {}

    def free(self) -> int:
        """How many further tasks may be in flight."""
        return self.settings.workers - len(self._running)

    def last_backbones(self) -> Sequence[tuple[str, ...]]:
        """Not known: Ray chooses the process."""
        return ()

    def submit(self, order: Order) -> None:
        """Send a unit with what it reads."""
        settings = self.settings
        needs = {cell: self._sent(cell) for cell in sorted(order.unit.needs)}
        given = {
            "order": order.to_dict(),
            "threads": settings.threads,
            "data": None if settings.data is None else str(settings.data),
            "models": None if settings.models is None else str(settings.models),
        }
        reference = self._task.remote(self._recipe, given, list(needs), *needs.values())
        self._running[reference] = order

    def events(self) -> Iterator[Event]:
        """Wait until a task ends, and write what came home."""
        done, _ = self.ray.wait(list(self._running), num_returns=1, timeout=_WAIT)
        for reference in done:
            order = self._running.pop(reference)
            try:
                results = self.ray.get(reference)
            except Exception as error:
                said = " ".join(str(error).split())[:300]
                yield Event(order, "died", error=f"its worker ended: {said}")
                continue
            for made in results:
                if made.get("error"):
                    yield Event(order, "failed", made["id"], made["error"], made["again"])
                    continue
                record = made["record"]
                if made["prompt"]:
                    with atomic_folder(self.settings.folder.prompt(record["id"])) as folder:
                        _unpack(made["prompt"], folder)
                self.settings.folder.add(record)
                yield Event(order, "done", record["id"])
            yield Event(order, "end")

    def close(self) -> None:
        """Cancel what is running, and leave the cluster."""
        for reference in self._running:
            self.ray.cancel(reference, force=True)
        self._running.clear()
        if self._owns:
            self.ray.shutdown()

    def _sent(self, cell: str) -> Any:
        """A finished cell and its prompt as an object of the cluster, sent once."""
        if cell not in self._prompts:
            folder = self.settings.folder
            place = folder.prompt(cell)
            files = _packed(place) if place.is_dir() else {}
            self._prompts[cell] = self.ray.put({"record": folder.cell(cell), "files": files})
        return self._prompts[cell]


# Of this process: the bench of the last recipe with its backbones, and the folder that it works in.
_OPEN: dict[str, Any] = {}
_KEEPING = contextlib.ExitStack()


def _measure(
    values: Mapping[str, Any], given: Mapping[str, Any], names: Sequence[str], *needs: Any
) -> list[dict[str, Any]]:
    """Measure a unit in a process of the cluster."""
    import torch

    from promptport.recipes.bench import Bench, bench_of
    from promptport.recipes.measuring import measure_unit
    from promptport.records import digest

    torch.set_num_threads(given["threads"])
    key = digest(values, given["data"], given["models"])
    if _OPEN.get("key") != key:
        _KEEPING.close()  # what the last recipe needed
        place = RunFolder(_KEEPING.enter_context(scratch_folder(name="promptport-run")))
        _OPEN.update(key=key, bench=bench_of(values, place, given))
    bench: Bench = _OPEN["bench"]
    folder = bench.folder
    for name, need in zip(names, needs, strict=True):
        here = folder.cell(name)
        if here is None or need["record"]["stamp"] != here["stamp"]:
            if need["files"]:
                folder.prompt(name).mkdir(parents=True, exist_ok=True)
                _unpack(need["files"], folder.prompt(name))
            folder.add(need["record"])
    order = given["order"]
    cells = cells_of(order)
    told = {"worker": f"ray-{os.uname().nodename}-{os.getpid()}", "attempt": order["attempt"]}
    results: list[dict[str, Any]] = []
    for made in measure_unit(bench, cells, order["stamps"], told):
        if made.cell.id not in order["wanted"]:
            continue
        if not made.record:
            results.append({"id": made.cell.id, "error": made.error, "again": made.again})
            continue
        kept = folder.prompt(made.cell.id)
        files = _packed(kept) if kept.is_dir() else {}
        results.append({"record": dict(made.record), "prompt": files})
    return results


def _packed(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _unpack(files: Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


Runner = RayRunner
