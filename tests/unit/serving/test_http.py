"""The HTTP application over a pool that answers by itself: routes, limits, refusals."""

from __future__ import annotations

import asyncio
import json

import pytest

httpx = pytest.importorskip("httpx2")
pytest.importorskip("fastapi")

from promptport.serving.http import make_app  # noqa: E402
from promptport.serving.openai import Limits  # noqa: E402
from promptport.serving.pool import RefusedError  # noqa: E402

JSON = {"content-type": "application/json"}


class Pool:
    """Says what it was asked."""

    waiting, restarts = 0, 2

    def __init__(self) -> None:
        self.facts = {"backbone": "tiny", "kind": "causal", "prompts": ["films"]}
        self.is_ready = True
        self.asked: list[dict] = []
        self.sent: list[dict | None] = []
        self.closed = False

    async def close(self) -> None:
        self.closed = True

    async def prompts(self, name=None):
        if name is None:
            return ["films", "a:b"]
        return [{"name": name, "labels": ["good"]}]

    async def ask(self, asks, soft_prompt=None):
        self.asked += asks
        self.sent.append(soft_prompt)
        if any(ask.get("text") == "busy" for ask in asks):
            raise RefusedError("too many requests are waiting: try again later", 503)
        return [reply(ask) for ask in asks]

    async def stream(self, ask, soft_prompt=None):
        self.asked.append(ask)
        self.sent.append(soft_prompt)
        if ask["prompt"] == "nothing":
            raise RefusedError("no such prompt", 404)
        yield "one"
        if ask.get("text") == "breaks":
            raise RefusedError("the server failed", 500)
        yield " two"
        yield {**reply(ask), "text": "one two"}


def reply(ask) -> dict:
    writes = ask["prompt"] is None
    shares = None if writes else {"good": 0.75, "bad": 0.25}
    text = "said" if writes else "good"
    ended = "length" if writes else "label"
    return {
        **{"text": text, "probabilities": shares, "truncated": False, "read": 4, "ended": ended},
        "written": 2 if writes else 0,
    }


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def call(pool):
    """Send requests to the application."""

    def send(method, path, *, token=None, limits=None, **options):
        async def run():
            transport = httpx.ASGITransport(app=make_app(pool, limits, token))
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, **options)

        return asyncio.run(run())

    return send


def test_models_are_the_bare_one_and_every_prompt(call) -> None:
    listed = call("GET", "/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["tiny", "tiny:films", "tiny:a:b"]
    known = call("GET", "/v1/models/tiny:films").json()
    assert known["prompt"] == {"name": "films", "labels": ["good"]}
    assert "prompt" not in call("GET", "/v1/models/tiny").json()


@pytest.mark.parametrize(
    ("model", "prompt"),
    [("tiny", None), ("tiny:films", "films"), ("films", "films"), ("tiny:a:b", "a:b")],
)
def test_a_prompt_is_named_behind_its_model(call, pool, model, prompt) -> None:
    answer = call("POST", "/v1/completions", json={"model": model, "prompt": "a film"})
    assert answer.status_code == 200
    assert pool.asked[0]["prompt"] == prompt
    choice = answer.json()["choices"][0]
    assert choice["text"] == ("said" if prompt is None else "good")
    assert choice["finish_reason"] == ("length" if prompt is None else "stop")
    assert choice.get("probabilities") == (None if prompt is None else {"good": 0.75, "bad": 0.25})
    usage = answer.json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_rows_and_settings_reach_the_worker(call, pool) -> None:
    body = {
        "model": "tiny", "prompt": ["a", {"text": "b"}], "max_tokens": 7, "temperature": 0.5,
        "top_p": 0.9, "seed": 3, "stop": "END", "user": "someone", "n": 1, "frequency_penalty": 0,
    }  # fmt: skip
    answer = call("POST", "/v1/completions", json=body)
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1]
    assert [ask["text"] for ask in pool.asked] == ["a", {"text": "b"}]
    assert pool.asked[0]["writing"] == {
        "max_new_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["END"],
    }  # fmt: skip
    greedy = {**body, "temperature": 0, "max_completion_tokens": 9}
    call("POST", "/v1/completions", json=greedy)
    assert pool.asked[-1]["writing"]["max_new_tokens"] == 9


def test_a_chat_has_texts_or_parts_of_text(call, pool) -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "film"}]
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": parts}]
    answer = call("POST", "/v1/chat/completions", json={"model": "tiny", "messages": messages})
    assert answer.json()["choices"][0]["message"] == {"role": "assistant", "content": "said"}
    assert pool.asked[0]["messages"][1] == {"role": "user", "content": "a film"}
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    refused = call("POST", "/v1/chat/completions", json={"model": "tiny", "messages": picture})
    assert (refused.status_code, "expected text" in refused.text) == (400, True)


@pytest.mark.parametrize("route", ["/v1/completions", "/v1/chat/completions"])
def test_a_streamed_answer_ends_with_its_reason_and_done(call, route) -> None:
    row = {"prompt": "a"} if route == "/v1/completions" else {
        "messages": [{"role": "user", "content": "a"}]
    }  # fmt: skip
    answer = call("POST", route, json={"model": "tiny", "stream": True, **row})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    texts = [c["text"] if "text" in c else c["delta"].get("content", "") for c in choices]
    assert "".join(texts) == "one two"
    assert [c["finish_reason"] for c in choices] == [None, None, "length"]
    assert json.loads(lines[-2])["usage"]["completion_tokens"] == 2


def test_a_stream_that_cannot_begin_is_refused_and_one_that_breaks_says_so(call) -> None:
    body = {"model": "nothing", "prompt": "a", "stream": True}
    assert call("POST", "/v1/completions", json=body).status_code == 404
    broken = call("POST", "/v1/completions", json={**body, "model": "tiny", "prompt": "breaks"})
    assert '"message": "the server failed"' in broken.text
    several = call("POST", "/v1/completions", json={**body, "prompt": ["a", "b"]})
    assert several.status_code == 400


def test_classify_gives_labels_and_probabilities(call, pool) -> None:
    body = {"model": "tiny:films", "input": ["a", "b"], "top": 2}
    answer = call("POST", "/classify", json=body).json()
    assert (
        answer["results"]
        == [{"label": "good", "probabilities": {"good": 0.75, "bad": 0.25}, "truncated": False}] * 2
    )
    assert pool.asked[0]["top"] == 2
    assert call("POST", "/classify", json={"model": "tiny", "input": "a"}).status_code == 400


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"prompt": "a"}, 400, "model: Field required"),
        ({"model": "tiny"}, 400, "prompt: Field required"),
        ({"model": "tiny", "prompt": []}, 400, "rows: expected 1 to 2, got 0"),
        ({"model": "tiny", "prompt": ["a", "b", "c"]}, 400, "rows: expected 1 to 2, got 3"),
        ({"model": "tiny", "prompt": "a" * 101}, 400, "row 1: at most 100 characters, got 101"),
        ({"model": "tiny", "prompt": "a", "max_tokens": 51}, 400, "max_tokens: at most 50"),
        ({"model": "tiny", "prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
        ({"model": "tiny", "prompt": "a", "n": 2}, 400, "n: "),
        ({"model": "tiny", "prompt": "a", "echo": True}, 400, "echo: "),
        ({"model": "tiny", "prompt": "a", "logprobs": 5}, 400, "logprobs: "),
        ({"model": "tiny", "prompt": "a", "presence_penalty": 1}, 400, "presence_penalty: "),
        ({"model": "tiny", "prompt": "a", "temperature": "hot"}, 400, "temperature: "),
        ({"model": "tiny", "prompt": 3}, 400, "prompt"),
        ({"model": "other:films", "prompt": "a"}, 404, "expected tiny:PROMPT, got 'other:films'"),
        ({"model": "tiny", "prompt": "busy"}, 503, "try again later"),
    ],
)
def test_what_cannot_be_done_is_one_line(call, body, status, told) -> None:
    limits = Limits(rows=2, new_tokens=50, text=100)
    answer = call("POST", "/v1/completions", json=body, limits=limits)
    assert answer.status_code == status
    assert told in answer.json()["error"]["message"]
    assert ("retry-after" in answer.headers) == (status == 503)


def test_a_refusal_that_quotes_half_a_surrogate_pair_can_be_sent(call, pool) -> None:
    async def refuse(asks, soft_prompt=None):
        raise RefusedError("text 1: expected a text in 'text', got only \ud800", 400)

    pool.ask = refuse
    body = json.dumps({"model": "tiny", "prompt": {"\ud800": "a"}})
    answer = call("POST", "/v1/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert r"only \ud800" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/films"])
def test_a_list_is_not_waited_for_when_the_client_is_gone(pool, monkeypatch, path) -> None:
    monkeypatch.setattr("promptport.serving.http._LOOK_SECONDS", 0.01)

    async def never(name=None):
        await asyncio.Event().wait()

    pool.prompts = never
    sent: list[dict] = []

    async def run() -> None:
        parts = iter(({"type": "http.request", "body": b""}, {"type": "http.disconnect"}))

        async def receive():
            return next(parts, {"type": "http.disconnect"})

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
        await asyncio.wait_for(make_app(pool)({**scope, "state": {}}, receive, send), 5)

    asyncio.run(run())
    assert sent[0]["status"] == 499


def test_a_body_that_is_no_json_or_too_large_is_refused(call, pool) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"{", b"\xff", b"[]", b""):
        answer = call("POST", "/classify", content=content, headers=headers)
        assert answer.status_code == 400
    limits = Limits(body=1000)
    large = json.dumps({"model": "tiny:films", "input": "a" * 1000}).encode()

    async def pieces():  # without a content-length
        for start in range(0, len(large), 100):
            yield large[start : start + 100]

    for content in (large, pieces()):
        answer = call("POST", "/classify", content=content, headers=headers, limits=limits)
        assert answer.status_code == 413
    assert pool.asked == []


def test_only_those_with_the_token_are_answered(call, pool) -> None:
    body = {"model": "tiny", "prompt": "a"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
        answer = call("POST", "/v1/completions", json=body, token="secret", headers=headers)
        assert answer.status_code == 401
        assert call("GET", "/v1/models", token="secret", headers=headers).status_code == 401
    assert pool.asked == []
    right = {"authorization": "Bearer secret"}
    assert call("POST", "/v1/completions", json=body, token="secret", headers=right).is_success
    assert call("GET", "/health", token="secret").is_success


def test_health_and_metrics(call, pool, caplog) -> None:
    assert call("GET", "/health").json() == {"status": "ready", "waiting": 0}
    pool.is_ready = False
    assert call("GET", "/health").status_code == 503
    text = call("GET", "/metrics").text
    assert "promptport_restarts 2.0" in text
    assert "promptport_waiting 0.0" in text


def test_metrics_count_by_route_and_status_and_no_name_of_a_client(pool) -> None:
    async def run():
        transport = httpx.ASGITransport(app=make_app(pool))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            for path in ("/v1/models", "/nowhere/%0a", "/v1/models/tiny:films"):
                await client.get(path)
            await client.post("/classify", json={})
            return (await client.get("/metrics")).text

    text = asyncio.run(run())
    for route, status in (
        ("/v1/models", 200), ("unknown", 404), ("/v1/models/{name:path}", 200), ("/classify", 400),
    ):  # fmt: skip
        assert f'promptport_requests_total{{route="{route}",status="{status}"}} 1.0' in text
    assert "nowhere" not in text


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/completions", b"\xf6\xef\x01o", 400),  # no text at all
        ("POST", "/v1/nothing", b"{}", 404),
        ("POST", "/v1/models", b"{}", 405),
    ],
)
def test_what_the_framework_refuses_has_the_form_of_every_error(
    call, method, path, content, status
) -> None:
    headers = {"content-type": "application/json"}
    answer = call(method, path, content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status
    assert answer.json()["error"]["message"]


def test_a_soft_prompt_of_the_request_reaches_the_worker_once(call, pool) -> None:
    given = {"vectors": [[0.5, 1]], "template": "{soft} {text} {answer}", "labels": {"a": "b"}}
    call("POST", "/classify", json={"model": "tiny", "input": ["x", "y"], "soft_prompt": given})
    body = {"model": "tiny:films", "prompt": "x", "soft_prompt": {"safetensors": "QUJD"}}
    call("POST", "/v1/completions", json=body)
    call("POST", "/v1/completions", json={**body, "stream": True})
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
    call("POST", "/v1/chat/completions", json={**chat, "soft_prompt": {"vectors": [[1.0]]}})
    call("POST", "/v1/completions", json={"model": "tiny", "prompt": "x"})
    of_file = {"safetensors": "QUJD"}
    assert pool.sent == [given, of_file, of_file, {"vectors": [[1.0]]}, None]
    assert [ask["prompt"] for ask in pool.asked] == [None, None, "films", "films", None, None]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "expected vectors or safetensors, one of them"),
        ({"vectors": [[1]], "safetensors": "QUJD"}, "expected vectors or safetensors, one of them"),
        ({"vectors": [["much"]]}, "soft_prompt.vectors.0.0"),
        ({"vectors": [[1]], "path": "/etc/passwd"}, "soft_prompt.path: Extra inputs"),
        ({"vectors": [[1]], "virtual_tokens": 0}, "soft_prompt.virtual_tokens"),
        ({"vectors": [[1]]}, "expected MODEL:PROMPT, or soft_prompt with labels"),
        ({"vectors": [[1]], "labels": {"a" * 201: "b"}}, "at most 200 characters"),
        ({"vectors": [[1]], "labels": {"a": "b" * 201}}, "at most 200 characters"),
        ({"vectors": [[1]], "labels": {"a": ["b"] * 101}}, "soft_prompt.labels.a"),
        ({"vectors": [[1]], "labels": {str(i): "b" for i in range(1001)}}, "at most 1000 items"),
        ({"vectors": [[1]], "labels": {"\ud800": "b"}}, "unicode"),
        ({"vectors": [[1]], "labels": {"a": ["\ud800"]}}, "soft_prompt.labels.a"),
        ({"vectors": [[1]], "template": "{soft} \ud800 {answer}"}, "unicode"),
    ],
)
def test_a_soft_prompt_that_is_none_is_one_line(call, pool, given, told) -> None:
    body = json.dumps({"model": "tiny", "input": "a", "soft_prompt": given})
    answer = call("POST", "/classify", content=body, headers=JSON)
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (400, True)
    assert len(answer.json()["error"]["message"]) < 200
    assert pool.asked == []
