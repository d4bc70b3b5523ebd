"""Seeds: which are taken, and how others are made of one."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from promptport.errors import PromptPortError

MOST = 2**32 - 1  # times the largest step of an epoch it is still far below what torch takes
RANGE = f"0 to {MOST}"


def check_seed(seed: Any) -> None:
    """Refuse a seed that is no whole number, or out of its range.

    Raises:
        PromptPortError: it is.
    """
    if not (isinstance(seed, Integral) and 0 <= int(seed) <= MOST):
        raise PromptPortError(
            "seed", expected=f"a number from {RANGE}", got=repr(seed), fix="Write for instance 3"
        )


def later_seed(seed: int, step: int) -> int:
    """A seed so far from another one; behind the last comes the first."""
    return (seed + step) % (MOST + 1)
