"""Where a server listens, and how it ends: the same for the HTTP server and for the page."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from promptport.errors import PromptPortError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_CONNECTIONS = 2048


def refuse_without_token(host: str, token: str | None) -> None:
    """Refuse an address that others than this machine can reach, unless clients send a token.

    Raises:
        PromptPortError: it is one, and there is no token.
    """
    if host not in LOOPBACK and not token:
        raise PromptPortError(
            f"--host {host}",
            expected="a token for an address beyond this machine",
            got="none",
            fix="Put one into a file and name it with --token-file, or into the environment "
            "variable PROMPTPORT_TOKEN",
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything is loaded: a taken port is told at once.

    Args:
        host: address of this machine.
        port: 0 for one that is free.

    Raises:
        PromptPortError: there is no such address, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio turns Nagle's waiting off: 40 ms of every request else.
    place = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
        place.listen(MOST_CONNECTIONS)
    except (OSError, OverflowError) as error:
        place.close()
        raise PromptPortError(
            f"{host}:{port}",
            expected="an address of this machine with a free port",
            got=str(getattr(error, "strerror", None) or error),
            fix="Choose another port with --port (0: any that is free)",
        ) from error
    return place


def address_of(place: socket.socket) -> str:
    """The address of a listening socket, as browsers and clients take it."""
    host, port = place.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve_until_told(
    settings: Any, place: socket.socket, ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: a `uvicorn.Config`.
        place: the socket.
        ready: called once requests are taken.
    """
    import uvicorn

    class Server(uvicorn.Server):
        """Ends with 0 when it is told to end; uvicorn's own would die of the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None and not self.should_exit:
                ready()

    await Server(settings).serve([place])
