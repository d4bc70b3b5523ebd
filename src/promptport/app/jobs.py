"""What the page is asked to do: jobs, how far they are, and the processes that do them.

A job belongs to the server, not to a page: it goes on when its page is reloaded or closed. Every
lane has one process, which reads jobs from its standard input and writes events to its standard
output, a JSON object a line. A job that is cancelled while it runs takes its process with it, so
that nothing of it is left; the next job gets a fresh one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed", "cancelled"]
LANES = ("quick", "long")  # answers that a page waits for; work that takes minutes
_MOST_KEPT = 200  # jobs that have ended
_PATIENCE = 5.0  # seconds for a process to end
_COMMAND = (sys.executable, "-m", "promptport.app.worker")


@dataclass
class Job:
    """Something that is done for the page.

    Attributes:
        number: no other job has it.
        kind: what is done, a name in `work.WORK`.
        title: of it, for people.
        asked: what it works on, plain JSON values.
        lane: where it is done.
        listed: whether the list of jobs shows it; what a page asks by itself is not shown.
        state: where it stands.
        progress: what is being done now.
        share: how much of that is done, 0 to 1; None if nobody knows.
        notes: what was said on the way, a line each.
        result: plain JSON values, once it is done.
        error: why it failed, in a line.
        began: when it was started, in seconds since the epoch; None before.
        ended: when it ended.
        changes: how often anything of this changed: a page need not look closer otherwise.
    """

    number: int
    kind: str
    title: str
    asked: Mapping[str, Any]
    lane: str
    listed: bool = True
    state: State = "waiting"
    progress: str = ""
    share: float | None = None
    notes: list[str] = field(default_factory=list)
    result: dict[str, Any] | None = None
    error: str | None = None
    began: float | None = None
    ended: float | None = None
    changes: int = 0
    key: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """How long it runs, or ran."""
        if self.began is None:
            return 0.0
        return (self.ended or time.time()) - self.began


class Desk:
    """Takes jobs, and knows what became of them. May be used by several threads.

    Args:
        settings: of the worker processes, plain JSON values; see `work.Session`.
        command: that starts a worker.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, command: Sequence[str] = _COMMAND
    ) -> None:
        self._lock = threading.RLock()
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._next = 1
        full = [*command, json.dumps(dict(settings or {}))]
        self._lanes = {name: _Lane(name, full, self._lock) for name in LANES}

    def submit(
        self,
        kind: str,
        title: str,
        asked: Mapping[str, Any],
        *,
        lane: str = "long",
        listed: bool = True,
        key: str | None = None,
    ) -> Job:
        """Put a job at the end of a lane.

        Args:
            kind: a name in `work.WORK`.
            title: for people.
            asked: plain JSON values.
            lane: one of `LANES`.
            listed: see `Job`.
            key: a job of the same key that still waits is cancelled: only the newest counts.
        """
        with self._lock:
            for other in list(self._jobs.values()):
                if key is not None and other.key == key and other.state == "waiting":
                    self.cancel(other.number)
            job = Job(self._next, kind, title, dict(asked), lane, listed, key=key)
            self._next += 1
            self._jobs[job.number] = job
            self._forget()
        self._lanes[lane].put(job)
        return job

    def get(self, number: int) -> Job | None:
        """The job of a number; None if there is none, or it was forgotten."""
        with self._lock:
            return self._jobs.get(number)

    def jobs(self, *, kinds: Sequence[str] = ()) -> list[Job]:
        """Jobs that are listed, the newest first; of some kinds only, if any is named."""
        with self._lock:
            own = [j for j in self._jobs.values() if j.listed and (not kinds or j.kind in kinds)]
        return own[::-1]

    def running(self) -> int:
        """How many listed jobs wait or run."""
        return sum(not job.is_over for job in self.jobs())

    def cancel(self, number: int) -> bool:
        """End a job that waits or runs.

        Returns:
            Whether there was one to end.
        """
        with self._lock:
            job = self._jobs.get(number)
            if job is None or job.is_over:
                return False
            self._lanes[job.lane].drop(job)
            return True

    def warm(self, lane: str) -> None:
        """Start the process of a lane, so that its first job need not wait for imports."""
        self._lanes[lane].warm()

    def close(self) -> None:
        """End everything."""
        for lane in self._lanes.values():
            lane.close()

    def _forget(self) -> None:
        over = [number for number, job in self._jobs.items() if job.is_over]
        for number in over[: max(0, len(over) - _MOST_KEPT)]:
            del self._jobs[number]


class _Lane:
    """Jobs that are done one after the other, in one process."""

    def __init__(self, name: str, command: Sequence[str], lock: threading.RLock) -> None:
        self._command = list(command)
        self._changed = threading.Condition(lock)
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._warming = False
        self._thread = threading.Thread(target=self._run, name=f"promptport {name}", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def warm(self) -> None:
        with self._changed:
            self._warming = True
            self._changed.notify()

    def drop(self, job: Job) -> None:
        """Cancel a job; the lock is held."""
        if job in self._waiting:
            self._waiting.remove(job)
        _end(job, "cancelled")
        if self._current is job and self._process is not None:
            self._process.kill()
            # The next job gets a process of its own, however long this one takes to die.
            self._process = None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            for job in list(self._waiting):
                self.drop(job)
            if self._current is not None and not self._current.is_over:
                self.drop(self._current)
            process = self._process
            self._changed.notify()
        if process is not None:
            _stop(process)
        self._thread.join(_PATIENCE)
        if process is not None:
            _close(process)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed or self._warming):
                    self._changed.wait()
                if self._closed:
                    return
                self._warming = False
                job = self._waiting.popleft() if self._waiting else None
                self._current = job
                if job is not None:
                    job.state, job.began = "running", time.time()
                    job.changes += 1
                try:
                    process = self._alive()
                except OSError as error:
                    if job is not None:
                        _end(job, "failed", f"worker: it cannot be started: {error}.")
                    continue
            if job is not None:
                self._do(job, process)

    def _alive(self) -> subprocess.Popen[str]:
        """The process, started if there is none; the lock is held."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the server, which ends its workers
            )
        return self._process

    def _do(self, job: Job, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):  # it is gone, which its output tells as well
            line = json.dumps({"number": job.number, "kind": job.kind, "asked": job.asked})
            process.stdin.write(line + "\n")
            process.stdin.flush()
        for line in process.stdout:
            event = json.loads(line)
            if event.get("number") != job.number:
                continue
            with self._changed:
                if _take(job, event):
                    self._current = None
                    if self._process is process:
                        return
                    break  # it was cancelled as it ended, and its process killed
        code = process.wait()
        _close(process)
        with self._changed:
            self._current = None
            if not job.is_over:
                _end(job, "failed", f"worker: its process ended (exit status {code}).")


def _take(job: Job, event: Mapping[str, Any]) -> bool:
    """Note an event of a job.

    Returns:
        Whether it was the last one.
    """
    if job.is_over:  # cancelled a moment ago
        return "result" in event or "error" in event
    if "result" in event:
        job.result = event["result"]
        _end(job, "done")
        return True
    if "error" in event:
        _end(job, "failed", event["error"])
        return True
    if "note" in event:
        job.notes.append(event["note"])
    if "progress" in event:
        job.progress, job.share = event["progress"], event["share"]
    job.changes += 1
    return False


def _end(job: Job, state: State, error: str | None = None) -> None:
    job.state, job.error, job.ended = state, error, time.time()
    job.progress, job.share = "", None
    job.changes += 1


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not written yet has no reader
                pipe.close()
