"""Workers as child processes, seen from the asyncio side: what a worker that dies has accepted is
given to the next one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from promptport.errors import PromptPortError
from promptport.serving.worker import MOST_BYTES, WorkerSettings

_log = logging.getLogger(__name__)
_MOST_DEATHS = 3  # of workers that held a request, after which it is given up
_FALSE_STARTS = 3  # of a worker that never got ready
_END_SECONDS = 30.0
_CLOSING = "the server is closing"


class RefusedError(Exception):
    """A request that was not answered.

    Args:
        message: one line for the client.
        status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message, self.status = message, status


@dataclass
class _Request:
    """What was accepted and is not answered yet."""

    number: int
    message: Mapping[str, Any]
    events: asyncio.Queue[Mapping[str, Any]] = field(default_factory=asyncio.Queue)
    told: dict[int, str] = field(default_factory=dict)  # by row, what the client has
    again: dict[int, str] = field(default_factory=dict)  # of that, what is still to come once more
    deaths: int = 0
    worker: _Worker | None = None


class _Worker:
    """One child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.was_ready = False
        self.requests: dict[int, _Request] = {}

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a line; a worker that is gone is noticed elsewhere."""
        assert self.process.stdin is not None
        if not self.process.stdin.is_closing():
            self.process.stdin.write(json.dumps(message).encode() + b"\n")


