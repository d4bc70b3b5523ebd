"""What the library commands share: options, opening a library, what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Annotated

import typer

from promptport.cli.console import command_line, note
from promptport.cli.panels import TASK_PANEL

if TYPE_CHECKING:
    from promptport.library import Library

TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Tasks whose names the prompts recorded, where they do not come with promptport; of "
        "prompts without a name, in their order. Repeat.",
        rich_help_panel=TASK_PANEL,
    ),
]


def open_library(
    folders: list[Path],
    *,
    backbone: str | None = None,
    origin: str | None = None,
    data: Path | None = None,
    tasks: list[str] | None = None,
    keep_equal: bool = False,
    skip_damaged: bool = False,
) -> Library:
    """Read the folders, and say what was left out."""
    from promptport.library import Library

    library = Library.open(
        folders,
        backbone=backbone,
        origin=origin,
        data=data,
        tasks=tasks or (),
        keep_equal=keep_equal,
        skip_damaged=skip_damaged,
    )
    for line in library.notes:
        note(line)
    return library


def combining(
    library: Library,
    names: Sequence[str],
    *,
    distill: bool,
    tasks: Sequence[str],
    data: Path | None,
) -> str:
    """The command that combines some prompts of a library.

    Args:
        library: read from folders.
        names: of two prompts or more.
        distill: keep all their tasks, by what the single prompts answer to unlabelled texts.
        tasks: what the user gave with `--task`, or none.
        data: folder of tasks.
    """
    from promptport.tasks import open_task

    letters = ascii_lowercase[: len(names)]
    given = {open_task(reference, data).name: str(reference) for reference in tasks}
    asked = [task.name for name in names if (task := library.entry(name).task) is not None]
    bare = library.entry(names[0]).kind == "vector"  # which has no origin of its own
    return command_line(
        *("vector", "combine", " + ".join(letters)),
        load=[
            f"{letter}={library.entry(name).folder}"
            for letter, name in zip(letters, names, strict=True)
        ],
        method="either" if distill else None,
        origin="seed:0" if bare else None,
        distill=distill,
        task=[given[name] for name in asked if name in given] if distill else None,
        data=data if distill else None,
        out="combined",
    )


def sentence(text: str) -> str:
    """A verdict as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
