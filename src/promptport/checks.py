"""Checks of settings that several rooms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptport.errors import TuningError

_IN_RANGE = "Give a value in this range, or leave it out"


def is_once(values: Sequence[object]) -> bool:
    """Whether there are values, and each is there once."""
    return bool(values) and len(set(values)) == len(values)


def refuse_out_of_range(settings: object, ranges: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse a value that does not fit.

    Args:
        settings: whose attributes they are.
        ranges: name -> whether the value fits, and what is expected.

    Raises:
        TuningError: the first that does not.
    """
    for name, (fits, expected) in ranges.items():
        if not fits:
            got = repr(getattr(settings, name))
            raise TuningError(name, expected=expected, got=got, fix=_IN_RANGE)
