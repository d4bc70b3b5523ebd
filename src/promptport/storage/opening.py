"""Prompts and vectors as users give them: a folder, or what is loaded already."""

from __future__ import annotations

from pathlib import Path

from promptport.errors import StorageError
from promptport.prompt import SoftPrompt
from promptport.storage.prompt_folder import load_prompt
from promptport.storage.vector_folder import load_vector
from promptport.vector import TaskPromptVector

PromptLike = SoftPrompt | str | Path
VectorLike = TaskPromptVector | str | Path


def as_prompt(value: PromptLike) -> SoftPrompt:
    """The given prompt, or that of a prompt folder.

    Raises:
        StorageError: neither, or the folder cannot be read.
        FileFormatError: a damaged or foreign folder.
    """
    if isinstance(value, SoftPrompt):
        return value
    if isinstance(value, str | Path):
        return load_prompt(value)
    raise StorageError(
        "prompt",
        expected="a prompt folder or a loaded prompt",
        got=type(value).__name__,
        fix="Name the folder that promptport tune or PEFT wrote",
    )


def as_vector(value: VectorLike) -> TaskPromptVector:
    """The given vector, or that of a vector folder or of a prompt folder with its origin.

    Raises:
        StorageError: neither, or the folder cannot be read.
        FileFormatError: a damaged or foreign folder.
        MismatchError: a prompt without origin.
    """
    if isinstance(value, TaskPromptVector):
        return value
    if isinstance(value, str | Path):
        return load_vector(value)
    raise StorageError(
        "vector",
        expected="a vector folder or a loaded vector",
        got=type(value).__name__,
        fix="Name the folder that promptport vector make wrote",
    )
