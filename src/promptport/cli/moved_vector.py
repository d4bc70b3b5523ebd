"""What promptport transfer does with a vector: a folder of one, or that of an anchored prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import typer

from promptport.cli.console import (
    backbone_reference,
    check_vector_out,
    print_json,
    print_table,
    refuse_together,
)
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.space import EmbeddingSpace
    from promptport.vector import TaskPromptVector

MINIMUM_ANCHORS = 32


class VectorSettings(TypedDict):
    """Settings of `transfer_vector` by name."""

    words: Sequence[str] | None
    anchors: str
    minimum_anchors: int
    options: Mapping[str, Any]


def is_vector(place: Path) -> bool:
    """Whether a folder holds a vector and no prompt."""
    from promptport.storage.prompt_folder import CONFIG_FILE
    from promptport.storage.vector_folder import RECORD_FILE

    return (place / RECORD_FILE).is_file() and not (place / CONFIG_FILE).is_file()


def move_vector(
    places: list[Path],
    source: str | None,
    to: str,
    method: str | None,
    settings: VectorSettings,
    out: Path,
    json_output: bool,
) -> None:
    """Carry one vector folder, or the vector of one anchored prompt, to another backbone.

    Raises:
        PromptPortError: several folders, a prompt that is not anchored or that the settings are not
            for, or what `transfer_vector` refuses.
    """
    from promptport.backbone import open_space
    from promptport.storage import load_vector, save_vector
    from promptport.transfers.vectors import transfer_vector

    if len(places) > 1:
        raise PromptPortError(
            "prompts",
            expected="one vector, or prompts that stay prompts",
            got=f"{len(places)} folders",
            fix="Carry each vector by itself and add them with promptport combine",
        )
    check_vector_out(out)
    target = open_space(to)
    if is_vector(places[0]):
        vector = load_vector(places[0])
        space = open_space(**backbone_reference(vector.provenance, source))
        way = method or "linear_map"
        moved = transfer_vector(vector, space, target, method=way, **settings)
    else:
        needless = {"--method": method is not None, "--option": bool(settings["options"])}
        needless |= {"--words": settings["words"] is not None}
        needless |= {"--anchors": settings["anchors"] != "all"}
        needless |= {"--minimum-anchors": settings["minimum_anchors"] != MINIMUM_ANCHORS}
        refuse_together("--vector of a prompt", needless)
        vector, moved = _in_words(places[0], source, target)
    save_vector(moved, out)
    entry = moved.provenance.history[-1]
    described = {
        "folder": str(out),
        "source": entry["source"],
        "target": moved.provenance.backbone,
        "coefficients": dict(moved.coefficients),
        "method": entry["method"],
        "anchors": entry["anchors"],
        "norm_before": float(vector.delta.norm()),
        "norm_after": float(moved.delta.norm()),
    }
    if json_output:
        print_json(described)
        return
    print_table("vector carried", ["", ""], [[k, v] for k, v in described.items()])
    origin = "mixture" if entry["method"] == "mixture.v1" else "seed:0"
    typer.echo(
        f"Written to {out}. Put it on an origin: promptport combine NAME --load NAME={out} "
        f"--origin {origin} --out PROMPT"
    )


def _in_words(
    place: Path, source: str | None, target: EmbeddingSpace
) -> tuple[TaskPromptVector, TaskPromptVector]:
    """The vector of an anchored prompt, and the same words with the same signs on the target."""
    from promptport.backbone import check_prompt, open_space
    from promptport.parameters.mixtures import starting_mixture
    from promptport.storage import load_prompt
    from promptport.transfers.vectors import transfer_word_vector
    from promptport.vector import TaskPromptVector

    prompt = load_prompt(place)
    if prompt.mixture is None:
        raise PromptPortError(
            "--vector of a prompt",
            expected="an anchored prompt",
            got="one of free vectors",
            fix="Anchor it first (promptport anchor), or carry the vector of its rows: promptport "
            f"vector {place} --out V, then promptport transfer V",
        )
    space = open_space(**backbone_reference(prompt.provenance, source))
    check_prompt(prompt, space)
    name = place.name.removesuffix(".prompt")
    moved = transfer_word_vector(prompt, starting_mixture(prompt, space), target, name=name)
    if not prompt.mixture.vectors(space).allclose(prompt.vectors, rtol=1e-3, atol=1e-4):
        typer.echo("note: the words are carried, not what the prompt holds beside them", err=True)
    return TaskPromptVector.of(prompt, name), moved
