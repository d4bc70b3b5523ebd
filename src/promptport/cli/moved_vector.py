"""What promptport transfer does with a vector folder: it stays a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import typer

from promptport.cli.console import check_vector_out, home, print_json, print_table
from promptport.errors import PromptPortError


class VectorSettings(TypedDict):
    """Settings of `transfer_vector` by name."""

    words: Sequence[str] | None
    anchors: str
    minimum_anchors: int
    options: Mapping[str, Any]


def is_vector(place: Path) -> bool:
    """Whether a folder holds a vector and no prompt."""
    from promptport.interop.peft import CONFIG_FILE
    from promptport.interop.vectors import RECORD_FILE

    return (place / RECORD_FILE).is_file() and not (place / CONFIG_FILE).is_file()


def move_vector(
    places: list[Path],
    source: str | None,
    to: str,
    method: str,
    settings: VectorSettings,
    out: Path,
    json_output: bool,
) -> None:
    """Carry one vector folder to another backbone.

    Raises:
        PromptPortError: several folders, or what `transfer_vector` refuses.
    """
    from promptport.backbone import open_space
    from promptport.interop import load_vector, save_vector
    from promptport.transfers.vectors import transfer_vector

    if len(places) > 1:
        raise PromptPortError(
            "prompts",
            expected="one vector folder, or prompt folders",
            got=f"{len(places)} folders, some of them vectors",
            fix="Carry each vector by itself and add them with promptport combine",
        )
    check_vector_out(out)
    vector = load_vector(places[0])
    old = vector.provenance
    space = open_space(**home(old, source))
    moved = transfer_vector(vector, space, open_space(to), method=method, **settings)
    save_vector(moved, out)
    entry = moved.provenance.history[-1]
    described = {
        "folder": str(out),
        "source": space.backbone,
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
    typer.echo(
        f"Written to {out}. Put it on an origin: promptport combine NAME --load NAME={out} "
        "--origin seed:0 --out PROMPT"
    )
