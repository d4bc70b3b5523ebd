"""promptport compat: which words models share, and how alike they place them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import JsonFlag, print_facts, print_json, quiet, say
from promptport.errors import PromptPortError
from promptport.progress import stage


def command(
    backbones: Annotated[list[str], typer.Argument(help="Two or more models.")],
    words: Annotated[
        Path | None, typer.Option(help="File with the words to use, one a line.")
    ] = None,
    kept: Annotated[
        str,
        typer.Option("--anchors", help="Which shared words: all, frequent:COUNT, agreeing:SHARE."),
    ] = "all",
    show: Annotated[int, typer.Option(min=0, help="Print so many of the words.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Which words models share, and how alike they place them.

    Words that are one token in each model are the anchors by which a prompt is moved. The agreement
    is the correlation of the cosines between these words in one model with those in the other: 1
    for equal geometries, 0 for unrelated ones.

    Example:
        promptport compat nano-bert nano-roberta
    """
    quiet()
    if len(backbones) < 2:
        raise PromptPortError(
            "backbones", expected="two or more", got=", ".join(backbones), fix="Name another one"
        )
    from promptport.anchors import AnchorSet
    from promptport.backbone import open_space, rowless_warnings
    from promptport.cli.parsing import read_words

    chosen = None if words is None else read_words(words)
    spaces = [open_space(name) for name in backbones]
    with stage("comparing the words"):
        anchors = AnchorSet.shared(*spaces, words=chosen).keep(kept)
        report = anchors.report.to_dict()
    rowless = rowless_warnings(spaces)
    if json_output:
        shown = {"rowless_tokens": rowless, "words": list(anchors.words[:show])}
        print_json({"backbones": backbones, **report, **shown})
        return
    rows = [[key.replace("_", " "), value] for key, value in report.items() if value is not None]
    print_facts(" + ".join(backbones), rows)
    for line in rowless:
        say(f"warning: {line}")
    if show:
        typer.echo(" ".join(anchors.words[:show]))
