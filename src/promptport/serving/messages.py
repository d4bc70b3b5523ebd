"""Asks as JSON, between the process that talks to clients and the one that holds the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptport.serving.asks import Ask
from promptport.serving.scheduler import Job, Listing


def job_of(message: Mapping[str, Any]) -> Job | Listing:
    """The job of a message.

    Args:
        message: `number`; then `asks` and `streams`, or `list` (a name, or None for all).

    Raises:
        TaskError: a value out of its range.
    """
    if "list" in message:
        return Listing(message["number"], message["list"])
    asks = [Ask(**ask) for ask in message["asks"]]
    return Job(message["number"], asks, message.get("streams", False))
