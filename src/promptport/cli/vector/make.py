"""promptport vector make: what tuning added to its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    JsonFlag,
    check_vector_out,
    command_line,
    print_facts,
    print_json,
    print_table,
    quiet,
    written,
)


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[
        Path | None, typer.Option(help="Vector folder to write; without it the vector is shown.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="What the prompt was tuned from, if its folder does not say: seed:3, "
            "text:SOME WORDS, or a prompt folder."
        ),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Take what tuning added: prompt minus origin.

    The task vector of a tuned prompt can be added to other vectors and put on another origin. The
    other commands take it of a prompt folder by themselves; a folder of its own is half as large.

    Example:
        promptport vector make capital --out capital-vector
    """
    quiet()
    from promptport.parameters.written_origins import with_given_origin
    from promptport.storage import load_prompt, save_vector
    from promptport.vector import TaskPromptVector

    loaded = load_prompt(prompt)
    if out is not None:
        check_vector_out(out, loaded)
    known = with_given_origin(loaded, origin)
    name = prompt.name.removesuffix(".prompt")
    vector = TaskPromptVector.of(known, name)
    if out is not None:
        save_vector(vector, out)
    norms = vector.delta.norm(dim=1).tolist()
    described = {
        "backbone": vector.provenance.backbone,
        "coefficients": dict(vector.coefficients),
        "origin": vector.provenance.origin,
        "norm": float(vector.delta.norm()),
        "norms": norms,
        "folder": None if out is None else str(out),
    }
    if json_output:
        print_json(described)
        return
    shown = ("backbone", "coefficients", "origin", "norm")
    print_facts(str(prompt), [[fact, described[fact]] for fact in shown])
    assert known.origin is not None, "the vector was made from it"
    before = known.origin.norm(dim=1).tolist()
    rows = [[i + 1, norm, start] for i, (norm, start) in enumerate(zip(norms, before, strict=True))]
    print_table("virtual tokens", ["token", "norm", "norm of the origin"], rows)
    if out is not None:
        target = out.with_name(f"{out.name}-on-seed3")
        load = f"v={out}"
        following = command_line("vector", "combine", "v", load=load, origin="seed:3", out=target)
        written(out, "Put it on another origin", following)
