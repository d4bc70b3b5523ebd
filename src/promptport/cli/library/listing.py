"""promptport library list and search: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    JsonFlag,
    command_line,
    hint,
    print_json,
    print_table,
)
from promptport.cli.library.shared import open_library

if TYPE_CHECKING:
    from promptport.library import Library

ListedArgument = Annotated[
    list[Path],
    typer.Argument(help="Prompt or vector folders of any backbones, or folders of such."),
]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only prompts of this task.")]
BackboneFilter = Annotated[
    str | None, typer.Option("--backbone", help="Only prompts that belong to this model.")
]
_COLUMNS = {
    "name": "name",
    "task": "task",
    "kind": "kind",
    "length": "tokens",
    "dev_score": "dev score",
    "written": "written",
}


def command(
    library: ListedArgument,
    task: TaskFilter = None,
    backbone: BackboneFilter = None,
    data: DataOption = None,
    json_output: JsonFlag = False,
) -> None:
    """List the prompts and vectors of a library.

    Example:
        promptport library list prompts
        promptport library list prompts --backbone nano-bert --task sentiment
    """
    opened = open_library(library, data=data, keep_equal=True, skip_damaged=True)
    chosen = opened.filter(task=task, backbone=backbone)
    prompts = [entry.to_dict() for entry in chosen.entries]
    if json_output:
        groups = {name: list(names) for name, names in chosen.backbones.items()}
        print_json({"prompts": prompts, "backbones": groups, "notes": list(opened.notes)})
        return
    if not prompts:
        _show_empty(opened, task, backbone)
    by_name = {prompt["name"]: prompt for prompt in prompts}
    for model, names in chosen.backbones.items():
        rows = [[by_name[name][column] for column in _COLUMNS] for name in names]
        print_table(f"{len(rows)} on {model}", list(_COLUMNS.values()), rows)
    if any(prompt["dev_score"] is not None for prompt in prompts):
        typer.echo("The dev score was measured while tuning; scores of different tasks differ.")
    if len(chosen.backbones) == 1 and len(chosen) > 1:
        hint("How alike they are", command_line("library", "similarity", *library))


def search(
    words: Annotated[str, typer.Argument(help="One word or more, in quotes if several.")],
    library: ListedArgument,
    task: TaskFilter = None,
    backbone: BackboneFilter = None,
    data: DataOption = None,
    json_output: JsonFlag = False,
) -> None:
    """Find prompts by words of their names, tasks, labels or templates.

    The words of mixture prompts are searched as well. No model is opened.

    Example:
        promptport library search "capital city" prompts
    """
    opened = open_library(library, data=data, keep_equal=True, skip_damaged=True)
    hits = opened.filter(task=task, backbone=backbone).search(words)
    if json_output:
        print_json({"words": words, "hits": [hit.to_dict() for hit in hits]})
        return
    if not hits:
        typer.echo(f"No prompt holds {words!r}.")
        hint("What there is", command_line("library", "list", *library, data=data))
        return
    rows = [
        [hit.name, opened.entry(hit.name).task_name, hit.score, _places(hit.where)] for hit in hits
    ]
    print_table(f"prompts for {words!r}, best first", ["name", "task", "score", "where"], rows)
    best = opened.entry(hits[0].name)
    hint("Look at the first", command_line("inspect", best.folder))


def _places(where: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{place} ({' '.join(words)})" for place, words in where.items())


def _show_empty(library: Library, task: str | None, backbone: str | None) -> None:
    asked: list[Any] = [f"task {task}" if task else "", f"backbone {backbone}" if backbone else ""]
    tasks = dict.fromkeys(entry.task_name or "not known" for entry in library.entries)
    typer.echo(
        f"No prompt of {' and '.join(filter(None, asked)) or 'this library'}. "
        f"Tasks: {', '.join(tasks) or 'none'}. Backbones: {', '.join(library.backbones) or 'none'}."
    )
