"""Which models the prompts of a library belong to, and opening the one that is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptport.backbone import Backbone
from promptport.catalog.backbones import Identity, grouped
from promptport.errors import BackboneError, MismatchError, PromptPortError
from promptport.library.entry import LibraryEntry
from promptport.shell import quoted

_MOST_NAMES = 5  # of prompts in one line


def group_by_backbone(entries: Sequence[LibraryEntry]) -> dict[str, tuple[str, ...]]:
    """The models that prompts belong to: name -> names of their prompts."""
    return grouped((entry.name, _identity(entry)) for entry in entries)


def _identity(entry: LibraryEntry) -> Identity:
    made = entry.provenance
    return Identity(made.backbone, made.revision, made.fingerprint, entry.content.width)


def only_backbone(groups: Mapping[str, Sequence[str]]) -> str:
    """The name of the one backbone.

    Args:
        groups: as `group_by_backbone` gives them.

    Raises:
        PromptPortError: none.
        MismatchError: several; one line says which prompts belong to which, and how to choose.
    """
    if not groups:
        raise PromptPortError(
            "library", expected="one prompt or more", got="none", fix="Name prompt folders"
        )
    if len(groups) > 1:
        each = "; ".join(f"{name}: {some_names(names)}" for name, names in groups.items())
        first = quoted(next(iter(groups)))
        raise MismatchError(
            "library",
            expected="prompts of one backbone",
            got=f"{len(groups)} ({each})",
            fix=f"Choose one with --backbone, for instance --backbone {first}",
        )
    return next(iter(groups))


def load_backbone_of(entry: LibraryEntry, settings: Mapping[str, Any]) -> Backbone:
    """Open the model that a prompt names.

    Args:
        entry: the prompt.
        settings: further arguments of `Backbone.load`.

    Raises:
        BackboneError: it cannot be opened; the line says which folder names it.
    """
    made = entry.provenance
    try:
        return Backbone.load(made.backbone, revision=made.revision, **settings)
    except BackboneError as error:
        if entry.folder is None or made.backbone not in str(error):
            raise
        raise BackboneError(
            f"backbone of {entry.folder}",
            expected="a model that can be opened",
            got=f"{made.backbone!r}, which cannot ({str(error).rstrip('.')})",
            fix="Name the place where it is now with --backbone",
        ) from error


def some_names(names: Sequence[str]) -> str:
    """Names in one line; of many the first ones."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
