"""Task vectors on another model: a vector folder, or what tuning added to a mixture prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport.backbone import check_prompt
from promptport.errors import PromptPortError
from promptport.moving.places import Model, ModelPlace, place_of
from promptport.parameters.mixtures import starting_mixture
from promptport.shell import quoted
from promptport.storage import is_vector, load_prompt, load_vector
from promptport.transfers import TransferConfig
from promptport.transfers.vectors import transfer_vector, transfer_word_vector
from promptport.vector import TaskPromptVector

# Settings that count for a vector, as a user writes them.
_OPTIONS = {
    "method": "--method",
    "options": "--option",
    "words": "--words",
    "anchors": "--anchors",
    "minimum_anchors": "--minimum-anchors",
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
    config: TransferConfig | None = None,
) -> VectorMove:
    """Carry one vector folder, or the vector of one mixture prompt, to another model.

    Args:
        places: one vector or prompt folder.
        to: the target, of which the embedding table is read.
        backbone: of the folder, if it is not where the folder says.
        config: for a vector folder; what `transfer_vector` does not know has no effect.

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
    place, config = Path(places[0]), config or TransferConfig()
    if not is_vector(place):
        return _in_words(place, to, backbone, config)
    vector = load_vector(place)
    source = place_of(vector.provenance, backbone, place).space
    moved = transfer_vector(vector, source, ModelPlace(to).space, config)
    return VectorMove(moved, vector)


def _in_words(place: Path, to: Model, backbone: Model | None, config: TransferConfig) -> VectorMove:
    """The vector of a mixture prompt: the same words with the same signs on the target."""
    usual = TransferConfig()
    given = [name for key, name in _OPTIONS.items() if getattr(config, key) != getattr(usual, key)]
    if given:
        raise PromptPortError(
            "--vector of a prompt",
            expected=f"no {', '.join(_OPTIONS.values())} with it",
            got=", ".join(given),
            fix="Leave one of the two out",
        )
    prompt = load_prompt(place)
    if prompt.mixture is None:
        raise PromptPortError(
            "--vector of a prompt",
            expected="a mixture prompt",
            got="one of free vectors",
            fix="Make it a mixture first "
            f"(promptport move {quoted(place)} --only mixture --out Q), or carry the "
            f"vector of its rows: promptport vector make {quoted(place)} --out V, then "
            "promptport transfer V",
        )
    space = place_of(prompt.provenance, backbone, place).space
    check_prompt(prompt, space)
    name = place.name.removesuffix(".prompt")
    start = starting_mixture(prompt, space)
    moved = transfer_word_vector(prompt, start, ModelPlace(to).space, name=name)
    same = prompt.mixture.vectors(space).allclose(prompt.vectors, rtol=1e-3, atol=1e-4)
    return VectorMove(moved, TaskPromptVector.of(prompt, name), not same)
