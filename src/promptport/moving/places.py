"""A backbone before it is loaded: a name, its tables, the whole model, whichever is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone, open_space, weights_at_hand
from promptport.errors import BackboneError, PromptPortError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.space import EmbeddingSpace
from promptport.storage import load_prompt, naming_file

Prompt = SoftPrompt | str | Path
Model = Backbone | EmbeddingSpace | str | Path
_SMALL = 4 * 2**30  # bytes of weights up to which a model is loaded for a check alone


@dataclass(frozen=True)
class ModelPlace:
    """Where a backbone is. Nothing is loaded before it is asked for, and then kept.

    Attributes:
        given: a loaded backbone, an embedding space, an embedded name, a folder or a Hub id.
        revision: Hub revision.
        named_by: the file of a prompt folder that names it, if the user did not.
        loading: device, dtype and device_map for `Backbone.load`.
    """

    given: Model
    revision: str | None = None
    named_by: Path | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name for people and for files."""
        if isinstance(self.given, Backbone):
            return self.given.name
        return self.given.backbone if isinstance(self.given, EmbeddingSpace) else str(self.given)

    @cached_property
    def backbone(self) -> Backbone:
        """The whole model.

        Raises:
            BackboneError: it cannot be found or loaded, or only its space was given.
        """
        if isinstance(self.given, Backbone):
            return self.given
        if isinstance(self.given, EmbeddingSpace):
            raise BackboneError(
                self.name, expected="a model", got="its embedding space", fix="Give the model"
            )
        with self._told():
            return Backbone.load(self.given, revision=self.revision, **self.loading)

    @cached_property
    def space(self) -> EmbeddingSpace:
        """Embedding table and tokenizer alone, if the model is not loaded anyway.

        Raises:
            BackboneError: it cannot be found, or has no such table.
        """
        if isinstance(self.given, EmbeddingSpace):
            return self.given
        if isinstance(self.given, Backbone):
            return self.given.space
        with self._told():
            return open_space(self.given, self.revision)

    @cached_property
    def lacks(self) -> str | None:
        """Why the model cannot be asked; None if it can.

        Raises:
            BackboneError: nothing is there at all.
        """
        if isinstance(self.given, Backbone):
            return None
        if isinstance(self.given, EmbeddingSpace):
            return f"of {self.name} only the embedding space is given"
        with self._told():
            return weights_at_hand(self.name, self.revision).lacks

    @property
    def is_small(self) -> bool:
        """Whether the model is here and quickly loaded, so that it may be asked for a check."""
        if self.lacks is not None:
            return False
        if isinstance(self.given, Backbone):
            return True
        seen = weights_at_hand(self.name, self.revision)
        return seen.local and seen.size <= _SMALL

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say which file named a model that is not there: a folder moved on, most likely."""
        try:
            yield
        except BackboneError as error:
            if self.named_by is None:
                raise
            raise BackboneError(
                str(self.named_by),
                expected="the name of a model that can be loaded here",
                got=f"{self.name!r} ({_reason(error)})",
                fix="Say where the model is: --backbone FOLDER (in Python backbone=), or an "
                "embedded name or Hub id",
            ) from error


def _reason(error: BackboneError) -> str:
    """What came, of an error line."""
    _, _, rest = str(error).partition("got ")
    return rest.partition(". ")[0] or str(error)


@dataclass(frozen=True)
class PromptAt:
    """A prompt with the place of its backbone.

    Attributes:
        prompt: the prompt.
        place: the backbone that it belongs to.
        folder: where it was read from, if it was.
        weight: its say among several, above 0.
    """

    prompt: SoftPrompt
    place: ModelPlace
    folder: Path | None = None
    weight: float = 1.0


def open_prompts(
    prompts: Prompt | Sequence[Prompt],
    backbones: Model | Sequence[Model] | None = None,
    weights: Sequence[float] = (),
    loading: Mapping[str, Any] | None = None,
) -> list[PromptAt]:
    """Prompts by folder or as objects, with their backbones; none of these is loaded.

    Args:
        prompts: one or more.
        backbones: in place of what the prompts say: none, or one per prompt.
        weights: none, or one per prompt.
        loading: device, dtype and device_map of the backbones.

    Raises:
        PromptPortError: no prompt, one that cannot be read, or other counts.
    """
    several = [prompts] if isinstance(prompts, SoftPrompt | str | Path) else list(prompts)
    named = _as_list(backbones)
    if not several:
        raise PromptPortError("prompts", expected="one or more", got="none", fix="Name a prompt")
    for option, values in (("--backbone", named), ("--weight", list(weights))):
        _check_one_each(option, len(values), len(several))
    return [
        _open(
            prompt, named[i] if named else None, weights[i] if weights else 1.0, dict(loading or {})
        )
        for i, prompt in enumerate(several)
    ]


def _as_list(backbones: Model | Sequence[Model] | None) -> list[Model]:
    if backbones is None:
        return []
    single = isinstance(backbones, Backbone | EmbeddingSpace | str | Path)
    return [backbones] if single else list(backbones)  # type: ignore[arg-type, list-item]


def _open(prompt: Prompt, named: Model | None, weight: float, loading: dict[str, Any]) -> PromptAt:
    folder = None if isinstance(prompt, SoftPrompt) else Path(prompt)
    read = prompt if isinstance(prompt, SoftPrompt) else load_prompt(prompt)
    return PromptAt(read, place_of(read.provenance, named, folder, loading), folder, weight)


def place_of(
    made: Provenance,
    named: Model | None = None,
    folder: Path | None = None,
    loading: Mapping[str, Any] | None = None,
) -> ModelPlace:
    """The backbone of a prompt or vector: the one that is named, else the one it remembers.

    Args:
        made: of the prompt or vector.
        named: by the user, None if not.
        folder: that `made` was read from, for the message if the backbone is not there.
        loading: device, dtype and device_map.
    """
    if named is not None:
        return ModelPlace(named, loading=loading or {})
    by = None if folder is None else naming_file(folder)
    return ModelPlace(made.backbone, made.revision, by, loading or {})


def _check_one_each(option: str, values: int, prompts: int) -> None:
    if values and values != prompts:
        raise PromptPortError(
            option,
            expected=f"none, or one per prompt ({prompts})",
            got=str(values),
            fix=f"Repeat {option} for every prompt, in their order",
        )
