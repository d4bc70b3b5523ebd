"""`promptport serve` as users run it: a process of its own, over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx2")
pytest.importorskip("fastapi")

from promptport.backbone import Backbone  # noqa: E402
from promptport.prediction import predict  # noqa: E402
from promptport.storage import load_prompt, save_prompt  # noqa: E402
from promptport.tasks import open_task  # noqa: E402
from promptport.tuning.baselines import random_prompt  # noqa: E402

pytestmark = pytest.mark.long

TEXTS = [f"A {word} film , number {i} ." for i in range(8) for word in ("warm", "dull", "long")]
DRAWN = {"max_tokens": 30, "temperature": 1.0}


class Served:
    """A server in a process."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "promptport", "serve", "--port", str(port), *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"curl (http://\S+)/v1/models", line):
                self.url = found[1]
                return
        raise AssertionError("".join(self.said))

    def workers(self) -> list[int]:
        """Process numbers of the workers."""
        own = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(number) for number in Path(own).read_text().split()]

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        _, rest = self.process.communicate(timeout=60)
        self.said += rest.splitlines(keepends=True)
        return self.process.returncode


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("library")
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    for seed, name in enumerate(("sentiment", "topic", "opposite")):
        task = open_task(name)
        prompt = random_prompt(model, 3, seed).with_provenance(
            task=name, template=task.template.text
        )
        save_prompt(prompt, place / name)
    return place


@pytest.fixture(scope="module")
def served(library) -> Iterator[Served]:
    server = Served(str(library))
    yield server
    assert server.stop() == 0
    assert "Traceback" not in "".join(server.said)


def run(server: Served, work):
    """Something with a client."""

    async def main():
        bounds = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=bounds) as client:
            return await work(client)

    return asyncio.run(main())


async def label(client, prompt: str, text: str) -> tuple[str, float]:
    answer = await client.post("/classify", json={"model": prompt, "input": text})
    (result,) = answer.raise_for_status().json()["results"]
    return result["label"], result["probabilities"][result["label"]]


