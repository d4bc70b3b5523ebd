"""What a second worker says of an answer that the first one had begun."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from promptport.serving.pool import RefusedError, WorkerPool
from promptport.serving.worker import WorkerSettings, line_of


class Worker:
    """A worker that is told of, and says what a test lets it say."""

    def __init__(self) -> None:
        self.requests: dict[int, Any] = {}
        self.sent: list[Any] = []
        self.was_ready = True

    def send(self, message: Any) -> None:
        self.sent.append(message)


def streamed(second: list[str]) -> tuple[list[Any], Worker]:
    """All that a client gets whose first worker says `one two` and dies."""

    async def run() -> tuple[list[Any], Worker]:
        pool = WorkerPool(WorkerSettings(("prompts",)))
        one, two = Worker(), Worker()
        pool._workers = [one]
        got: list[Any] = []

        async def read() -> None:
            async for piece in pool.stream({"prompt": None, "text": "a"}):
                got.append(piece)

        client = asyncio.create_task(read())
        await asyncio.sleep(0)
        (number,) = one.requests
        for piece in ("one", " two"):
            pool._hand(one, {"number": number, "row": 0, "piece": piece})
        pool._workers = [two]
        pool._bury(one)
        for piece in second:
            pool._hand(two, {"number": number, "row": 0, "piece": piece})
        if number in two.requests:
            pool._hand(two, {"number": number, "replies": [{"text": "".join(second)}]})
        try:
            await client
        except RefusedError as error:
            got.append(error.message)
        return got, two

    return asyncio.run(run())


@pytest.mark.parametrize("second", [["one two three"], ["o", "ne t", "wo th", "ree"]])
def test_the_answer_goes_on_where_it_was(second) -> None:
    got, _ = streamed(second)
    assert "".join(got[:-1]) == "one two three"
    assert got[-1] == {"text": "one two three"}


def test_another_beginning_ends_with_an_error_and_is_not_spliced() -> None:
    got, two = streamed(["one too many"])
    assert got == ["one", " two", "the server failed, and cannot take this answer up again"]
    assert "cancel" in two.sent[-1]
    assert two.requests == {}


FIRST = """
import sys
print('{"ready": {}}', flush=True)
sys.stdin.readline()
print('"' + 300000 * "a" + '"', flush=True)
sys.stdin.read()
"""
SECOND = """
import json, sys
print('{"ready": {}}', flush=True)
for line in sys.stdin:
    print(json.dumps({"number": json.loads(line)["number"], "prompts": ["films"]}), flush=True)
"""


@pytest.mark.parametrize("first", [FIRST, FIRST.replace("300000", "3")], ids=["long", "no event"])
def test_a_worker_that_says_what_cannot_be_read_is_replaced(monkeypatch, first) -> None:
    programs = iter((first, SECOND))
    real = asyncio.create_subprocess_exec

    async def start(program, *_, **options):
        return await real(program, "-c", next(programs), **{**options, "limit": 100000})

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)

    async def run() -> tuple[list[Any], int]:
        pool = WorkerPool(WorkerSettings(("prompts",)))
        await pool.start()
        names = await asyncio.wait_for(pool.prompts(), 30)
        await pool.close()
        return names, pool.restarts

    assert asyncio.run(run()) == (["films"], 1)


def test_an_event_that_cannot_be_sent_is_an_error_of_its_job(monkeypatch) -> None:
    half = line_of({"number": 1, "replies": [{"text": "\ud800"}]})
    assert half.isascii()
    assert json.loads(half)["replies"] == [{"text": "\ud800"}]
    monkeypatch.setattr("promptport.serving.worker.MOST_BYTES", 100)
    long = json.loads(line_of({"number": 2, "replies": [{"text": "a" * 100}]}))
    assert (long["number"], long["error"]["status"]) == (2, 400)
    assert "expected at most 100 bytes, got 136: send fewer rows" in long["error"]["message"]
    odd = json.loads(line_of({"number": 3, "replies": [{"text": object()}]}))
    assert (odd["number"], odd["error"]["status"]) == (3, 500)
