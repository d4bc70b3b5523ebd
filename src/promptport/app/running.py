"""Starting the page, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.app.guard import LOOPBACK, Guard
from promptport.app.jobs import Desk
from promptport.app.state import AppState
from promptport.errors import MissingPackageError, PromptPortError

Ready = Callable[[str], None]


@dataclass(frozen=True)
class AppConfig:
    """Where the page is, and what of.

    Attributes:
        places: folders of the library.
        host: address to listen on.
        port: 0 for any that is free.
        token: that browsers must send; needed beyond this machine.
        settings: of the workers, see `work.Session`.
    """

    places: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and self.token is None:
            raise PromptPortError(
                f"--host {self.host}",
                expected="a token, since others than this machine can reach the page",
                got="none",
                fix="Write one (openssl rand -hex 32 > token) and add --token-file token, or leave "
                "--host out",
            )


def need_packages() -> None:
    """Refuse to go on without the packages of the extra `app`.

    Raises:
        MissingPackageError: one is missing.
    """
    try:
        import nicegui  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "app",
            expected="the package of the page, NiceGUI",
            got=f"no {error.name}",
            fix="Install it: pip install 'promptport[app]'",
        ) from error


def run_app(config: AppConfig, ready: Ready | None = None) -> None:
    """Show the page until SIGINT or SIGTERM.

    Args:
        config: where, and what of.
        ready: called with the address once the page can be opened.

    Raises:
        MissingPackageError: without NiceGUI.
        PromptPortError: an address that is taken, or a library that cannot be read.
    """
    need_packages()
    place = _listen(config)
    try:
        desk = Desk(config.settings)
        state = AppState(config.places, desk, config.settings.get("data"))
        state.catalog()  # what cannot be read is told before anything is shown
        asyncio.run(_serve(config, place, state, ready))
    finally:
        place.close()


async def _serve(
    config: AppConfig, place: socket.socket, state: AppState, ready: Ready | None
) -> None:
    import uvicorn
    from fastapi import FastAPI
    from nicegui import ui

    from promptport.app.views import add_pages

    add_pages(state)
    inner = FastAPI(openapi_url=None)
    ui.run_with(inner, title="promptport", dark=None, show_welcome_message=False)
    settings = uvicorn.Config(
        Guard(inner, config.token),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
    )

    class Server(uvicorn.Server):
        """Ends with 0 when it is told to end, and says when it takes requests."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None and not self.should_exit:
                host, port = place.getsockname()[:2]
                name = f"[{host}]" if ":" in host else host
                token = "" if config.token is None else f"/?token={config.token}"
                ready(f"http://{name}:{port}{token}")
            state.desk.warm("quick")

    try:
        await Server(settings).serve([place])
    finally:
        state.desk.close()


def _listen(config: AppConfig) -> socket.socket:
    """A socket that is bound, before anything is loaded: a taken port is told at once."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    place = socket.socket(family, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((config.host, config.port))
        place.listen()
    except (OSError, OverflowError) as error:
        place.close()
        raise PromptPortError(
            f"{config.host}:{config.port}",
            expected="an address of this machine with a free port",
            got=str(getattr(error, "strerror", None) or error),
            fix="Choose another port with --port (0: any that is free)",
        ) from error
    return place
