"""The registry of merge methods: versioned names and checked options, as for transfers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.registry import Method, Registry


@dataclass(frozen=True)
class MergeProblem:
    """What a merge method gets.

    Attributes:
        deltas: (m, n, d) float64: the task prompt vectors T_i.
        coefficients: (m,) float64: c_i as they were asked for, any sign.
        generator: for methods that draw random numbers.
    """

    deltas: Tensor
    coefficients: Tensor
    generator: torch.Generator

    @property
    def terms(self) -> Tensor:
        """The scaled vectors c_i T_i: (m, n, d)."""
        return self.coefficients[:, None, None] * self.deltas


@dataclass(frozen=True)
class MergeMethod(Method):
    """A merge method: `f(problem, *, option=default) -> (n, d)`.

    Attributes:
        linear: the result is a weighted sum of the vectors, with weights that depend on the
            coefficients only.
    """

    linear: bool = False


METHODS: Registry[MergeMethod] = Registry("merge method", "ties.v1")


def merge_method(
    name: str, *, paper: str, linear: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register `f(problem, *, option=...) -> Tensor (n, d)`; the function stays as it is.

    Args:
        name: `<name>.v<version>`, for instance `ties.v1`; other numbers need another version.
        paper: reference, equation included.
        linear: see `MergeMethod`.

    Raises:
        PromptPortError: not such a name, taken already, or a function of another shape.
    """
    return METHODS.register(lambda f: MergeMethod(name, paper, f, linear), name)


def find_merge(name: str) -> MergeMethod:
    """The method of a full name, or the newest version of a bare name.

    Raises:
        UnknownNameError: no such method.
    """
    return METHODS.find(name)


def list_merges() -> list[MergeMethod]:
    """All methods by name and version."""
    return METHODS.list()
