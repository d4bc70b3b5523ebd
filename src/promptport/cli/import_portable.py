"""promptport decode: a portable prompt in the space of a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import JsonFlag, check_out, print_json, progress_bar, quiet, seed_option
from promptport.cli.transfer import parse_options, show_transfer


def command(
    portable: Annotated[Path, typer.Argument(help="File that promptport encode wrote.")],
    to: Annotated[
        str, typer.Option(help="Target backbone: embedded name, model folder or Hub id.")
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="mixture (default of anchored prompts), least_squares (default), or another that "
            "needs no source; promptport methods lists them."
        ),
    ] = None,
    magnitude: Annotated[
        str | None,
        typer.Option(
            help="Rule for the length: token (usual), keep (usual of mixture), paper, dimension."
        ),
    ] = None,
    minimum_anchors: Annotated[int, typer.Option(help="Refuse with fewer anchors.")] = 32,
    seed: Annotated[int, seed_option("Seed of methods that draw random numbers.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the method, NAME=VALUE; repeat for several.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Read a portable prompt on any backbone: what transfer gives, without the source model."""
    quiet()
    check_out(out)
    from promptport.storage import load_portable, save_prompt
    from promptport.transfers import transfer

    found = load_portable(portable)
    with progress_bar("decoding", hidden=json_output) as show:
        result = transfer(
            found,
            target=to,
            method=method,
            magnitude=magnitude,
            options=parse_options(option or []),
            minimum_anchors=minimum_anchors,
            seed=seed,
            progress=lambda done, total: show(done, total, ""),
        )
    save_prompt(result.prompt, out)
    report = result.report.to_dict()
    if json_output:
        print_json({"folder": str(out), **report})
        return
    show_transfer(report, out, result.prompt.provenance.task)
