"""Starting the page, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from promptport.app.guard import Guard
from promptport.app.jobs import Desk
from promptport.app.state import AppState
from promptport.errors import MissingPackageError
from promptport.serving.listening import (
    address_of,
    listen,
    refuse_without_token,
    serve_until_told,
)

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
        refuse_without_token(self.host, self.token)


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
    place = listen(config.host, config.port)
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

    def tell() -> None:
        if ready is not None:
            token = "" if config.token is None else f"/?token={quote(config.token, safe='')}"
            ready(f"{address_of(place)}{token}")
        state.desk.warm("quick")

    try:
        await serve_until_told(settings, place, tell)
    finally:
        state.desk.close()
