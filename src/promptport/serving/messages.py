"""Asks as JSON, between the process that talks to clients and the one that holds the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptport.serving.asks import Ask
from promptport.serving.scheduler import Job, Listing
from promptport.serving.sent import SentPrompt


def job_of(message: Mapping[str, Any]) -> Job | Listing:
    """The job of a message.

    Args:
        message: `number`; then `asks`, `streams` and `soft_prompt` (`SentPrompt.of_message`; of all
            asks), or `list` (a name, or None for all).

    Raises:
        PromptPortError: a value out of its range, or a soft prompt that is none.
    """
    if "list" in message:
        return Listing(message["number"], message["list"])
    given = message.get("soft_prompt")
    sent = None if given is None else SentPrompt.of_message(given)
    asks = [Ask(**ask, soft_prompt=sent) for ask in message["asks"]]
    return Job(message["number"], asks, message.get("streams", False))
