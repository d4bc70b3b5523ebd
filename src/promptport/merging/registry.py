"""The registry of merge methods: versioned names and checked options, as for transfers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_type_hints

import torch
from torch import Tensor

from promptport.errors import PromptPortError
from promptport.transfers.registry import Method, unknown_name

_NAME = re.compile(r"^([a-z][a-z0-9_]*)\.v([1-9][0-9]*)$")
_METHODS: dict[str, MergeMethod] = {}


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
    """A merge method as it is registered.

    Attributes:
        linear: the result is a weighted sum of the vectors, with weights that depend on the
            coefficients only.
    """

    linear: bool = False


def merge_method(
    name: str, *, paper: str, linear: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register `f(problem, *, option=...) -> Tensor (n, d)`; the function stays as it is.

    Args:
        name: `<name>.v<version>`, for instance `ties.v1`; other numbers need another version.
        paper: reference, equation included.
        linear: see `MergeMethod`.

    Raises:
        PromptPortError: not such a name, or taken already.
    """
    if not _NAME.match(name) or name in _METHODS:
        raise PromptPortError(
            "merge method",
            expected="a new name like ties.v1",
            got=f"{name}, which is taken" if name in _METHODS else repr(name),
            fix="Add or raise the version",
        )

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        options = {p.name: p.default for p in parameters}
        hints = get_type_hints(function)
        _METHODS[name] = MergeMethod(name, paper, function, options, hints, linear=linear)
        return function

    return register


def find_merge(name: str) -> MergeMethod:
    """The method of a full name, or the newest version of a bare name.

    Raises:
        UnknownNameError: no such method.
    """
    if name in _METHODS:
        return _METHODS[name]
    versions = [full for full in _METHODS if full.rpartition(".")[0] == name]
    if not versions:
        bare = {full.rpartition(".")[0] for full in _METHODS}
        raise unknown_name("merge method", name, _METHODS if "." in name else bare)
    return _METHODS[max(versions, key=_version)]


def list_merges() -> list[MergeMethod]:
    """All methods by name and version."""
    names = sorted(_METHODS, key=lambda name: (name.rpartition(".")[0], _version(name)))
    return [_METHODS[name] for name in names]


def _version(name: str) -> int:
    return int(name.rpartition(".v")[2])
