"""Who may speak with the page: browsers on pages of its own, and beyond this machine a token.

A web site that is open in the same browser could otherwise reach a server on this machine: by a
name of its own that it lets point here, or by a web socket, which browsers open to anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from promptport.serving.listening import LOOPBACK

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "promptport_token"
_POLICY = "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"


class Guard:
    """An ASGI application in front of another one.

    Args:
        app: what is guarded.
        token: that a browser must send once, as `/?token=...`; None for none. With a token the
            server may be asked by any name, without one only by those of this machine.
    """

    def __init__(self, app: App, token: str | None = None) -> None:
        self._app, self._token = app, token
        # What the cookie holds: a token may have characters that no cookie may have.
        self._kept = "" if token is None else hashlib.sha256(token.encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(scope)
        if refused is not None:
            await _refuse(scope, receive, send, refused)
            return
        if self._is_given(scope) and scope["type"] == "http":
            await _welcome(send, self._kept)
            return
        await self._app(scope, receive, _with_policy(send))

    def _refusal(self, scope: Scope) -> str | None:
        """Why a request is not answered; None if it is."""
        headers = _headers(scope)
        host = headers.get("host", "")
        if self._token is None and _name(host) not in LOOPBACK:
            return "This page is asked by the name of this machine alone: 127.0.0.1 or localhost."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Pages of other sites may not use this one."
        if self._token is None or self._is_given(scope):
            return None
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            kept = None
        if kept is not None and hmac.compare_digest(kept.value.encode(), self._kept.encode()):
            return None
        return "A token is needed: open the address that promptport printed, with ?token=..."

    def _is_given(self, scope: Scope) -> bool:
        """Whether the right token stands in the address."""
        found = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return self._token is not None and hmac.compare_digest(
            found.encode("latin-1", "replace"), self._token.encode()
        )


def _headers(scope: Scope) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}


def _name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


async def _refuse(scope: Scope, receive: Receive, send: Send, line: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    plain = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": plain})
    await send({"type": "http.response.body", "body": f"{line}\n".encode()})


async def _welcome(send: Send, kept: str) -> None:
    """Keep a hash of the token in a cookie, and take the token out of the address."""
    cookie = f"{COOKIE}={kept}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode("latin-1"))]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_policy(send: Send) -> Send:
    """No other site may show the page in a frame, and no text may name another base or target."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            added = [
                (b"content-security-policy", _POLICY.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending
