"""The bodies of requests, as OpenAI's clients send them, and of replies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptport.serving.pool import RefusedError

Row = str | dict[str, str]
# A label comes back with every row. Half a surrogate pair is refused where a length is checked.
_Name = Annotated[str, Field(max_length=200)]
_Words = Annotated[list[_Name], Field(max_length=100)]


class Limits(BaseModel):
    """What one request may ask for.

    Attributes:
        rows: most rows.
        new_tokens: most tokens of an answer.
        text: most characters of a row.
        body: most bytes of a body.
    """

    model_config = ConfigDict(frozen=True)

    rows: int = 256
    new_tokens: int = 1024
    text: int = 100_000
    body: int = 4 << 20


class GivenPrompt(BaseModel):
    """A soft prompt that comes with the request: `vectors` or `safetensors`, and how it is asked.

    Attributes:
        vectors: n lists of d numbers.
        safetensors: in their place a safetensors file, as base64.
        virtual_tokens: so many of its rows, the first ones; None for all.
        template: where the virtual tokens stand.
        labels: label -> label word or words: at most 1,000 labels, 100 words of each, and 200
            characters of a label or word.
    """

    model_config = ConfigDict(extra="forbid")

    vectors: list[list[float]] | None = None
    safetensors: str | None = None
    virtual_tokens: int | None = Field(None, ge=1)
    template: str | None = Field(None, max_length=10_000)
    labels: dict[_Name, _Name | _Words] | None = Field(None, max_length=1000)

    @model_validator(mode="after")
    def _one_of_two(self) -> GivenPrompt:
        if (self.vectors is None) == (self.safetensors is None):
            raise ValueError("expected vectors or safetensors, one of them")
        return self


def message_of(given: GivenPrompt | None) -> dict[str, Any] | None:
    """What `SentPrompt.of_message` reads."""
    return None if given is None else given.model_dump(exclude_none=True)


class _Written(BaseModel):
    """What requests that write have in common. What would change an answer and is not known is
    refused; anything else that a client sends is not looked at."""

    model: str = Field(max_length=1000)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**32 - 1)
    stop: str | list[str] | None = None
    stream: bool = False
    n: Literal[1] | None = None
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    presence_penalty: float | None = Field(None, ge=0, le=0)
    logit_bias: None = None
    tools: None = None
    response_format: None = None
    soft_prompt: GivenPrompt | None = None

    def writing(self, limits: Limits) -> dict[str, Any]:
        """Fields of `WritingConfig` that the client set.

        Raises:
            RefusedError: more new tokens than one request may ask for.
        """
        most = self.max_completion_tokens or self.max_tokens
        if most is not None and most > limits.new_tokens:
            raise RefusedError(f"max_tokens: at most {limits.new_tokens}, got {most}", 400)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        given: dict[str, Any] = {
            "max_new_tokens": most,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "stop": stop,
        }
        return {name: value for name, value in given.items() if value is not None}


class Completion(_Written):
    """Body of `/v1/completions`: rows of the prompt's template, or bare texts of the model."""

    prompt: Row | list[Row]
    logprobs: None = None


class ChatCompletion(_Written):
    """Body of `/v1/chat/completions`."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    logprobs: Literal[False] | None = None


class Classification(BaseModel):
    """Body of `/classify`."""

    model: str = Field(max_length=1000)
    input: Row | list[Row]
    top: int = Field(5, ge=1, le=100)
    soft_prompt: GivenPrompt | None = None


def rows_of(given: Row | list[Row], limits: Limits) -> list[Row]:
    """The rows of a request.

    Raises:
        RefusedError: none, too many, or one that is too long.
    """
    rows = given if isinstance(given, list) else [given]
    if not rows or len(rows) > limits.rows:
        raise RefusedError(f"rows: expected 1 to {limits.rows}, got {len(rows)}", 400)
    for number, row in enumerate(rows, 1):
        size = len(row) if isinstance(row, str) else sum(map(len, row.values()))
        if size > limits.text:
            raise RefusedError(f"row {number}: at most {limits.text} characters, got {size}", 400)
    return rows


def messages_of(given: Sequence[Mapping[str, Any]], limits: Limits) -> list[dict[str, str]]:
    """Messages with plain texts; a list of text parts is joined.

    Raises:
        RefusedError: a part that is no text, or too much text.
    """
    messages = []
    for number, message in enumerate(given, 1):
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        texts = [part.get("text") for part in parts if isinstance(part, dict)]
        if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
            raise RefusedError(f"message {number}: expected text as its content", 400)
        text = "".join(str(text) for text in texts)
        messages.append({"role": str(message.get("role")), "content": text})
    if sum(len(message["content"]) for message in messages) > limits.text:
        raise RefusedError(f"messages: at most {limits.text} characters", 400)
    return messages


def completion(model: str, replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Body of a reply to `/v1/completions`."""
    choices = [
        {
            "index": index,
            "text": reply["text"],
            "finish_reason": _reason(reply),
            "logprobs": None,
            **_more(reply),
        }
        for index, reply in enumerate(replies)
    ]
    return {**_head("text_completion", "cmpl", model), "choices": choices, "usage": _usage(replies)}


def chat_completion(model: str, reply: Mapping[str, Any]) -> dict[str, Any]:
    """Body of a reply to `/v1/chat/completions`."""
    message = {"role": "assistant", "content": reply["text"]}
    choice = {"index": 0, "message": message, "finish_reason": _reason(reply), **_more(reply)}
    head = _head("chat.completion", "chatcmpl", model)
    return {**head, "choices": [choice], "usage": _usage([reply])}


class Chunks:
    """Pieces of one streamed reply.

    Args:
        model: as the client named it.
        chat: of a chat.
    """

    def __init__(self, model: str, *, chat: bool) -> None:
        kind = "chat.completion.chunk" if chat else "text_completion"
        self._head = _head(kind, "chatcmpl" if chat else "cmpl", model)
        self._chat, self._begun = chat, False

    def of(self, piece: str | Mapping[str, Any]) -> dict[str, Any]:
        """One chunk: of a piece of text, or of the whole reply at the end."""
        text = piece if isinstance(piece, str) else ""
        choice: dict[str, Any] = {"index": 0, "finish_reason": None}
        if self._chat:
            role = {} if self._begun else {"role": "assistant"}
            choice["delta"] = {**role, **({"content": text} if text else {})}
            self._begun = True
        else:
            choice |= {"text": text, "logprobs": None}
        if isinstance(piece, str):
            return {**self._head, "choices": [choice]}
        choice["finish_reason"] = _reason(piece)
        return {**self._head, "choices": [choice], "usage": _usage([piece])}


def error_body(message: str, status: int) -> dict[str, Any]:
    """Body of a refusal."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    written = message.encode(errors="backslashreplace").decode()  # what clients send may be no text
    return {"error": {"message": written, "type": kind, "code": status}}


def _head(kind: str, prefix: str, model: str) -> dict[str, Any]:
    name = f"{prefix}-{uuid.uuid4().hex}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _reason(reply: Mapping[str, Any]) -> str:
    return "length" if reply["ended"] == "length" else "stop"


def _more(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenAI's replies do not have."""
    more = {"probabilities": reply["probabilities"]} if reply["probabilities"] else {}
    return more | ({"truncated": True} if reply["truncated"] else {})


def _usage(replies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    read, written = (sum(reply[name] for reply in replies) for name in ("read", "written"))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
