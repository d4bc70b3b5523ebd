"""The engine `local`: worker processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from promptport.recipes.runners.base import Event, Order, RunnerSettings

_FALSE_STARTS = 3  # of a worker that never got ready
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[str]
    number: int
    listener: threading.Thread | None = None
    order: Order | None = None
    ready: bool = False
    backbones: tuple[str, ...] = ()
    finished: set[str] = field(default_factory=set)


class LocalRunner:
    """Processes that take one unit of work each; one that dies is replaced.

    Every worker has its share of the threads, so that they do not fight for cores.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: RunnerSettings) -> None:
        self.settings = settings
        self._told: SimpleQueue[tuple[_Worker, Mapping[str, Any] | None]] = SimpleQueue()
        self._workers: list[_Worker] = []
        self._false_starts = 0
        for number in range(settings.workers):
            self._workers.append(self._start(number))

    def free(self) -> int:
        """How many workers have nothing to do."""
        return sum(worker.order is None for worker in self._workers)

    def last_backbones(self) -> Sequence[tuple[str, ...]]:
        """What each free worker opened last."""
        return [worker.backbones for worker in self._workers if worker.order is None]

    def submit(self, order: Order) -> None:
        """Give a unit to a free worker, to one that has its backbones open if there is one."""
        free = [worker for worker in self._workers if worker.order is None]
        worker = max(free, key=lambda w: len(set(w.backbones) & set(order.unit.backbones)))
        worker.order, worker.finished = order, set()
        worker.backbones = order.unit.backbones
        self._send(worker, order)

    def events(self) -> Iterator[Event]:
        """Wait for what happens next."""
        worker, message = self._told.get()
        if worker not in self._workers:  # one that was replaced
            return
        if message is None:
            yield from self._died(worker)
        elif "ready" in message:
            worker.ready, self._false_starts = True, 0
        elif "stop" in message:
            yield Event(worker.order, "stop", error=message["stop"])
        elif "at" in message:
            yield Event(worker.order, "at", error=message["at"])
        elif "done" in message:
            worker.finished.add(message["done"])
            yield Event(worker.order, "done", message["done"])
        elif "failed" in message:
            worker.finished.add(message["failed"])
            said = message["error"]
            yield Event(worker.order, "failed", message["failed"], said, again=message["again"])
        elif "end" in message:
            order, worker.order = worker.order, None
            yield Event(order, "end")

    def close(self) -> None:
        """Kill all workers: what they have not written is measured again."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _end(worker)

    def _start(self, number: int) -> _Worker:
        settings = self.settings
        given = {
            "folder": str(settings.folder.path),
            "data": None if settings.data is None else str(settings.data),
            "models": None if settings.models is None else str(settings.models),
            "name": f"local-{number}",
        }
        threads = dict.fromkeys(_THREADS, str(settings.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "promptport.recipes.worker", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, **threads, "OMP_WAIT_POLICY": "PASSIVE"},
            # Ctrl-C is for this process, which ends its workers.
            start_new_session=True,
        )
        worker = _Worker(process, number)
        worker.listener = threading.Thread(target=self._listen, args=(worker,), daemon=True)
        worker.listener.start()
        return worker

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # half a line of one that was killed
                break
            self._told.put((worker, message))
        self._told.put((worker, None))

    @staticmethod
    def _send(worker: _Worker, order: Order) -> None:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(order.to_dict()) + "\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is told by the other pipe

    def _died(self, worker: _Worker) -> Iterator[Event]:
        code = _end(worker)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._workers.remove(worker)
        if not worker.ready:
            self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS:
            yield Event(worker.order, "stop", error=f"workers end at once ({how})")
            return
        self._workers.append(self._start(worker.number))
        if worker.order is not None:
            yield Event(worker.order, "died", error=f"its worker ended with {how}")


def _end(worker: _Worker) -> int:
    """Wait for a process that is ending, and let go of its pipes; its exit status."""
    code = worker.process.wait()
    if worker.listener is not None:
        worker.listener.join()
    for pipe in (worker.process.stdin, worker.process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not sent cannot be sent
                pipe.close()
    return code


Runner = LocalRunner
