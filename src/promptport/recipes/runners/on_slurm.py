"""The engine `slurm`: units of work as jobs of a SLURM cluster, by submitit.

Jobs write finished cells into the folder of the run, which all machines must see.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError
from promptport.files import json_bytes, read_json, write_atomic
from promptport.recipes.runners.base import Event, Order, RunnerSettings, cells_of

_WAIT = 1.0  # seconds between two looks at the jobs and the folder
CHECK = 60.0  # seconds between two questions to the scheduler about a job without a result
_MINUTES = 240  # that a job may take, where nobody says otherwise
_JOBS = "jobs.json"


class SlurmRunner:
    """One job for each unit of work, so many at once in the queue.

    Jobs of a run that was killed are cancelled by the next one in its folder.

    Args:
        settings: of the run.

    Raises:
        MissingPackageError: submitit is not installed.
        PromptPortError: this machine cannot submit jobs, or an option of `sbatch` is not known.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        try:
            import submitit
        except ImportError as error:
            raise MissingPackageError(
                "--engine slurm",
                expected="submitit",
                got=f"no {error.name}",
                fix="Run: pip install 'promptport[slurm]'",
            ) from error
        if not (shutil.which("sbatch") and shutil.which("srun")):
            raise PromptPortError(
                "--engine slurm",
                expected="a machine from which jobs are submitted",
                got="no sbatch and srun on the PATH",
                fix="Log in to the cluster's login node, or use --engine local",
            )
        self.settings = settings
        self._place = settings.folder.path / "slurm"
        options = dict(settings.slurm)
        own = {
            "name": "promptport",
            "cpus_per_task": options.pop("cpus_per_task", settings.threads),
            "timeout_min": options.pop("time", _MINUTES),
            "mem_gb": options.pop("mem", math.ceil(settings.memory / 2**30)),
            "gpus_per_node": math.ceil(settings.gpus) or None,
        }
        self._threads = int(own["cpus_per_task"] or 1)
        try:
            self._executor = submitit.AutoExecutor(self._place, cluster="slurm")
            self._executor.update_parameters(
                **own, **{f"slurm_{name}": value for name, value in options.items()}
            )
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise PromptPortError(
                "--slurm",
                expected="options that sbatch and submitit know, times in minutes, mem in GB",
                got=" ".join(str(error).split())[:300],
                fix="Write for instance --slurm partition=short --slurm time=60",
            ) from error
        self._cancel_left_over()
        self._running: dict[Any, Order] = {}
        self._told: set[str] = set()
        self._asked = time.monotonic()

    def free(self) -> int:
        """How many further jobs may be in the queue."""
        return self.settings.workers - len(self._running)

    def last_backbones(self) -> Sequence[tuple[str, ...]]:
        """Not known: every job is a process of its own."""
        return ()

    def submit(self, order: Order) -> None:
        """Send a unit to the queue."""
        settings = self.settings
        given = {
            "folder": str(settings.folder.path.resolve()),
            "order": order.to_dict(),
            "threads": self._threads,
            "data": None if settings.data is None else str(settings.data.resolve()),
            "models": None if settings.models is None else str(settings.models.resolve()),
        }
        try:
            job = self._executor.submit(_measure, given)
        except Exception as error:
            raise PromptPortError(
                "--engine slurm",
                expected="a job that sbatch takes",
                got=" ".join(str(error).split())[-300:],
                fix="Correct the options of --slurm",
            ) from error
        self._running[job] = order
        self._remember()

    def events(self) -> Iterator[Event]:
        """Look at the folder of the run and at the jobs until something has happened."""
        while True:
            asks = time.monotonic() - self._asked > CHECK
            found = [event for job in list(self._running) for event in self._look(job, asks)]
            if asks:
                self._asked = time.monotonic()
            if found:
                yield from found
                return
            time.sleep(_WAIT)

    def close(self) -> None:
        """Cancel what is in the queue or runs."""
        for job in self._running:
            with contextlib.suppress(OSError):  # it may have ended by now
                job.cancel(check=False)
        self._running.clear()
        self._remember()

    def _look(self, job: Any, asks: bool) -> Iterator[Event]:
        """What has become of a job since it was looked at last; `asks` the scheduler too."""
        order = self._running[job]
        if not job.done(force_check=asks):
            yield from self._finished(order)
            return
        del self._running[job]
        self._remember()
        try:
            failed = job.result()  # waits until a slow disk shows it
        except Exception as error:
            said = " ".join(str(error).split())[-300:]
            yield from self._finished(order)
            yield Event(order, "died", error=f"its job {job.job_id} ended: {said}")
            return
        yield from self._finished(order)
        for each in failed:
            if each["stop"]:
                yield Event(order, "stop", error=each["error"])
            yield Event(order, "failed", each["id"], each["error"], each["again"])
        yield Event(order, "end")

    def _finished(self, order: Order) -> Iterator[Event]:
        """Cells of a unit that have been written since this was asked last."""
        for cell in sorted(order.wanted - self._told):
            record = self.settings.folder.cell(cell)
            if record is not None:
                self._told.add(cell)
                yield Event(order, "done", cell)

    def _remember(self) -> None:
        """Keep the numbers of the jobs, for a run after this one."""
        jobs = [job.job_id for job in self._running]
        self._place.mkdir(parents=True, exist_ok=True)
        write_atomic(self._place / _JOBS, json_bytes({"jobs": jobs}))

    def _cancel_left_over(self) -> None:
        """Cancel jobs of a run that could not do it itself."""
        from submitit import SlurmJob

        if (self._place / _JOBS).is_file():
            for number in read_json(self._place / _JOBS).get("jobs", []):
                with contextlib.suppress(OSError):  # it may have ended long ago
                    SlurmJob(folder=self._place, job_id=str(number)).cancel(check=False)


def _measure(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Measure a unit in a job; what failed. Finished cells are written."""
    import torch

    from promptport.errors import StorageError
    from promptport.recipes.bench import bench_of
    from promptport.recipes.measuring import measure_unit
    from promptport.recipes.run_folder import RunFolder

    torch.set_num_threads(given["threads"])
    folder = RunFolder(Path(given["folder"]))
    bench = bench_of(folder.read("recipe.json")["resolved"], folder, given)
    order = given["order"]
    cells = cells_of(order)
    told = {"worker": f"slurm-{os.uname().nodename}", "attempt": order["attempt"]}
    failed: list[dict[str, Any]] = []
    try:
        for made in measure_unit(bench, cells, order["stamps"], told):
            if made.cell.id not in order["wanted"]:
                continue
            if made.record:
                folder.add(made.record)
            else:
                failed.append(
                    {"id": made.cell.id, "error": made.error, "again": made.again, "stop": False}
                )
    except StorageError as error:
        failed.append({"id": "", "error": str(error), "again": False, "stop": True})
    return failed


Runner = SlurmRunner
