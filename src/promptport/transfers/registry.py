"""The registry of transfer methods: versioned names, checked options."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from promptport.errors import PromptPortError, UnknownNameError
from promptport.transfers.problem import TransferProblem

_NAME = re.compile(r"^([a-z][a-z0-9_]*)\.v([1-9][0-9]*)$")
_METHODS: dict[str, Method] = {}


@dataclass(frozen=True)
class Method:
    """A transfer method as it is registered.

    Attributes:
        name: `least_squares.v1`; other numbers need another version.
        paper: where it comes from.
        function: `f(problem, *, option=...) -> (n, d_t)`.
        options: name -> default.
        hints: name -> type.
        from_description: whether it looks at `problem.describe` alone, so that one description
            can stand for several sources.
    """

    name: str
    paper: str
    function: Callable[..., Tensor]
    options: Mapping[str, Any]
    hints: Mapping[str, Any]
    from_description: bool = False

    @property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def complete(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check options and fill in the defaults.

        Raises:
            UnknownNameError: the method has no such option.
            PromptPortError: a value of another type.
        """
        for name, value in options.items():
            if name not in self.options:
                raise unknown_name(f"option of {self.name}", name, self.options)
            if not _fits(value, self.hints.get(name, Any)):
                raise PromptPortError(
                    f"option {name} of {self.name}",
                    expected=_describe(self.hints[name]),
                    got=repr(value),
                    fix=f"Give a value like the default, {self.options[name]!r}",
                )
        return {**self.options, **options}

    def __call__(
        self, problem: TransferProblem, options: Mapping[str, Any] | None = None
    ) -> Tensor:
        """Run the method: (n, d_t)."""
        return self.function(problem, **self.complete(options or {}))


def transfer_method(
    name: str, *, paper: str, from_description: bool = False
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register `f(problem, *, option=...) -> Tensor (n, d_t)`; the function stays as it is.

    Args:
        name: `<name>.v<version>`, for instance `least_squares.v1`.
        paper: reference, equation included.
        from_description: see `Method`.

    Raises:
        PromptPortError: not such a name, taken already, or a function of another shape.
    """
    if not _NAME.match(name):
        raise PromptPortError(
            "transfer method",
            expected="a name like least_squares.v1",
            got=repr(name),
            fix="Add a version to the name",
        )

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if name in _METHODS:
            raise PromptPortError(
                "transfer method",
                expected="a new name",
                got=f"{name}, which is taken",
                fix="Raise the version",
            )
        _METHODS[name] = Method(
            name, paper, function, _options(name, function), _hints(function), from_description
        )
        return function

    return register


def find_method(name: str) -> Method:
    """The method of a full name, or the newest version of a bare name.

    Raises:
        UnknownNameError: no such method.
    """
    if name in _METHODS:
        return _METHODS[name]
    versions = [full for full in _METHODS if full.rpartition(".")[0] == name]
    if not versions:
        bare = {full.rpartition(".")[0] for full in _METHODS}
        raise unknown_name("transfer method", name, _METHODS if "." in name else bare)
    return _METHODS[max(versions, key=_version)]


def list_methods() -> list[Method]:
    """All methods by name and version."""
    names = sorted(_METHODS, key=lambda name: (name.rpartition(".")[0], _version(name)))
    return [_METHODS[name] for name in names]


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """An error that lists the known names and guesses which one was meant."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}? Otherwise choose" if close else "Choose"
    return UnknownNameError(
        what,
        expected=f"one of {', '.join(names)}" if names else "none",
        got=repr(name),
        fix=f"{hint} one of these" if names else "Leave it out",
    )


def _version(name: str) -> int:
    return int(name.rpartition(".v")[2])


def _options(name: str, function: Callable[..., Tensor]) -> dict[str, Any]:
    first, *rest = inspect.signature(function).parameters.values()
    if first.kind is first.KEYWORD_ONLY or any(
        p.kind is not p.KEYWORD_ONLY or p.default is p.empty for p in rest
    ):
        raise PromptPortError(
            name,
            expected="f(problem, *, option=default)",
            got=f"f{inspect.signature(function)}",
            fix="Make every option keyword-only and give it a default",
        )
    return {p.name: p.default for p in rest}


def _hints(function: Callable[..., Tensor]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # names known to the type checker only
        return {}


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _describe(hint: Any) -> str:
    return "a value of type " + (hint.__name__ if isinstance(hint, type) else str(hint))
