"""The registry of transfer methods, and what each of them looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from promptport.registry import Method, Registry

Linear = Literal["vectors", "directions"]


@dataclass(frozen=True)
class TransferMethod(Method):
    """A transfer method: `f(problem, *, option=default) -> (n, d_t)`.

    Attributes:
        from_description: it looks at `problem.describe` alone, so one description can stand for
            several sources, and a portable prompt for its source.
        from_mixture: it looks at the words of a mixture prompt, and gives one.
        own_anchors: what it finds is where the search begins that lets every source use anchors of
            its own.
        linear: in the virtual tokens (`vectors`) or, but for their norms, in their directions
            (`directions`), as long as no anchors are masked; None where it is neither. Task prompt
            vectors travel by linear methods alone.
    """

    from_description: bool = False
    from_mixture: bool = False
    own_anchors: bool = False
    linear: Linear | None = None

    @property
    def needs_source(self) -> bool:
        """Whether it looks at the source's rows, which a portable prompt does not have."""
        return not (self.from_description or self.from_mixture)


METHODS: Registry[TransferMethod] = Registry("transfer method", "least_squares.v1")


def transfer_method(
    name: str,
    *,
    paper: str,
    from_description: bool = False,
    from_mixture: bool = False,
    own_anchors: bool = False,
    linear: Linear | None = None,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register `f(problem, *, option=...) -> Tensor (n, d_t)`; the function stays as it is.

    Args:
        name: `<name>.v<version>`, for instance `least_squares.v1`.
        paper: reference, equation included.
        from_description: see `TransferMethod`, as for the next ones.
        from_mixture: see there.
        own_anchors: see there.
        linear: see there.

    Raises:
        PromptPortError: not such a name, taken already, or a function of another shape.
    """
    flags = (from_description, from_mixture, own_anchors, linear)
    return METHODS.register(lambda f: TransferMethod(name, paper, f, *flags), name)


def find_method(name: str) -> TransferMethod:
    """The method of a full name, or the newest version of a bare name.

    Raises:
        UnknownNameError: no such method.
    """
    return METHODS.find(name)


def list_methods() -> list[TransferMethod]:
    """All methods by name and version."""
    return METHODS.list()
