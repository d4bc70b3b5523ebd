"""Runs the HTTP server until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError
from promptport.serving.worker import WorkerSettings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_CONNECTIONS = 2048


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
        if self.host not in LOOPBACK and not self.token:
            raise PromptPortError(
                "--host",
                expected=f"a token for an address beyond this machine ({self.host})",
                got="none",
                fix="Put one into a file and name it with --token-file, or into the environment "
                "variable PROMPTPORT_TOKEN",
            )


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

    listening = _listen(config)
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

    class Server(uvicorn.Server):
        """Ends with 0 when it is told to end; uvicorn's own would die of the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    server = Server(settings)
    if ready is not None:
        host, port = listening.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}", pool.facts)
    try:
        await server.serve([listening])
    finally:
        await pool.close()


def _listen(config: ServeConfig) -> Any:
    """A listening socket, before the model is loaded: a taken port is told at once."""
    import socket

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's waiting off: 40 ms of every request else.
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((config.host, config.port))
        place.listen(MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        place.close()
        raise PromptPortError(
            f"{config.host}:{config.port}",
            expected="an address of this machine with a free port",
            got=str(getattr(error, "strerror", None) or error),
            fix="Choose another port with --port (0: any that is free)",
        ) from error
    return place


def read_token(file: Path | None, environment: str | None) -> str | None:
    """The token of a file, else of the environment.

    Raises:
        PromptPortError: a file that cannot be read, or is empty.
    """
    if file is None:
        return environment or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptPortError(
            str(file), expected="a readable file", got=str(error), fix="Check the path"
        ) from error
    if not token or not token.isascii() or any(c.isspace() for c in token):
        raise PromptPortError(
            str(file),
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
