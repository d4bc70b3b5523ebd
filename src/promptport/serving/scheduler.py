"""Which rows share a forward pass: requests wait a moment for others, long answers let short ones
through."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptport.backbone.generation import Writing
from promptport.errors import PromptPortError, UnknownNameError
from promptport.serving.asks import Ask, Reply
from promptport.serving.server import LaidOut, PromptServer, reply_of, settled

Event = Mapping[str, Any]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchLimits:
    """How batches are made up.

    Attributes:
        rows: most rows that are chosen for in one go, 1 or more.
        writing: most rows that are written at the same time, 1 or more.
        wait: seconds that a request waits for others when nothing else is to be done, 0 or more.
    """

    rows: int = 64
    writing: int = 64
    wait: float = 0.004


@dataclass
class Job:
    """The rows of one request.

    Attributes:
        number: what its events are called by.
        asks: one or more.
        streams: whether pieces are told as they are written.
    """

    number: int
    asks: Sequence[Ask]
    streams: bool = False
    cancelled: bool = False
    replies: dict[int, Reply] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """A wish to see what can be asked.

    Attributes:
        number: what its event is called by.
        prompt: of one prompt all that is known; None: the names of all.
    """

    number: int
    prompt: str | None = None


@dataclass
class _Row:
    """A row on its way."""

    job: Job
    place: int  # among the job's asks
    laid_out: LaidOut
    sent: int = 0  # characters that were told


class Scheduler:
    """Answers jobs of many callers with one server, all in its own loop.

    Args:
        server: used by this loop alone.
        tell: called with events: `{number, replies}`, `{number, row, piece}`, `{number, prompts}`
            or `{number, error}`.
        limits: of batches.
    """

    def __init__(
        self, server: PromptServer, tell: Callable[[Event], None], limits: BatchLimits | None = None
    ) -> None:
        self._server, self._tell = server, tell
        self._limits = limits or BatchLimits()
        self._new: queue.SimpleQueue[Job | Listing | None] = queue.SimpleQueue()
        self._jobs: dict[int, Job] = {}
        self._choosing: deque[_Row] = deque()
        self._waiting: deque[_Row] = deque()  # to be written
        self._writing: list[tuple[Writing, list[_Row]]] = []
        self._ends = False

    def submit(self, job: Job | Listing) -> None:
        """Take a job on; from any thread."""
        if isinstance(job, Job):
            self._jobs[job.number] = job
        self._new.put(job)

    def cancel(self, number: int) -> None:
        """Nobody waits for a job any more; from any thread."""
        job = self._jobs.pop(number, None)
        if job is not None:
            job.cancelled = True

    def close(self) -> None:
        """End the loop when all that was taken on is done; from any thread."""
        self._new.put(None)

    def run(self) -> None:
        """Answer until `close`."""
        while self._take():
            if self._choosing:
                self._choose()
            self._begin()
            self._step()

    def _take(self) -> bool:
        """Note new jobs; False when there will be no more, and nothing is left to do."""
        idle = not (self._choosing or self._waiting or self._writing)
        if idle and self._ends:
            return False
        if idle:
            self._note(self._new.get())
            until = time.monotonic() + self._limits.wait
            while (left := until - time.monotonic()) > 0 and not self._is_full:
                try:
                    self._note(self._new.get(timeout=left))
                except queue.Empty:
                    break
        while not self._new.empty():
            self._note(self._new.get())
        return True

    @property
    def _is_full(self) -> bool:
        return self._ends or len(self._choosing) + len(self._waiting) >= self._limits.rows

    def _note(self, job: Job | Listing | None) -> None:
        if job is None:
            self._ends = True
            return
        try:
            if isinstance(job, Listing):
                self._tell({"number": job.number, "prompts": self._listed(job.prompt)})
                return
            laid_out = self._server.lay_out_all(job.asks)
            rows = [_Row(job, i, own) for i, own in enumerate(laid_out)]
        except Exception as error:
            self._fail(job, error)
            return
        for row in rows:
            (self._waiting if row.laid_out.writes else self._choosing).append(row)

    def _listed(self, name: str | None) -> list[Any]:
        if name is None:
            return self._server.names
        return [self._server.shelf.get(name).to_dict()]

    def _choose(self) -> None:
        rows = self._next(self._choosing, self._limits.rows)
        for part, replies in self._tried(rows, self._server.choose):
            for row, reply in zip(part, replies, strict=True):
                self._piece(row, reply.text)
                self._answered(row, reply)

    def _begin(self) -> None:
        """Start to write what is waiting, as far as there is room."""
        room = self._limits.writing - sum(writing.left for writing, _ in self._writing)
        rows = self._next(self._waiting, max(0, room))
        for batch in self._server.together([row.laid_out for row in rows]):
            own = [rows[i] for i in batch]
            self._writing += [(w, part) for part, w in self._tried(own, self._server.begin)]

    def _tried(
        self, rows: list[_Row], do: Callable[[list[LaidOut]], Any]
    ) -> Iterator[tuple[list[_Row], Any]]:
        """Do something with rows together; if that fails with each alone, so that one row cannot
        take its neighbours with it."""
        if not rows:
            return
        try:
            yield rows, do([row.laid_out for row in rows])
        except Exception as error:
            if len(rows) == 1:
                self._fail(rows[0].job, error)
                return
            for row in rows:
                yield from self._tried([row], do)

    def _step(self) -> None:
        """One more token of every row that is being written."""
        for writing, rows in self._writing:
            for number, row in enumerate(rows):
                if row.job.cancelled:
                    writing.stop(number)
            if writing.is_done:
                continue
            try:
                grown = writing.step()
            except Exception as error:
                self._give_up(writing, rows, error)
                continue
            for number in grown:
                row = rows[number]
                if row.job.streams:
                    text = settled(writing, number, row.laid_out.writing.stop)
                    self._piece(row, text[row.sent :])
                    row.sent = len(text)
                if writing.ended(number) is not None:
                    self._answered(row, reply_of(row.laid_out, writing, number))
        self._writing = [(w, rows) for w, rows in self._writing if not w.is_done]

    @staticmethod
    def _next(rows: deque[_Row], most: int) -> list[_Row]:
        """Take the first rows that somebody still waits for."""
        taken: list[_Row] = []
        while rows and len(taken) < most:
            row = rows.popleft()
            if not row.job.cancelled:
                taken.append(row)
        return taken

    def _piece(self, row: _Row, text: str) -> None:
        if row.job.streams and text and not row.job.cancelled:
            self._tell({"number": row.job.number, "row": row.place, "piece": text})

    def _answered(self, row: _Row, reply: Reply) -> None:
        job = row.job
        job.replies[row.place] = reply
        if len(job.replies) < len(job.asks):
            return
        self._jobs.pop(job.number, None)
        if not job.cancelled:
            replies = [job.replies[place].to_dict() for place in range(len(job.asks))]
            self._tell({"number": job.number, "replies": replies})

    def _give_up(self, writing: Writing, rows: Sequence[_Row], error: Exception) -> None:
        for number, row in enumerate(rows):
            if writing.ended(number) is None:
                writing.stop(number)
                self._fail(row.job, error)

    def _fail(self, job: Job | Listing, error: Exception) -> None:
        self._jobs.pop(job.number, None)
        if isinstance(job, Job):
            if job.cancelled:
                return
            job.cancelled = True  # its other rows are not asked any more
        if not isinstance(error, PromptPortError):
            _log.error("a request failed", exc_info=error)
        self._tell({"number": job.number, "error": error_of(error)})


def error_of(error: Exception) -> dict[str, Any]:
    """What a caller is told of an error: a message and an HTTP status."""
    if isinstance(error, UnknownNameError):
        return {"message": str(error), "status": 404}
    if isinstance(error, PromptPortError):
        return {"message": str(error), "status": 400}
    return {"message": f"the server failed: {type(error).__name__}", "status": 500}
