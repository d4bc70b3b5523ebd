"""The HTTP application: OpenAI's routes, `/classify`, health and metrics."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptport._version import __version__
from promptport.serving.openai import (
    ChatCompletion,
    Chunks,
    Classification,
    Completion,
    GivenPrompt,
    Limits,
    chat_completion,
    completion,
    error_body,
    message_of,
    messages_of,
    rows_of,
)
from promptport.serving.pool import RefusedError, WorkerPool

_log = logging.getLogger("promptport.serving.requests")
_OPEN = ("/health", "/metrics")  # routes that need no token
_SHOWN = 100  # characters of a place in a body
_LOOK_SECONDS = 1.0  # between two looks whether a client is still there
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def make_app(pool: WorkerPool, limits: Limits | None = None, token: str | None = None) -> FastAPI:
    """The application.

    Args:
        pool: workers; started and closed with the application.
        limits: of a request.
        token: what clients must send as `Authorization: Bearer TOKEN`; None for no check.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if not pool.is_ready:
            await pool.start()
        yield
        await pool.close()

    app = FastAPI(title="promptport", version=__version__, lifespan=lifespan)
    routes = _Routes(pool, limits)
    app.add_api_route("/v1/models", routes.models, methods=["GET"])
    app.add_api_route("/v1/models/{name:path}", routes.model, methods=["GET"])
    app.add_api_route("/v1/completions", routes.completions, methods=["POST"], response_model=None)
    app.add_api_route("/v1/chat/completions", routes.chat, methods=["POST"], response_model=None)
    app.add_api_route("/classify", routes.classify, methods=["POST"])
    app.add_api_route("/health", routes.health, methods=["GET"])
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _not_so)
    app.add_exception_handler(Exception, _failed)
    metrics = _Metrics(pool)
    app.add_api_route("/metrics", metrics.text, methods=["GET"])
    app.add_middleware(_Guard, token=token, most=limits.body)
    app.add_middleware(_Measured, metrics=metrics)  # outermost
    return app


class _Routes:
    """What each route does."""

    def __init__(self, pool: WorkerPool, limits: Limits) -> None:
        self._pool, self._limits = pool, limits

    async def models(self, request: Request) -> dict[str, Any]:
        """The bare model, and every prompt of the library as `MODEL:PROMPT`."""
        names = await _waited(self._pool.prompts(), request)
        bare = [] if self._pool.facts["kind"] == "masked" else [self._base]
        listed = [*bare, *(f"{self._base}:{name}" for name in names)]
        return {"object": "list", "data": [_model(name) for name in listed]}

    async def model(self, name: str, request: Request) -> dict[str, Any]:
        """All that is known of one model."""
        prompt = self._prompt(name)
        found = [{}] if prompt is None else await _waited(self._pool.prompts(prompt), request)
        known = found[0]
        return {**_model(name), **({"prompt": known} if known else {})}

    async def completions(self, body: Completion, request: Request) -> Any:
        """Rows of a prompt, or bare texts; a label comes as a text with its probabilities."""
        prompt = self._prompt(body.model, request)
        writing = body.writing(self._limits)
        rows = rows_of(body.prompt, self._limits)
        asks = [{"prompt": prompt, "text": row, "writing": writing} for row in rows]
        if not body.stream:
            work = self._pool.ask(asks, message_of(body.soft_prompt))
            return completion(body.model, await _waited(work, request))
        if len(asks) != 1:
            raise RefusedError(f"stream: expected one row, got {len(asks)}", 400)
        return await self._streamed(asks[0], Chunks(body.model, chat=False), body.soft_prompt)

    async def chat(self, body: ChatCompletion, request: Request) -> Any:
        """A chat with the bare model or a prompt; one message fills any prompt's template."""
        messages = messages_of(body.messages, self._limits)
        prompt = self._prompt(body.model, request)
        ask = {"prompt": prompt, "messages": messages, "writing": body.writing(self._limits)}
        if not body.stream:
            work = self._pool.ask([ask], message_of(body.soft_prompt))
            return chat_completion(body.model, (await _waited(work, request))[0])
        return await self._streamed(ask, Chunks(body.model, chat=True), body.soft_prompt)

    async def classify(self, body: Classification, request: Request) -> dict[str, Any]:
        """Label and probabilities of every row."""
        prompt = self._prompt(body.model, request)
        sent = body.soft_prompt
        if prompt is None and (sent is None or sent.labels is None):
            raise RefusedError(
                f"model: expected MODEL:PROMPT, or soft_prompt with labels, got {body.model!r}", 400
            )
        rows = rows_of(body.input, self._limits)
        asks = [{"prompt": prompt, "text": row, "top": body.top} for row in rows]
        replies = await _waited(self._pool.ask(asks, message_of(sent)), request)
        if any(reply["probabilities"] is None for reply in replies):
            whole = "#" not in str(prompt)
            of_one = f", or {prompt}#TASK for one of several tasks" if whole else ""
            raise RefusedError(f"{prompt} writes its answers: use /v1/completions{of_one}", 400)
        results = [
            {
                "label": reply["text"],
                "probabilities": reply["probabilities"],
                "truncated": reply["truncated"],
            }
            for reply in replies
        ]
        return {"model": body.model, "results": results}

    async def health(self) -> JSONResponse:
        """200 when a worker takes requests, else 503."""
        ready = self._pool.is_ready
        told = {"status": "ready" if ready else "loading", "waiting": self._pool.waiting}
        return JSONResponse(told, 200 if ready else 503)

    async def _streamed(
        self, ask: Mapping[str, Any], chunks: Chunks, sent: GivenPrompt | None
    ) -> StreamingResponse:
        """Server-sent events. What is refused is refused before the first of them."""
        pieces = self._pool.stream(ask, message_of(sent))
        first = await anext(pieces)

        async def events() -> AsyncIterator[str]:
            try:
                yield _event(chunks.of(first))
                async for piece in pieces:
                    yield _event(chunks.of(piece))
            except RefusedError as error:
                yield _event(error_body(error.message, error.status))
            finally:
                await pieces.aclose()  # type: ignore[attr-defined]
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @property
    def _base(self) -> str:
        """Public name of the model: of a file or folder, the last part without its ending."""
        name = str(self._pool.facts["backbone"])
        if not Path(name).exists():
            return name
        return Path(name).resolve().name.removesuffix(".gguf")

    def _prompt(self, model: str, request: Request | None = None) -> str | None:
        """The prompt that a client names as `MODEL:PROMPT`, or alone; None for the bare model.

        Raises:
            RefusedError: another model.
        """
        if request is not None:
            request.state.model = model
        if model == self._base:
            return None
        base, colon, prompt = model.rpartition(":")
        if colon and base == self._base:
            return prompt
        if model.startswith(f"{self._base}:"):  # a prompt whose name has a colon
            return model[len(self._base) + 1 :]
        if not colon:
            return model
        raise RefusedError(
            f"model: expected {self._base}:PROMPT, got {model!r}; GET /v1/models lists them", 404
        )


