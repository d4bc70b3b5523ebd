"""Prompts as users give them: a folder, or one that is loaded already."""

from __future__ import annotations

from pathlib import Path

from promptport.errors import StorageError
from promptport.prompt import SoftPrompt
from promptport.storage.prompt_folder import load_prompt

PromptLike = SoftPrompt | str | Path


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
