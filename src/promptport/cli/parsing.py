"""What users type as options: NAME=VALUE, and files with words."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptport.errors import PromptPortError


def expression_last(arguments: Sequence[str], options: Mapping[str, bool]) -> list[str]:
    """Arguments with an expression that begins with a minus behind `--`: it is no option.

    Args:
        arguments: of a command that takes an expression.
        options: of the command, each as it is typed -> whether a value follows it.
    """
    if "--" in arguments:
        return list(arguments)
    kept: list[str] = []
    expressions: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        is_option = argument in options or argument.startswith("--") or argument == "-"
        if argument.startswith("-") and not is_option:
            expressions.append(argument)
            continue
        kept.append(argument)
        if options.get(argument):
            kept += [value for value in [next(rest, None)] if value is not None]
    return [*kept, "--", *expressions] if expressions else kept


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """`topk=512` -> {"topk": 512}: numbers, true, false and none are read as such.

    Raises:
        PromptPortError: no `=`.
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise PromptPortError(
                "--option", expected="NAME=VALUE", got=repr(text), fix="Write for instance topk=512"
            )
        options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    """A number, true, false or none as such, all else as text (YAML would read 1e-6 as text)."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def read_words(path: Path) -> list[str]:
    """A word list, one a line, empty lines ignored.

    Raises:
        PromptPortError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PromptPortError(
            str(path),
            expected="a text file with one word a line",
            got=(error.strerror or "none").lower() if isinstance(error, OSError) else "no UTF-8",
            fix="Check the path",
        ) from error
