"""What a server is asked, and what it replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptport.errors import TaskError
from promptport.serving.sent import SentPrompt

Message = Mapping[str, str]  # role and content
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Ask:
    """One row for one prompt.

    Attributes:
        prompt: its name; None for the bare model.
        text: the text, which fills the only field of the template, or the texts by field.
        messages: in place of a text, a chat, the last message of which is a user's.
        writing: how an answer is written: fields of `WritingConfig` in place of those of the
            prompt's task. A label is not written.
        top: words to give of a probe.
        soft_prompt: virtual tokens in place of those of `prompt`, whose task and template they take
            unless they bring their own.

    Raises:
        TaskError: neither a text nor messages, both, or messages that are no chat.
    """

    prompt: str | None
    text: str | Mapping[str, str] | None = None
    messages: Sequence[Message] | None = None
    writing: Mapping[str, Any] = field(default_factory=dict)
    top: int = 5
    soft_prompt: SentPrompt | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.messages is None):
            raise TaskError(
                "ask",
                expected="a text, or the messages of a chat",
                got="neither" if self.text is None else "both",
                fix="Give one of them",
            )
        if self.messages is not None:
            _check_messages(self.messages)


@dataclass(frozen=True)
class Reply:
    """The answer to one row.

    Attributes:
        text: label (classification), word (probe), the number of a regression, or what the model
            wrote.
        probabilities: label or word -> probability, the best first; None where it wrote.
        truncated: whether the text was too long for the backbone, and only its beginning was read.
        read: tokens that the backbone read, virtual ones included.
        written: tokens that it wrote; 0 for a label.
        ended: `end` or `length` where it wrote, else `label`.
    """

    text: str
    probabilities: Mapping[str, float] | None
    truncated: bool
    read: int
    written: int = 0
    ended: str = "label"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        shares = None if self.probabilities is None else dict(self.probabilities)
        return {**vars(self), "probabilities": shares}


def _check_messages(messages: Sequence[Message]) -> None:
    roles = [message.get("role") for message in messages]
    if not roles or roles[-1] != "user":
        raise TaskError(
            "messages",
            expected="a chat whose last message is the user's",
            got="none" if not roles else f"one that ends with {roles[-1]!r}",
            fix="Put the user's message last",
        )
    for number, (role, message) in enumerate(zip(roles, messages, strict=True), 1):
        if role not in ROLES or not isinstance(message.get("content"), str):
            raise TaskError(
                f"message {number}",
                expected=f"a role ({', '.join(ROLES)}) and a text as content",
                got=repr(role) if role not in ROLES else "no text",
                fix="Correct the message",
            )
