"""The shape of a recipe's file, as pydantic checks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from promptport.errors import RecipeError, StorageError
from promptport.files import storage_error
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
        values = yaml.safe_load(text)
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