async def written(client, number: int) -> str:
    text = ""
    body = {"model": "nano-gpt2", "prompt": f"{number} dogs ran to", "stream": True, **DRAWN}
    async with client.stream("POST", "/v1/completions", json={**body, "seed": number}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["text"]
    return text


def test_a_prompt_that_a_client_sends_is_answered_as_if_it_lay_in_the_library(
    served, library
) -> None:
    sent = load_prompt(library / "opposite").vectors

    async def both(client):
        body = {"model": "topic", "input": TEXTS, "top": 9}
        given = {"vectors": sent.tolist()}
        answers = [
            await client.post("/classify", json={**body, "soft_prompt": given}),
            await client.post("/classify", json=body),
            await client.post("/classify", json={**body, "soft_prompt": {"vectors": [[1, 2]]}}),
        ]
        return [answer.json() for answer in answers]

    of_sent, of_topic, refused = run(served, both)
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    prompt = load_prompt(library / "topic")
    wanted = predict(replace(prompt, vectors=sent), TEXTS, backbone=model)
    for got, own in zip(of_sent["results"], wanted, strict=True):
        assert got["label"] == own.answer
        assert got["probabilities"] == pytest.approx(dict(own.probabilities), abs=1e-4)
    assert of_sent["results"] != of_topic["results"]
    assert "expected" in refused["error"]["message"]
    assert "144" in refused["error"]["message"]


def test_answers_are_those_of_predict_for_many_clients_at_once(served, library) -> None:
    async def work(client):
        asked = [(name, text) for text in TEXTS for name in ("sentiment", "topic", "opposite")]
        return asked, await asyncio.gather(*(label(client, *one) for one in asked))

    asked, got = run(served, work)
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    for name in ("sentiment", "topic", "opposite"):
        texts = [text for own, text in asked if own == name]
        wanted = predict(load_prompt(library / name), texts, backbone=model)
        mine = [reply for (own, _), reply in zip(asked, got, strict=True) if own == name]
        for (text, share), own in zip(mine, wanted, strict=True):
            assert text == own.answer
            assert share == pytest.approx(own.probabilities[own.answer], abs=1e-4)


def test_a_streamed_answer_is_the_whole_one(served) -> None:
    async def work(client):
        body = {"model": "nano-gpt2", "prompt": "3 dogs ran to", "seed": 3, **DRAWN}
        whole = (await client.post("/v1/completions", json=body)).json()["choices"][0]["text"]
        return whole, await written(client, 3)

    whole, streamed = run(served, work)
    assert whole == streamed != ""


def test_a_killed_worker_loses_nothing_that_was_accepted(served) -> None:
    async def work(client):
        before = await asyncio.gather(*(written(client, i) for i in range(6)))
        labels = await asyncio.gather(*(label(client, "topic", text) for text in TEXTS))
        tasks = [asyncio.create_task(written(client, i)) for i in range(6)]
        tasks += [asyncio.create_task(label(client, "topic", text)) for text in TEXTS]
        await asyncio.sleep(0.1)
        (worker,) = served.workers()
        os.kill(worker, signal.SIGKILL)
        after = await asyncio.gather(*tasks)
        metrics = (await client.get("/metrics")).text
        return before, labels, after, metrics, worker

    before, labels, after, metrics, worker = run(served, work)
    assert after[:6] == before
    assert [text for text, _ in after[6:]] == [text for text, _ in labels]
    assert "promptport_restarts 1.0" in metrics
    assert served.workers() != [worker]


def test_clients_that_go_away_leave_the_server_free(served) -> None:
    async def work(client):
        for number in range(5):
            body = {"model": "nano-gpt2", "prompt": f"{number} dogs", "stream": True, **DRAWN}
            async with client.stream("POST", "/v1/completions", json=body) as answer:
                async for _ in answer.aiter_lines():
                    break
        for _ in range(50):
            waiting = (await client.get("/health")).json()["waiting"]
            if waiting == 0:
                return await label(client, "topic", "a film")
            await asyncio.sleep(0.1)
        return None

    assert run(served, work) is not None


@pytest.mark.slow
def test_what_is_accepted_is_answered_before_the_end(library) -> None:
    server = Served(str(library))

    async def work(client):
        task = asyncio.create_task(written(client, 4))
        await asyncio.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        return await task

    first = run(server, work)
    server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert first != ""


@pytest.mark.slow
def test_two_replicas_on_ray_answer_as_one_process(library) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[serve]'")
    server = Served(str(library), "--ray", "--workers", "2", port=_free_port())

    async def work(client):
        asked = [(name, text) for text in TEXTS for name in ("sentiment", "topic")]
        return asked, await asyncio.gather(*(label(client, *one) for one in asked))

    try:
        asked, got = run(server, work)
    finally:
        code = server.stop()
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    for (name, text), (said, _) in zip(asked, got, strict=True):
        assert said == predict(load_prompt(library / name), [text], backbone=model)[0].answer
    assert code == 0


def _free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["{library}", "--host", "0.0.0.0"], {}, "expected a token for an address beyond"),
        (["nothing"], {}, "nothing: expected a prompt or vector folder"),
        (["{library}", "--backbone", "nano-bart"], {}, "nano-bart"),
        (["{library}", "--token-file", "nowhere"], {}, "nowhere: expected a readable file"),
        (["{library}", "--host", "no.such.host.invalid"], {"PROMPTPORT_TOKEN": "x"}, "address"),
    ],
)
def test_what_cannot_be_served_is_one_line(library, tmp_path, arguments, environment, told):
    given = [argument.format(library=library) for argument in arguments]
    ended = subprocess.run(
        [sys.executable, "-m", "promptport", "serve", "--port", "0", *given],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | environment,
        timeout=120,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in ended.stderr
