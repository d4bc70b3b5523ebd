"""Registries of methods: versioned names, options that are checked, near names that are guessed."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from promptport.errors import PromptPortError, UnknownNameError

_NAME = re.compile(r"^([a-z][a-z0-9_]*)\.v([1-9][0-9]*)$")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Method:
    """A method as it is registered; every registry adds flags of its own.

    Attributes:
        name: `least_squares.v1`; other numbers need another version.
        paper: where it comes from, equation included.
        function: `f(problem, *, option=default)`.
        options: name -> default, read from the function.
        hints: name -> type, read from the function.
    """

    name: str
    paper: str
    function: Callable[..., Any]
    options: Mapping[str, Any] = field(init=False)
    hints: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _options(self.name, self.function))
        object.__setattr__(self, "hints", _hints(self.function))

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

    def __call__(self, problem: Any, options: Mapping[str, Any] | None = None) -> Any:
        """Run the method on a problem of its registry."""
        return self.function(problem, **self.complete(options or {}))


AnyMethod = TypeVar("AnyMethod", bound=Method)


class Registry(Generic[AnyMethod]):
    """Methods of one kind by name.

    Args:
        kind: what they are, for errors: `transfer method`.
        example: a name of one, for errors.
    """

    def __init__(self, kind: str, example: str) -> None:
        self.kind = kind
        self.example = example
        self._methods: dict[str, AnyMethod] = {}

    def register(
        self, make: Callable[[Function], AnyMethod], name: str
    ) -> Callable[[Function], Function]:
        """A decorator that adds a function as a method and leaves it as it is.

        Args:
            make: the method of a function.
            name: `<name>.v<version>`; other numbers need another version.

        Raises:
            PromptPortError: not such a name, taken already, or a function of another shape.
        """
        if not _NAME.match(name):
            raise PromptPortError(
                self.kind,
                expected=f"a name like {self.example}",
                got=repr(name),
                fix="Add a version to the name",
            )

        def add(function: Function) -> Function:
            if name in self._methods:
                raise PromptPortError(
                    self.kind,
                    expected="a new name",
                    got=f"{name}, which is taken",
                    fix="Raise the version",
                )
            self._methods[name] = make(function)
            return function

        return add

    def find(self, name: str) -> AnyMethod:
        """The method of a full name, or the newest version of a bare name.

        Raises:
            UnknownNameError: no such method.
        """
        if name in self._methods:
            return self._methods[name]
        versions = [full for full in self._methods if full.rpartition(".")[0] == name]
        if not versions:
            bare = {full.rpartition(".")[0] for full in self._methods}
            raise unknown_name(self.kind, name, self._methods if "." in name else bare)
        return self._methods[max(versions, key=_version)]

    def list(self) -> list[AnyMethod]:
        """All methods by name and version."""
        names = sorted(self._methods, key=lambda name: (name.rpartition(".")[0], _version(name)))
        return [self._methods[name] for name in names]


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


def _options(name: str, function: Callable[..., Any]) -> dict[str, Any]:
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


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
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
