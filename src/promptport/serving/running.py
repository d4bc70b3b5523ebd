"""Runs the HTTP server until it is told to end."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError
from promptport.serving.listening import (
    MOST_CONNECTIONS,
    address_of,
    listen,
    refuse_without_token,
    serve_until_told,
)
from promptport.serving.worker import WorkerSettings


@dataclass(frozen=True)
class ServeConfig:
    """Where and how to serve.

    Attributes:
        worker: what is served.
        host: address to listen on.
        port: 0 to 65535; 0 for one that is free.
        workers: processes that hold the model, 1 or more.
        token: what clients must send; needed beyond this machine.
        most_waiting: requests on their way; more are refused with 503.
        limits: fields of `promptport.serving.openai.Limits` in place of the usual ones.

    Raises:
        PromptPortError: an address beyond this machine without a token.
    """

    worker: WorkerSettings
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token: str | None = None
    most_waiting: int = 1024
    limits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_without_token(self.host, self.token)


def need_packages() -> None:
    """Refuse to go on without the packages of the extra `serve`.

    Raises:
        MissingPackageError: one is missing.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "serve",
            expected="the packages of the HTTP server",
            got=f"no {error.name}",
            fix="Install them: pip install 'promptport[serve]'",
        ) from error


def run_server(config: ServeConfig, ready: Any = None) -> None:
    """Serve until SIGINT or SIGTERM; what was accepted is answered first.

    Args:
        config: where and how.
        ready: called with the address once requests are taken.

    Raises:
        PromptPortError: the model or the prompts cannot be opened, or the address is taken.
    """
    need_packages()
    log_json_lines()
    asyncio.run(_serve(config, ready))


async def _serve(config: ServeConfig, ready: Any) -> None:
    import uvicorn

    from promptport.serving.http import make_app
    from promptport.serving.openai import Limits
    from promptport.serving.pool import WorkerPool

    listening = listen(config.host, config.port)
    pool = WorkerPool(config.worker, workers=config.workers, most_waiting=config.most_waiting)
    try:
        await pool.start()
    except BaseException:
        listening.close()
        raise
    app = make_app(pool, Limits(**config.limits), config.token)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=75,  # longer than proxies keep theirs: else both close at once
        timeout_graceful_shutdown=30,
        server_header=False,
    )

    def tell() -> None:
        if ready is not None:
            ready(address_of(listening), pool.facts)

    try:
        await serve_until_told(settings, listening, tell)
    finally:
        await pool.close()


def read_token(file: Path | None, environment: str | None) -> str | None:
    """The token of a file, else of the environment.

    Raises:
        PromptPortError: a file that cannot be read, or a token that no client could send.
    """
    if file is None:
        return _checked_token(environment, "PROMPTPORT_TOKEN") if environment else None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptPortError(
            str(file), expected="a readable file", got=str(error), fix="Check the path"
        ) from error
    return _checked_token(token, str(file))


def _checked_token(token: str, where: str) -> str:
    if not token or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise PromptPortError(
            where,
            expected="a token in one line, of ASCII letters, digits and signs",
            got="an empty file" if not token else "other characters",
            fix="Write a token: openssl rand -hex 32 > FILE",
        )
    return token


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        told = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        told |= getattr(record, "fields", {})
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def log_json_lines() -> None:
    """Let the server log one JSON object a line on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    log = logging.getLogger("promptport.serving")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
