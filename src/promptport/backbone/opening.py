"""Backbones and their spaces as users give them: a name, a folder, or what is loaded already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.backbone.checkpoint import open_space
from promptport.backbone.model import Backbone
from promptport.errors import BackboneError
from promptport.space import EmbeddingSpace

BackboneLike = Backbone | str | Path
SpaceLike = EmbeddingSpace | Backbone | str | Path


def as_backbone(value: BackboneLike) -> Backbone:
    """A loaded backbone: the given one, or that of a name or folder.

    Args:
        value: embedded name, model folder, GGUF file, Hub id, or a backbone. A backbone that is
            used often is better loaded once, by `Backbone.load`.

    Raises:
        BackboneError: none of these, or it cannot be loaded.
    """
    if isinstance(value, Backbone):
        return value
    if isinstance(value, str | Path):
        return Backbone.load(value)
    raise _is_none(value, "a loaded backbone")


def as_space(value: SpaceLike, revision: str | None = None) -> EmbeddingSpace:
    """The embedding space of a backbone: the given one, or read from its file.

    Args:
        value: embedded name, model folder, GGUF file, Hub id, a backbone, or a space.
        revision: Hub revision, where a name is given.

    Raises:
        BackboneError: none of these, or it cannot be read.
    """
    if isinstance(value, EmbeddingSpace):
        return value
    if isinstance(value, Backbone):
        return value.space
    if isinstance(value, str | Path):
        return open_space(value, revision)
    raise _is_none(value, "a backbone or its space")


def _is_none(value: Any, loaded: str) -> BackboneError:
    return BackboneError(
        "backbone",
        expected=f"an embedded name, a model folder, a GGUF file, a Hub id or {loaded}",
        got=type(value).__name__,
        fix="Name it, for instance nano-bert",
    )
