"""promptport encode: a prompt in one file that any backbone can read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    JsonFlag,
    backbone_reference,
    check_file,
    print_json,
    print_table,
    quiet,
)
from promptport.cli.transfer import read_words


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[Path, typer.Option(help="File to write, for instance p.portable.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Source backbone, if it is not where the prompt says."),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="File with the words to describe it by, one a line. Default: all."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Describe a prompt by words alone: decode needs no source model."""
    quiet()
    check_file(out, b'"promptport":"{')
    from promptport.backbone import open_space
    from promptport.storage import load_prompt, save_portable
    from promptport.transfers import encode_prompt

    found = load_prompt(prompt)
    space = open_space(**backbone_reference(found.provenance, source))
    chosen = None if words is None else read_words(words)
    portable = encode_prompt(found, space, chosen)
    save_portable(portable, out)
    described = {
        "source": portable.provenance.backbone,
        "task": portable.provenance.task,
        "template": portable.provenance.template,
        "length": portable.length,
        "words": len(portable.words),
        "mixture_words": None if portable.mixture is None else len(portable.mixture.words),
        "relative_norms": portable.norms.tolist(),
        "bytes": out.stat().st_size,
        "file": str(out),
    }
    if json_output:
        print_json(described)
        return
    names = ("source", "task", "template", "length", "words", "mixture_words", "bytes")
    rows = [[name.replace("_", " "), described[name]] for name in names]
    print_table(str(prompt), ["", ""], [row for row in rows if row[1] is not None])
    typer.echo(f"Written to {out}. Use it with: promptport decode {out} --to BACKBONE --out FOLDER")
