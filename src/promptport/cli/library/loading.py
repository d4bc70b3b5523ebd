"""Libraries on the command line: folders of prompts and vectors, read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from promptport.cli.console import backbone_reference, prompt_folders, refuse_together, task_of
from promptport.errors import PromptPortError, StorageError
from promptport.files import what_is_at

if TYPE_CHECKING:
    from torch import Tensor

    from promptport.analysis import Part
    from promptport.backbone import Backbone
    from promptport.library import Candidate
    from promptport.tasks import Task


def find_library(given: list[Path], origin: str | None = None) -> dict[str, Path]:
    """Prompt and vector folders by name: those that are given, and those in a given folder.

    Raises:
        StorageError: a folder with neither, or that does not exist.
        PromptPortError: an origin, which no folder has a use for.
    """
    found: dict[str, Path] = {}
    for place in given:
        own = prompt_folders(place)
        if not own:
            raise StorageError(
                str(place),
                expected="a prompt or vector folder, or a folder of such",
                got=what_is_at(place, "neither"),
                fix="Check the path",
            )
        for folder in own:
            name = folder.name if folder.name not in found else str(folder)
            found[name] = folder
    if all(map(_is_prompt, found.values())):
        refuse_together("a library without vectors", {"--origin": origin is not None})
    return found


def _is_prompt(place: Path) -> bool:
    from promptport.storage.prompt_folder import CONFIG_FILE

    return (place / CONFIG_FILE).is_file()


def open_backbone(places: dict[str, Path], name: str | None, **settings: Any) -> Backbone:
    """The backbone that the first folder names."""
    from promptport.backbone import Backbone

    first = _load(next(iter(places.values())))
    return Backbone.load(**backbone_reference(first.provenance, name), **settings)


def _load(place: Path) -> Any:
    """A prompt, or the vector of a folder that holds no prompt."""
    from promptport.storage import load_prompt, load_vector

    return load_prompt(place) if _is_prompt(place) else load_vector(place)


def load_library(
    places: dict[str, Path], model: Backbone, origin: str | None, data: Path | None
) -> list[Candidate]:
    """All prompts of a library, equal ones once; vectors are put on an origin (None: seed:0).

    Raises:
        PromptPortError: damaged folders, or prompts of another backbone.
    """
    from promptport.cli.made_origin import make_start
    from promptport.library import Candidate
    from promptport.prompt import SoftPrompt

    found = []
    for name, loaded in _once({name: _load(place) for name, place in places.items()}).items():
        task = _known_task(loaded.provenance.task, data)
        if isinstance(loaded, SoftPrompt):
            prompt: SoftPrompt = loaded
        else:
            start, made = make_start(
                origin or "seed:0", loaded.provenance, loaded.length, backbone=model
            )
            prompt = loaded.apply(start, made)
        found.append(Candidate(name, prompt, task))
    return found


def _once(loaded: dict[str, Any]) -> dict[str, Any]:
    """Each prompt once: two equal ones would count twice among what the others say."""
    from promptport.prompt import SoftPrompt

    kept: dict[str, Any] = {}
    again = []
    for name in sorted(loaded, key=lambda name: not isinstance(loaded[name], SoftPrompt)):
        twin = next((other for other in kept if _same(kept[other], loaded[name])), None)
        if twin is None:
            kept[name] = loaded[name]
        else:
            again.append(f"{name} (as {twin})")
    if again:
        typer.echo(f"note: the same prompts again are left out: {', '.join(again)}", err=True)
    return {name: kept[name] for name in loaded if name in kept}


def _same(one: Any, other: Any) -> bool:
    """Whether two prompts or vectors are equal, or one is the vector of the other."""
    import torch

    from promptport.prompt import SoftPrompt

    if isinstance(one, SoftPrompt) and isinstance(other, SoftPrompt):
        return torch.equal(one.vectors, other.vectors)
    first, second = _delta(one), _delta(other)
    return first is not None and second is not None and torch.equal(first, second)


def _delta(loaded: Any) -> Tensor | None:
    from promptport.vector import TaskPromptVector

    if isinstance(loaded, TaskPromptVector):
        return loaded.delta
    return None if loaded.origin is None else TaskPromptVector.of(loaded).delta


def _known_task(name: str | None, data: Path | None) -> Task | None:
    """The task that a folder names, if it can be opened: only its label words are read."""
    from promptport.tasks import open_task

    try:
        return None if name is None else open_task(name, data)
    except PromptPortError:
        return None


def parts_of(
    candidates: Sequence[Candidate],
    places: dict[str, Path],
    given: Sequence[tuple[str, str | None]],
    data: Path | None,
) -> dict[str, Part]:
    """The prompts of a library with their tasks, by name.

    Args:
        candidates: what `load_library` made of the folders: equal prompts are there once.
        places: the folders, by name.
        given: for each folder the option that may name its task, and what it says.
        data: folder of lama: and nlu: tasks.

    Raises:
        PromptPortError: a prompt whose task is not known.
    """
    from promptport.analysis import Part

    said = dict(zip(places, given, strict=True))
    parts = {}
    for each in candidates:
        option, name = said[each.name]
        parts[each.name] = Part(each.prompt, task_of(each.prompt, name, data, option))
    return parts