class WorkerPool:
    """Requests in, events out, over one worker or more.

    Args:
        settings: of every worker.
        workers: how many.
        most_waiting: requests that may be on their way; more are refused.

    Attributes:
        facts: what the first worker that got ready said of itself.
        restarts: workers that were started anew.
    """

    def __init__(
        self, settings: WorkerSettings, *, workers: int = 1, most_waiting: int = 1024
    ) -> None:
        self._settings, self._count, self._most = settings, workers, most_waiting
        self._workers: list[_Worker] = []
        self._orphans: list[_Request] = []  # accepted, and no worker is ready
        self._numbers = count(1)
        self._keepers: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._closing = False
        self._refused: str | None = None
        self._false_starts = 0
        self.facts: Mapping[str, Any] = {}
        self.restarts = 0

    @property
    def is_ready(self) -> bool:
        """Whether a worker takes requests."""
        return bool(self._workers)

    @property
    def waiting(self) -> int:
        """Requests on their way."""
        return len(self._orphans) + sum(len(worker.requests) for worker in self._workers)

    async def start(self) -> None:
        """Start the workers, and wait for the first.

        Raises:
            PromptPortError: what the worker said in place of starting.
        """
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        await self._ready.wait()
        if self._refused is not None:
            await self.close()
            raise PromptPortError.of_line(self._refused)

    async def close(self) -> None:
        """Answer what was accepted, then end the workers."""
        self._closing = True
        for worker in self._workers:
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        ends = [worker.process.wait() for worker in self._workers]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*ends), _END_SECONDS)
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.process.kill()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def ask(
        self, asks: Sequence[Mapping[str, Any]], soft_prompt: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The replies to some rows.

        Args:
            asks: fields of `Ask`.
            soft_prompt: of all of them, as `SentPrompt.of_message` reads it; None for none.

        Raises:
            RefusedError: too much is waiting, or a row cannot be answered.
        """
        async for event in self._events({"asks": asks, "soft_prompt": soft_prompt}):
            if "replies" in event:
                replies: list[dict[str, Any]] = event["replies"]
                return replies
        raise RefusedError(_CLOSING, 503)

    async def stream(
        self, ask: Mapping[str, Any], soft_prompt: Mapping[str, Any] | None = None
    ) -> AsyncIterator[str | dict[str, Any]]:
        """Pieces of one answer as they are written, then the whole reply.

        Raises:
            RefusedError: as `ask`.
        """
        content = {"asks": [ask], "streams": True, "soft_prompt": soft_prompt}
        async for event in self._events(content):
            if "piece" in event:
                yield event["piece"]
            elif "replies" in event:
                yield event["replies"][0]

    async def prompts(self, name: str | None = None) -> list[Any]:
        """Names of all prompts, or all that is known of one.

        Raises:
            RefusedError: there is no such prompt, or it is damaged.
        """
        async for event in self._events({"list": name}):
            if "prompts" in event:
                found: list[Any] = event["prompts"]
                return found
        raise RefusedError(_CLOSING, 503)

    async def _events(self, content: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """All events of a request; nobody waits for more once this is closed."""
        if self._closing or (self._refused is not None and not self._workers):
            raise RefusedError(self._refused or _CLOSING, 503)
        if self.waiting >= self._most:
            raise RefusedError("too many requests are waiting: try again later", 503)
        request = _Request(next(self._numbers), content)
        self._give(request)
        try:
            while True:
                event = await request.events.get()
                if "error" in event:
                    raise RefusedError(event["error"]["message"], event["error"]["status"])
                yield event
                if "piece" not in event:
                    return
        finally:
            self._forget(request)

    def _give(self, request: _Request) -> None:
        """To the worker that has least to do."""
        if not self._workers:
            request.worker = None
            self._orphans.append(request)
            return
        worker = min(self._workers, key=lambda worker: len(worker.requests))
        request.worker = worker
        worker.requests[request.number] = request
        worker.send({"number": request.number, **request.message})

    def _forget(self, request: _Request) -> None:
        if request in self._orphans:
            self._orphans.remove(request)
        worker = request.worker
        if worker is not None and worker.requests.pop(request.number, None) is not None:
            worker.send({"cancel": request.number})

    async def _keep(self) -> None:
        """One worker, started anew whenever it ends."""
        while not self._closing:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "promptport.serving.worker", self._settings.to_json()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=MOST_BYTES,
                # Threads that wait spinning would take the processor from the front.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is for the front, which lets workers finish
            )
            worker = _Worker(process)
            try:
                await self._read(worker)
            except asyncio.CancelledError:
                _kill(process)
                raise
            except Exception:  # nobody listens to it any more, so it must not be given requests
                _log.exception("a worker said what cannot be read")
                _kill(process)
            if worker in self._workers:
                self._workers.remove(worker)
            await process.wait()
            self._bury(worker)
            if self._refused is not None:
                return
            if not self._closing:
                self.restarts += 1
                _log.error("a worker ended (%s), starting another", process.returncode)

    async def _read(self, worker: _Worker) -> None:
        """Hand a worker's events on, until it ends."""
        assert worker.process.stdout is not None
        async for line in worker.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:  # the last line of a worker that was killed
                continue
            if "ready" in event:
                self._false_starts, worker.was_ready = 0, True
                self.facts = event["ready"]
                self._workers.append(worker)
                self._ready.set()
                orphans, self._orphans = self._orphans, []
                for request in orphans:
                    self._give(request)
            elif "refused" in event:
                self._give_up(event["refused"])
            else:
                self._hand(worker, event)

    def _hand(self, worker: _Worker, event: Mapping[str, Any]) -> None:
        request = worker.requests.get(event["number"])
        if request is None:
            return
        if "piece" in event:
            # Writing is a function of text and seed: a new worker begins with what is known. But
            # for rounding, which other neighbours in a batch may change: no answer is spliced.
            row, piece = event["row"], event["piece"]
            known = request.again.get(row, "")
            both = min(len(known), len(piece))
            if known[:both] != piece[:both]:
                self._forget(request)
                _fail(request, "the server failed, and cannot take this answer up again", 500)
                return
            request.again[row], piece = known[both:], piece[both:]
            request.told[row] = request.told.get(row, "") + piece
            if piece:
                request.events.put_nowait({**event, "piece": piece})
            return
        del worker.requests[request.number]
        request.events.put_nowait(event)

    def _bury(self, worker: _Worker) -> None:
        """What a dead worker had accepted goes to another one."""
        if not worker.was_ready and self._refused is None:
            self._false_starts += 1
            if self._false_starts >= _FALSE_STARTS:
                self._give_up("the worker process ended before it was ready: see its messages")
        requests, worker.requests = list(worker.requests.values()), {}
        for request in requests:
            request.deaths += 1
            request.again = dict(request.told)
            if request.deaths >= _MOST_DEATHS:
                _fail(request, "the server failed on this request several times", 500)
            elif self._closing or self._refused is not None:
                _fail(request, self._refused or _CLOSING, 503)
            else:
                self._give(request)

    def _give_up(self, why: str) -> None:
        """No further worker would do better."""
        self._refused = why
        self._ready.set()
        orphans, self._orphans = self._orphans, []
        for request in orphans:
            _fail(request, why, 503)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _fail(request: _Request, message: str, status: int) -> None:
    request.events.put_nowait({"error": {"message": message, "status": status}})
