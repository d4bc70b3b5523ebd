"""promptport anchors: which words two backbones share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import JsonFlag, print_json, print_table, quiet
from promptport.errors import PromptPortError


def command(
    backbones: Annotated[list[str], typer.Argument(help="Two or more backbones.")],
    words: Annotated[
        Path | None, typer.Option(help="File with the words to use, one a line.")
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Which shared words: all, frequent:COUNT, agreeing:SHARE.")
    ] = "all",
    show: Annotated[int, typer.Option(min=0, help="Print so many of the words.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Show the words that backbones share as single tokens, and how well their geometries agree."""
    quiet()
    if len(backbones) < 2:
        raise PromptPortError(
            "backbones", expected="two or more", got=", ".join(backbones), fix="Name another one"
        )
    from promptport.anchors import AnchorSet
    from promptport.backbone import open_space
    from promptport.cli.parsing import read_words

    chosen = None if words is None else read_words(words)
    shared = AnchorSet.shared(*[open_space(name) for name in backbones], words=chosen)
    anchors = shared.keep(keep)
    report = anchors.report.to_dict()
    if json_output:
        print_json({"backbones": backbones, **report, "words": list(anchors.words[:show])})
        return
    rows = [[key.replace("_", " "), value] for key, value in report.items() if value is not None]
    print_table(" + ".join(backbones), ["", ""], rows)
    if show:
        typer.echo(" ".join(anchors.words[:show]))
