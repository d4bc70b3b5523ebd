"""Whether a value of a place is one that a pattern, a filter or `--only` names."""

from __future__ import annotations

from typing import Any


def is_one_of(own: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, or one of several that are wanted.

    Lists and tuples are alike, and a list of one is its value; `true` is not 1.

    Args:
        own: of a place.
        wanted: a value, or a list of values.
    """
    own = _hard(own)
    choices = wanted if isinstance(wanted, list | tuple) else [wanted]
    choices = [_hard(one) for one in choices]
    if own == tuple(choices):
        return True
    return any(own == one and isinstance(own, bool) == isinstance(one, bool) for one in choices)


def _hard(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
