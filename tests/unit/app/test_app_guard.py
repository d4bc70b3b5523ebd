"""Other sites and other names do not reach the page; beyond this machine a token is needed."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from promptport.app.guard import COOKIE, Guard
from promptport.app.running import AppConfig
from promptport.errors import PromptPortError


async def _inner(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(guard, kind="http", query="", **headers):
    """Status, headers and text of an answer; of a web socket the first message."""
    sent = []
    scope = {
        "type": kind,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers.items()],
    }

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    if kind == "websocket":
        return sent[0]
    given = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], given, sent[1]["body"].decode()


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "localhost:1", "[::1]:8080"])
def test_names_of_this_machine_are_answered_with_a_policy(host) -> None:
    status, headers, text = ask(Guard(_inner), host=host, origin=f"http://{host}")
    assert (status, text) == (200, "the page")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "", "a:80:80"])
def test_other_names_are_refused(host) -> None:
    assert ask(Guard(_inner), host=host)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9"])
def test_pages_of_other_sites_are_refused_on_web_sockets_too(origin) -> None:
    host = "localhost:8080"
    assert ask(Guard(_inner), host=host, origin=origin)[0] == 403
    closed = ask(Guard(_inner), "websocket", host=host, origin=origin)
    assert closed == {"type": "websocket.close", "code": 1008}


def test_with_a_token_any_name_is_answered_to_those_who_have_it() -> None:
    guard, host = Guard(_inner, "secret"), "lab.example:8080"
    assert ask(guard, host=host)[0] == 403
    assert ask(guard, host=host, query="token=wrong")[0] == 403
    assert ask(guard, host=host, query="token=%C3%A9%F0%9F%98%80")[0] == 403
    assert ask(guard, host=host, cookie=f"{COOKIE}=wrong")[0] == 403
    assert ask(guard, "websocket", host=host)["code"] == 1008
    status, headers, _ = ask(guard, host=host, query="token=secret")
    assert (status, headers["location"]) == (303, "/")
    kept = hashlib.sha256(b"secret").hexdigest()  # a token may have signs that no cookie may have
    assert headers["set-cookie"] == f"{COOKIE}={kept}; HttpOnly; SameSite=Strict; Path=/"
    assert ask(guard, host=host, cookie=f"{COOKIE}=secret")[0] == 403
    assert ask(guard, host=host, cookie=f"a=b; {COOKIE}={kept}")[0] == 200
    assert ask(guard, host=host, origin="http://evil.example", cookie=f"{COOKIE}={kept}")[0] == 403


def test_an_address_beyond_this_machine_needs_a_token() -> None:
    with pytest.raises(PromptPortError, match=r"--host 0\.0\.0\.0: expected a token"):
        AppConfig((), host="0.0.0.0")
    assert AppConfig((), host="0.0.0.0", token="t").token == "t"
    assert AppConfig(()).host == "127.0.0.1"
