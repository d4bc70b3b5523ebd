"""promptport vector: what tuning added to its origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import JsonFlag, check_vector_out, print_json, print_table, quiet
from promptport.cli.made_origin import make_start
from promptport.errors import PromptPortError

_SAME = 1e-6  # largest difference of entries that rounding makes


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[Path | None, typer.Option(help="Vector folder to write.")] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="What the prompt was tuned from, if its folder does not say: seed:3, "
            "text:SOME WORDS, or a prompt folder."
        ),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Take the task prompt vector of a tuned prompt: prompt minus origin."""
    quiet()
    from promptport.backbone import with_origin
    from promptport.storage import load_prompt, save_vector
    from promptport.vector import TaskPromptVector

    found = with_origin(load_prompt(prompt))
    if out is not None:
        check_vector_out(out, found)
    if origin is not None:
        start, made = make_start(origin, found.provenance, found.length)
        if found.origin is None:
            found = replace(found.with_provenance(origin=made), origin=start)
        elif not start.allclose(found.origin, atol=_SAME):
            raise PromptPortError(
                "--origin",
                expected="none, or the origin that the folder says",
                got=origin,
                fix="Leave the option out; to measure it from elsewhere, use promptport widen",
            )
    vector = TaskPromptVector.of(found, prompt.name.removesuffix(".prompt"))
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
    facts = [[name, described[name]] for name in ("backbone", "coefficients", "origin", "norm")]
    print_table(str(prompt), ["", ""], facts)
    assert found.origin is not None, "the vector was made from it"
    rows = [
        [i + 1, norm, before]
        for i, (norm, before) in enumerate(
            zip(norms, found.origin.norm(dim=1).tolist(), strict=True)
        )
    ]
    print_table("virtual tokens", ["token", "norm", "norm of the origin"], rows)
    if out is not None:
        typer.echo(f"Written to {out}. Use it with: promptport combine NAME --load NAME={out} ...")
