"""Which folders hold the prompts of a library, what is in them, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from promptport.catalog.layout import CONFIG_FILE, VECTOR_FILE
from promptport.catalog.names import names_apart
from promptport.catalog.walking import walk
from promptport.errors import FileFormatError, PromptPortError, StorageError
from promptport.files import what_is_at
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, load_vector
from promptport.vector import TaskPromptVector

Content = SoftPrompt | TaskPromptVector


def library_folders(places: Sequence[str | Path]) -> tuple[dict[str, Path], list[str]]:
    """The prompt and vector folders of a library by name.

    A name is the last part of the path; where several end alike, as many parts as tell them apart.

    Args:
        places: such folders, or folders of them, which are looked through to any depth as by
            `library list`; hidden ones are left out.

    Returns:
        name -> folder, and which folders were named again, in words.

    Raises:
        PromptPortError: no place is given.
        StorageError: a place that holds neither, or that does not exist.
    """
    if not places:
        raise PromptPortError(
            "library", expected="a folder of prompts", got="none", fix="Name one folder or more"
        )
    found, _ = walk(places)
    # Names are those of `library list`, which tells of more kinds.
    named = dict(zip(found.things, names_apart(list(found.things)), strict=True))
    by_name = {named[path]: Path(path) for path in found.things if _holds_content(path)}
    again = {path: named[first] for path, first in found.again.items() if _holds_content(path)}
    there = [*by_name.values(), *map(Path, again)]
    for place in map(Path, places):
        real = place.resolve()
        if not any(f.is_relative_to(place) or f.resolve().is_relative_to(real) for f in there):
            raise StorageError(
                str(place),
                expected="a prompt or vector folder, or a folder of such",
                got=what_is_at(place, "neither"),
                fix="Check the path",
            )
    return by_name, [f"{path} (as {name})" for path, name in again.items()]


def _holds_content(path: str) -> bool:
    """Whether it is a folder of a prompt or a vector, whole or damaged."""
    return any(Path(path, mark).is_file() for mark in (CONFIG_FILE, VECTOR_FILE))


def read_folders(
    folders: Mapping[str, Path], *, skip_damaged: bool
) -> tuple[dict[str, Content], list[str]]:
    """What is in the folders: prompts, and the vectors of folders that hold no prompt.

    Args:
        folders: by name.
        skip_damaged: leave damaged folders out instead of refusing them.

    Returns:
        name -> content, and what is wrong with the folders that are left out.

    Raises:
        PromptPortError: a damaged folder; of several, one line names them all.
    """
    contents: dict[str, Content] = {}
    wrong: dict[str, PromptPortError] = {}
    for name, folder in folders.items():
        try:
            contents[name] = read_folder(folder)
        except PromptPortError as error:
            wrong[str(folder)] = error
    if skip_damaged:
        return contents, [str(error) for error in wrong.values()]
    if len(wrong) == 1:
        raise next(iter(wrong.values()))
    if wrong:
        raise FileFormatError(
            f"{len(wrong)} of {len(folders)} folders of the library",
            expected="whole prompts and vectors",
            got="; ".join(_without(str(error), folder) for folder, error in wrong.items()),
            fix="Restore these folders, or take them out of the library",
        )
    return contents, []


def _without(message: str, folder: str) -> str:
    """The message, beginning with the folder that it is about."""
    said = message.rstrip(".")
    return said if said.startswith(folder) else f"{folder}: {said}"


def read_folder(folder: Path) -> Content:
    """A prompt, or the vector of a folder that holds no prompt.

    Raises:
        PromptPortError: it cannot be read.
    """
    return load_prompt(folder) if (folder / CONFIG_FILE).is_file() else load_vector(folder)


def equal_ones(contents: Mapping[str, Content]) -> dict[str, str]:
    """Which prompts are there already: they would count twice among what the others say.

    Args:
        contents: by name. Of a prompt and its vector, the prompt counts.

    Returns:
        name -> name of the one that is equal to it.
    """
    counted: list[str] = []
    again: dict[str, str] = {}
    for name in sorted(contents, key=lambda name: not isinstance(contents[name], SoftPrompt)):
        same = (other for other in counted if _is_same(contents[other], contents[name]))
        twin = next(same, None)
        if twin is None:
            counted.append(name)
        else:
            again[name] = twin
    return again


def _is_same(one: Content, other: Content) -> bool:
    """Whether two prompts or vectors are equal, or one is the vector of the other."""
    if isinstance(one, SoftPrompt) and isinstance(other, SoftPrompt):
        return torch.equal(one.vectors, other.vectors)
    first, second = _delta(one), _delta(other)
    return first is not None and second is not None and torch.equal(first, second)


def _delta(content: Content) -> Tensor | None:
    if isinstance(content, TaskPromptVector):
        return content.delta
    return None if content.origin is None else TaskPromptVector.of(content).delta
