"""promptport library report: a library as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    HTML_MARK,
    JsonFlag,
    check_file,
    note,
    print_json,
    quiet,
    shown,
    written,
)
from promptport.cli.library.listing import (
    BackboneFilter,
    KindFilter,
    ListedArgument,
    SortOption,
    TagFilter,
    TaskFilter,
    open_catalog,
)
from promptport.cli.panels import OUTPUT_PANEL
from promptport.errors import PromptPortError


def command(
    library: ListedArgument,
    out: Annotated[Path, typer.Option(help="HTML file to write.", rich_help_panel=OUTPUT_PANEL)],
    task: TaskFilter = None,
    backbone: BackboneFilter = None,
    kind: KindFilter = None,
    tag: TagFilter = None,
    sort: SortOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")] = 300,
    title: Annotated[
        str | None, typer.Option(help="Of the page; usually the name of the folder.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Write a library as one HTML file: table, every prompt, how alike they are.

    It needs no server and no network. Words next to the virtual tokens are told where the model is
    embedded or on this machine.

    Example:
        promptport library report prompts --out prompts.html
    """
    quiet()
    from promptport.library.report import write_library_report

    check_file(out, HTML_MARK)
    opened = open_catalog(library, quiet=True)
    chosen = opened.filter(task=task, backbone=backbone, kind=kind, tags=tag or ())
    if sort is not None:
        chosen = chosen.sort(sort)
    if not chosen.entries:
        raise PromptPortError(
            "library report",
            expected="a prompt to show",
            got="none that fits" if opened.entries else "damaged ones alone",
            fix="See what there is: promptport library list",
        )
    notes = write_library_report(chosen, out, title=title, most=limit)
    if json_output:
        told = {"file": str(out), "prompts": min(limit, len(chosen)), "found": len(chosen)}
        print_json({**told, "notes": notes})
        return
    for line in notes:
        note(shown(line))
    written(out)
