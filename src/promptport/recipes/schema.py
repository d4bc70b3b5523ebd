"""The shape of a recipe's file, as pydantic checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from promptport.errors import RecipeError, StorageError
from promptport.files import storage_error
from promptport.records import is_number
from promptport.validation import FileModel, FileText, refuse_aliases, validated

_LONGEST = 1 << 20  # bytes of a recipe


class RecipeModel(FileModel):
    """A recipe."""

    question: FileText
    expected: FileText
    time: FileText
    reference: str = ""
    lists: dict[str, list[Any]] = Field(default_factory=dict, description="lists by name")
    settings: dict[str, Any] = Field(default_factory=dict, description="a mapping")
    methods: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict, description="kinds of cells, each with methods by name"
    )
    grid: list[dict[str, Any]] = Field(description="a list of mappings")
    report: dict[str, Any] = Field(default_factory=dict, description="a mapping")
    seconds: dict[str, float] = Field(default_factory=dict, description="numbers by kind")


class _Loader(yaml.SafeLoader):
    """YAML with numbers as JSON has them: `1e-3` is one."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def plain_yaml(text: str) -> Any:
    """The values of a YAML text. No tag of it runs anything.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.load(text, _Loader)  # a safe loader


def refuse_foreign(value: Any, where: str) -> None:
    """Refuse what JSON has not, as dates: runs keep their recipe as JSON.

    Raises:
        RecipeError: there is such a value.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise _foreign(where, "names that are text", key)
            refuse_foreign(inner, f"{where}, {key!r}")
    elif isinstance(value, list):
        for inner in value:
            refuse_foreign(inner, where)
    elif not isinstance(value, str | int | None) and not is_number(value):
        raise _foreign(where, "a text, a number, true, false, a list or a mapping", value)


def _foreign(where: str, expected: str, value: Any) -> RecipeError:
    fix = "Put it in quotes, if a text is meant"
    return RecipeError(where, expected=expected, got=str(value)[:80], fix=fix)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. No tag of it runs anything.

    Raises:
        RecipeError: it cannot be read, or is no mapping.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise _bad(path, "a recipe of 1 MiB at most", f"{path.stat().st_size:,} bytes")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _bad(path, "text in UTF-8", "other bytes") from None
    except OSError as error:
        known: StorageError = storage_error(path, error, "a readable recipe (.yaml)")
        raise RecipeError.of_line(str(known), str(path)) from error
    try:
        values = plain_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _bad(path, "YAML", " ".join(str(error).split())[:160]) from None
    refuse_aliases(values, str(path), RecipeError)
    if not isinstance(values, dict):
        raise _bad(path, "a mapping", type(values).__name__)
    return values


def checked(values: Mapping[str, Any], name: str) -> RecipeModel:
    """The values of a file, checked for their shape.

    Raises:
        RecipeError: one line for the first thing that is wrong.
    """
    known = {k: v for k, v in values.items() if k != "name"}
    return validated(RecipeModel, known, name, RecipeError)


def _bad(path: Path, expected: str, got: str) -> RecipeError:
    return RecipeError(str(path), expected=expected, got=got, fix="Correct the file")
