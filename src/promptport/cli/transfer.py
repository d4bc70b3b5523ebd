"""promptport transfer: `move --method embeddings` under its old name, with the same options."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from promptport.cli import move


@functools.wraps(move.command, assigned=("__annotations__",))
def command(*arguments: Any, **options: Any) -> None:
    """The same by the embedding tables alone: move --method embeddings.

    Neither model is needed, no text and no label. Mixtures of words keep most of their score this
    way; free prompts keep next to nothing, and a warning says so.

    Example:
        promptport transfer capital --to nano-roberta --out capital-roberta
    """
    move.command(*arguments, **options)


def _by_embeddings() -> inspect.Signature:
    """The signature of `move` with another usual method."""
    signature = inspect.signature(move.command, eval_str=True)
    return signature.replace(
        parameters=[
            parameter.replace(default="embeddings") if name == "method" else parameter
            for name, parameter in signature.parameters.items()
        ]
    )


command.__signature__ = _by_embeddings()  # type: ignore[attr-defined]
