"""Task vectors on another model: a vector folder, or what tuning added to a mixture prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.backbone import check_prompt
from promptport.errors import PromptPortError
from promptport.moving.places import Model, ModelPlace, home_of
from promptport.parameters.mixtures import starting_mixture
from promptport.storage import is_vector, load_prompt, load_vector
from promptport.transfers.vectors import transfer_vector, transfer_word_vector
from promptport.vector import TaskPromptVector

MINIMUM_ANCHORS = 32


@dataclass(frozen=True)
class VectorConfig:
    """How a vector folder is carried. A mixture prompt's vector needs none of this.

    Attributes:
        method: a linear method; None for `linear_map`.
        words: use only these words as anchors; None for all that both models know.
        anchors: which of them, as in `transfer_many`.
        minimum_anchors: refuse fewer anchors than this.
        options: of the method.
    """

    method: str | None = None
    words: Sequence[str] | None = None
    anchors: str = "all"
    minimum_anchors: int = MINIMUM_ANCHORS
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> dict[str, bool]:
        """Option as a user writes it -> whether it differs from the usual."""
        return {
            "--method": self.method is not None,
            "--option": bool(self.options),
            "--words": self.words is not None,
            "--anchors": self.anchors != "all",
            "--minimum-anchors": self.minimum_anchors != MINIMUM_ANCHORS,
        }


@dataclass(frozen=True)
class VectorMove:
    """A carried vector.

    Attributes:
        vector: of the target.
        before: of the source.
        leaves_rest: whether the prompt holds more than its words, which is not carried.
    """

    vector: TaskPromptVector
    before: TaskPromptVector
    leaves_rest: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the vectors."""
        entry = self.vector.provenance.history[-1]
        return {
            "source": entry["source"],
            "target": self.vector.provenance.backbone,
            "coefficients": dict(self.vector.coefficients),
            "method": entry["method"],
            "anchors": entry["anchors"],
            "norm_before": float(self.before.delta.norm()),
            "norm_after": float(self.vector.delta.norm()),
        }


def move_vector(
    places: Sequence[str | Path],
    to: Model,
    *,
    backbone: Model | None = None,
    config: VectorConfig | None = None,
) -> VectorMove:
    """Carry one vector folder, or the vector of one mixture prompt, to another model.

    Args:
        places: one vector or prompt folder.
        to: the target, of which the embedding table is read.
        backbone: of the folder, if it is not where the folder says.
        config: for a vector folder.

    Raises:
        PromptPortError: several folders, a free prompt, settings without effect, or what
            `transfer_vector` refuses.
    """
    if len(places) > 1:
        raise PromptPortError(
            "prompts",
            expected="one vector, or prompts that stay prompts",
            got=f"{len(places)} folders",
            fix="Carry each vector by itself and add them with promptport vector combine",
        )
    place, config = Path(places[0]), config or VectorConfig()
    if not is_vector(place):
        return _in_words(place, to, backbone, config)
    vector = load_vector(place)
    moved = transfer_vector(
        vector,
        home_of(vector.provenance, backbone, place).space,
        ModelPlace(to).space,
        method=config.method or "linear_map",
        words=config.words,
        anchors=config.anchors,
        minimum_anchors=config.minimum_anchors,
        options=config.options,
    )
    return VectorMove(moved, vector)


def _in_words(place: Path, to: Model, backbone: Model | None, config: VectorConfig) -> VectorMove:
    """The vector of a mixture prompt: the same words with the same signs on the target."""
    if given := [name for name, is_given in config.given.items() if is_given]:
        raise PromptPortError(
            "--vector of a prompt",
            expected=f"no {', '.join(config.given)} with it",
            got=", ".join(given),
            fix="Leave one of the two out",
        )
    prompt = load_prompt(place)
    if prompt.mixture is None:
        raise PromptPortError(
            "--vector of a prompt",
            expected="a mixture prompt",
            got="one of free vectors",
            fix=f"Make it a mixture first (promptport move {place} --only mixture --out Q), or "
            f"carry the vector of its rows: promptport vector make {place} --out V, then "
            "promptport transfer V",
        )
    space = home_of(prompt.provenance, backbone, place).space
    check_prompt(prompt, space)
    name = place.name.removesuffix(".prompt")
    start = starting_mixture(prompt, space)
    moved = transfer_word_vector(prompt, start, ModelPlace(to).space, name=name)
    same = prompt.mixture.vectors(space).allclose(prompt.vectors, rtol=1e-3, atol=1e-4)
    return VectorMove(moved, TaskPromptVector.of(prompt, name), not same)