async def _waited(work: Coroutine[Any, Any, Any], request: Request) -> Any:
    """What the pool says; a client that goes away is not answered any more."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                raise RefusedError("the client is gone", 499)
        return task.result()
    finally:
        task.cancel()


class _Metrics:
    """Counts and times of requests."""

    def __init__(self, pool: WorkerPool) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "promptport_request_seconds",
            "Time to the first byte of a response",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._requests = Counter(
            "promptport_requests", "Requests", ["route", "status"], registry=self._registry
        )
        waiting = Gauge("promptport_waiting", "Requests on their way", registry=self._registry)
        waiting.set_function(lambda: pool.waiting)
        restarts = Gauge("promptport_restarts", "Workers started anew", registry=self._registry)
        restarts.set_function(lambda: pool.restarts)

    async def text(self) -> PlainTextResponse:
        """What Prometheus reads."""
        return PlainTextResponse(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def note(self, route: str, status: int, seconds: float) -> None:
        """Note one request."""
        self._seconds.labels(route).observe(seconds)
        self._requests.labels(route, str(status)).inc()


class _Measured:
    """Measures and logs every request."""

    def __init__(self, app: ASGIApp, metrics: _Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, first = time.perf_counter(), 499, 0.0  # 499: the client is gone

        async def noting(message: Message) -> None:
            nonlocal status, first
            if message["type"] == "http.response.start":
                status, first = message["status"], time.perf_counter() - began
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            known = scope.get("route")
            route = known.path if known is not None else "unknown"  # clients name no series
            self._metrics.note(route, status, first)
            whole = time.perf_counter() - began
            told = {"route": route, "status": status, "model": scope.get("state", {}).get("model")}
            times = {"ms_first": round(1000 * first, 1), "ms": round(1000 * whole, 1)}
            _log.info("request", extra={"fields": {**told, **times}})


class _Guard:
    """Refuses bodies that are too large, and requests without the token, before they are read."""

    def __init__(self, app: ASGIApp, token: str | None, most: int) -> None:
        self._app, self._token, self._most = app, token, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not self._is_allowed(scope["path"], headers.get(b"authorization", b"")):
            body = error_body("expected Authorization: Bearer TOKEN with the server's token", 401)
            await JSONResponse(body, 401)(scope, receive, send)
            return
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most:
            await self._too_large(scope, receive, send)
            return
        size = 0
        parts: list[Message] = []
        while True:  # whole bodies are small enough to be held
            message = await receive()
            parts.append(message)
            if message["type"] != "http.request":
                break
            size += len(message.get("body", b""))
            if size > self._most:
                await self._too_large(scope, receive, send)
                return
            if not message.get("more_body"):
                break

        async def replay() -> Message:
            return parts.pop(0) if parts else await receive()

        await self._app(scope, replay, send)

    def _is_allowed(self, path: str, given: bytes) -> bool:
        if self._token is None or path in _OPEN:
            return True
        return hmac.compare_digest(given, f"Bearer {self._token}".encode())

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = error_body(f"a body may have {self._most} bytes", 413)
        await JSONResponse(body, 413, headers={"connection": "close"})(scope, receive, send)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    headers = {"retry-after": "1"} if error.status == 503 else None
    return JSONResponse(error_body(error.message, error.status), error.status, headers)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "body"
    named = place if len(place) <= _SHOWN else place[:_SHOWN] + "…"  # of keys that a client sends
    return JSONResponse(error_body(f"{named}: {first['msg']}", 400), 400)


async def _not_so(_request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses (a body that is no text, an unknown path), in the same form."""
    assert isinstance(error, HTTPException)
    body = error_body(str(error.detail), error.status_code)
    return JSONResponse(body, error.status_code, error.headers)


async def _failed(_request: Request, error: Exception) -> JSONResponse:
    _log.error("a request failed", exc_info=error)
    return JSONResponse(error_body(f"the server failed: {type(error).__name__}", 500), 500)


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "promptport"}
