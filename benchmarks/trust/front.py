"""Requests through the HTTP front to a server, all in this process, and valid ones to break."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.trust.breaking import ODD, break_bytes, break_value
from safetensors.torch import save

from promptport.errors import PromptPortError
from promptport.serving.http import make_app
from promptport.serving.messages import job_of
from promptport.serving.openai import Limits
from promptport.serving.pool import RefusedError
from promptport.serving.scheduler import Scheduler, error_of
from promptport.serving.server import PromptServer

_MOST_TOKENS = 4
_WIDTH = 144  # of nano-gpt2
_FILE = base64.b64encode(save({"prompt_embeddings": torch.ones(2, _WIDTH)})).decode()
_BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"model": "films", "prompt": ["A warm film ."], "max_tokens": 2}),
    ("/v1/completions",
     {"model": "nano-gpt2", "prompt": "A film", "max_tokens": 2, "temperature": 0.5, "top_p": 0.9,
      "seed": 1, "stop": ["."], "stream": False}),
    ("/v1/chat/completions",
     {"model": "nano-gpt2:films", "messages": [{"role": "user", "content": "A warm film ."}],
      "max_completion_tokens": 2}),
    ("/v1/chat/completions",
     {"model": "films", "stream": True,
      "messages": [{"role": "user", "content": [{"type": "text", "text": "A film ."}]}]}),
    ("/classify", {"model": "films", "input": [{"text": "A warm film ."}, "A dull one"], "top": 2}),
    ("/classify",
     {"model": "films", "input": "A film .",
      "soft_prompt": {"vectors": [[0.5] * _WIDTH, [0.25] * _WIDTH], "virtual_tokens": 1,
                      "template": "{soft} {text} It was {answer} .",
                      "labels": {"good": "great", "bad": ["bad", "dull"]}}}),
    ("/v1/completions",
     {"model": "nano-gpt2", "prompt": "A film", "max_tokens": 2,
      "soft_prompt": {"safetensors": _FILE}}),
)  # fmt: skip
_PATHS = ("/v1/models", "/v1/models/films", "/health", "/metrics", "/v1/models/nano-gpt2:films")


@dataclass(frozen=True)
class Sent:
    """One request as it comes from the network."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def draw_request(draw: random.Random) -> Sent:
    """A valid request with one thing broken."""
    if draw.random() < 0.1:
        path = draw.choice(_PATHS)
        if draw.random() < 0.7:
            path += str(draw.choice(ODD))[:200]
        return Sent(draw.choice(("GET", "POST", "HEAD")), path, (), b"")
    path, valid = draw.choice(_BODIES)
    body = json.dumps(valid).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    way = draw.random()
    if way < 0.75:
        body = json.dumps(break_value(valid, draw)).encode()
    elif way < 0.9:
        body = break_bytes(body, draw)
    else:
        name = draw.choice((b"content-type", b"content-length", b"authorization", b"expect"))
        value = str(draw.choice(ODD)).encode("latin-1", "replace")[:100]
        headers = [header for header in headers if header[0] != name] + [(name, value)]
    return Sent("POST", path, tuple(headers), body)


class Front:
    """The HTTP application over a scheduler that answers at once.

    Args:
        server: what answers.
    """

    def __init__(self, server: PromptServer) -> None:
        self._app = make_app(_Pool(server), Limits(new_tokens=_MOST_TOKENS, rows=4))  # type: ignore[arg-type]
        self._loop = asyncio.new_event_loop()
        weakref.finalize(self, self._loop.close)

    def ask(self, sent: Sent) -> int:
        """Send a request.

        Returns:
            The status.

        Raises:
            PromptPortError: it was refused.
            AssertionError: an answer that a client cannot read, or a fault of the server.
        """
        status, body = self._loop.run_until_complete(self._asked(sent))
        text = body.decode()
        if status >= 500 or '"server_error"' in text:
            raise AssertionError(f"{status}: {text[:300]}")
        if status < 400:
            return status
        message = json.loads(text)["error"]["message"] if text else "nothing"  # of HEAD
        raise PromptPortError("request", expected="another", got=message, fix="Send another")

    async def _asked(self, sent: Sent) -> tuple[int, bytes]:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": sent.method,
            "path": sent.path,
            "raw_path": sent.path.encode("utf-8", "replace"),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": list(sent.headers),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        incoming = [{"type": "http.request", "body": sent.body, "more_body": False}]
        status, parts = 0, []

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await asyncio.sleep(3600)  # the client stays
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, b"".join(parts)


class _Pool:
    """As `WorkerPool`, with the work of a worker done at once."""

    waiting, restarts, is_ready = 0, 0, True

    def __init__(self, server: PromptServer) -> None:
        self._server = server
        self.facts = {"backbone": "nano-gpt2", "kind": "causal", "prompts": server.names}

    async def close(self) -> None:
        """Nothing is open."""

    async def prompts(self, name: str | None = None) -> list[Any]:
        """As a worker lists them."""
        return list(self._events({"list": name})[-1]["prompts"])

    async def ask(
        self, asks: Sequence[Mapping[str, Any]], soft_prompt: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """As a worker answers them."""
        content = {"asks": asks, "streams": False, "soft_prompt": soft_prompt}
        return list(self._events(content)[-1]["replies"])

    async def stream(
        self, ask: Mapping[str, Any], soft_prompt: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Any]:
        """The pieces, and the whole reply."""
        content = {"asks": [ask], "streams": True, "soft_prompt": soft_prompt}
        for event in self._events(content):
            yield event["piece"] if "piece" in event else event["replies"][0]

    def _events(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        told: list[Any] = []
        scheduler = Scheduler(self._server, told.append)
        message = json.loads(json.dumps({"number": 1, **content}))
        try:
            scheduler.submit(job_of(message))
        except PromptPortError as error:
            told.append({"error": error_of(error)})
        scheduler.close()
        scheduler.run()
        # As over a pipe: what is told is JSON.
        events = [json.loads(json.dumps(event)) for event in told]
        for event in events:
            if "error" in event:
                raise RefusedError(event["error"]["message"], event["error"]["status"])
        return events
