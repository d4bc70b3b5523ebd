"""promptport export: a prompt as a file for other places than a prompt folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    BackboneOption,
    JsonFlag,
    check_file,
    command_line,
    print_facts,
    print_json,
    quiet,
    written,
)
from promptport.cli.parsing import read_words
from promptport.progress import stage


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[Path, typer.Option(help="File to write, for instance capital.portable.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="portable: the prompt told by words, which 'import' reads anywhere."
        ),
    ] = "portable",
    words: Annotated[
        Path | None,
        typer.Option(help="File with the words to describe it by, one a line. Usual: all."),
    ] = None,
    backbone: BackboneOption = None,
    json_output: JsonFlag = False,
) -> None:
    """Write a prompt as a file that needs no source model.

    A portable file holds the words of the source and how the prompt relates to them. 'promptport
    import' makes a prompt of it for any model, without the source model.

    Example:
        promptport export capital --format portable --out capital.portable
    """
    quiet()
    from promptport.moving.export_formats import find_format
    from promptport.moving.places import place_of
    from promptport.storage import load_prompt

    way = find_format(format_)
    check_file(out, way.mark)
    loaded = load_prompt(prompt)
    space = place_of(loaded.provenance, backbone, prompt).space
    with stage(f"writing {out}"):
        described = way.write(loaded, space, out, None if words is None else read_words(words))
    described |= {"format": way.name, "file": str(out)}
    if json_output:
        print_json(described)
    else:
        names = ("source", "task", "template", "length", "words", "mixture_words", "bytes")
        rows = [[name.replace("_", " "), described[name]] for name in names]
        print_facts(str(prompt), [row for row in rows if row[1] is not None])
    written(out, "See what it holds", command_line("inspect", out))
