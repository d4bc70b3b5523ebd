"""What a tokenizer's own chat template puts around the message of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptport.errors import TaskError

_MESSAGE, _REPLY = "USERSMESSAGE", "MODELSREPLY"


@dataclass(frozen=True)
class ChatFrame:
    """The text around a user's message, the same for every message.

    Attributes:
        opening: what stands in front of it, the system message included.
        closing: what follows it, up to where the model's answer begins.
        end: id of the token that ends an answer; None if the template marks no end.
    """

    opening: str
    closing: str
    end: int | None


def has_chat(tokenizer: Any) -> bool:
    """Whether a tokenizer has a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))


def read_chat(tokenizer: Any, name: str) -> ChatFrame:
    """Read the frame off a tokenizer's chat template.

    Args:
        tokenizer: the tokenizer.
        name: of the backbone, for messages.

    Raises:
        TaskError: there is no chat template, or it does not keep a message as it is.
    """
    if not has_chat(tokenizer):
        raise TaskError(
            name,
            expected="a tokenizer with a chat template, since the template has {chat}",
            got="none",
            fix="Leave out --chat (or {chat}), or choose a model that was tuned to chat",
        )
    asked = [{"role": "user", "content": _MESSAGE}]
    opening, closing = _around(render_chat(tokenizer, asked, name), _MESSAGE, name)
    answered = [*asked, {"role": "assistant", "content": _REPLY}]
    said = render_chat(tokenizer, answered, name, answering=False)
    _, behind = _around(said, _REPLY, name)
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    end = ids[0] if ids and ids[0] in tokenizer.all_special_ids else None
    return ChatFrame(opening, closing, end)


def render_chat(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], name: str, *, answering: bool = True
) -> str:
    """A chat as its model reads it.

    Args:
        tokenizer: with a chat template.
        messages: role and content of each.
        name: of the backbone, for messages.
        answering: up to where the model's next answer begins.

    Raises:
        TaskError: the template fails on these messages.
    """
    try:
        # Models that think before they answer are asked not to: their answer is what is scored.
        return str(
            tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=answering,
                enable_thinking=False,
            )
        )
    except Exception as error:  # a program of others, which raises whatever it likes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _unusable(name, f"one that fails ({reason})") from error


def _around(text: str, part: str, name: str) -> tuple[str, str]:
    before, found, after = text.partition(part)
    if not found or part in after:
        raise _unusable(name, "one that changes or repeats it")
    return before, after


def _unusable(name: str, got: str) -> TaskError:
    return TaskError(
        f"chat template of {name}",
        expected="one that shows a message of the user as it is",
        got=got,
        fix="Leave out --chat (or {chat}), or mend the tokenizer's chat template",
    )
