"""What the library commands share: options, opening a library, what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from promptport.library import Library

# Panels of options in the help.
DATA, LEARNING = "Task and data", "Method"

LibraryArgument = Annotated[
    list[Path],
    typer.Argument(help="Prompt or vector folders of one backbone, or folders of such."),
]
TasksOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Task of each prompt, in their order, where the folders name none that can be opened.",
        rich_help_panel=DATA,
    ),
]
SamplesOption = Annotated[
    str, typer.Option(help="Split whose texts are read.", rich_help_panel=DATA)
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
    for note in library.notes:
        typer.echo(f"note: {note}", err=True)
    return library


def say_next(what: str, *command: Any, data: Path | None = None) -> None:
    """Say on standard error what to do next: a command that runs as it stands.

    Args:
        what: it does.
        command: its words behind `promptport`.
        data: folder of tasks, where the command needs it too.
    """
    words = [*command, *([] if data is None else ["--data", data])]
    typer.echo(f"{what}: promptport {shlex.join(map(str, words))}", err=True)


def combining(
    library: Library, names: Sequence[str], *, distill: bool, tasks: Mapping[str, str]
) -> list[Any]:
    """The command that combines some prompts of a library.

    Args:
        library: read from folders.
        names: of two prompts or more.
        distill: keep all their tasks, by what the single prompts answer to unlabelled texts.
        tasks: of prompts whose folders name none, by name.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(names)]
    command: list[Any] = ["vector", "combine", " + ".join(letters)]
    for letter, name in zip(letters, names, strict=True):
        command += ["--load", f"{letter}={library.entry(name).folder}"]
    if distill:
        command += ["--method", "either", "--reconcile"]
        given = [tasks[name] for name in names if name in tasks]
        command += [word for task in given for word in ("--task", task)]
    return [*command, "--out", "combined"]


def sentence(text: str) -> str:
    """A verdict as a sentence."""
    return f"{text[0].upper()}{text[1:]}."
