"""promptport tasks: the tasks that can be named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptport.cli.console import (
    DataOption,
    JsonFlag,
    print_facts,
    print_json,
    print_table,
    say,
)
from promptport.errors import TaskError

if TYPE_CHECKING:
    from promptport.tasks import Row, Task


def listing(ctx: typer.Context, data: DataOption = None, json_output: JsonFlag = False) -> None:
    """List the tasks; show, make or check one.

    Example:
        promptport tasks
        promptport tasks show country-capital
    """
    if ctx.invoked_subcommand is not None:
        return
    from promptport.tasks import list_tasks

    entries = [entry.to_dict() for entry in list_tasks(data)]
    if json_output:
        print_json({"tasks": entries})
        return
    table = [
        [
            e["reference"],
            e["kind"],
            *[e["rows"].get(s) for s in ("train", "dev", "test")],
            e["description"],
        ]
        for e in entries
    ]
    print_table(
        f"{len(table)} tasks", ["task", "kind", "train", "dev", "test", "description"], table
    )
    if data is None:
        say("Add --data FOLDER for the lama: and nlu: tasks in that folder.")


def show(
    task: Annotated[str, typer.Argument(help="A task's name, or a task file (.yaml).")],
    data: DataOption = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 3,
    json_output: JsonFlag = False,
) -> None:
    """Show one task with some of its rows.

    Example:
        promptport tasks show country-capital
    """
    _show_one(task, data, rows, json_output)


def _show_one(reference: str, data: Path | None, count: int, json_output: bool) -> None:
    from promptport.tasks import open_task

    task = open_task(reference, data)
    read = {split: _rows(task, split) for split in task.splits}
    first = next(iter(read.values()), ((), False))[0]
    examples = [{**row.fields, "answer": row.answer} for row in first[:count]]
    described = {
        "name": task.name,
        "kind": task.kind,
        "description": task.description,
        "metric": task.metric,
        "template": task.template.text,
        "manual": None if task.manual is None else task.manual.text,
        "labels": None if task.labels is None else {k: list(v) for k, v in task.labels.items()},
        "rows": {split: len(rows) for split, (rows, _) in read.items()},
        "without_labels": [split for split, (_, labelled) in read.items() if not labelled],
    }
    if json_output:
        print_json({**described, "examples": examples})
        return
    facts = [[k.replace("_", " "), v] for k, v in described.items() if v is not None]
    print_facts(task.name, facts)
    if examples:
        columns = list(examples[0])
        print_table(f"{task.splits[0]} rows", columns, [[e[c] for c in columns] for e in examples])


def _rows(task: Task, split: str) -> tuple[tuple[Row, ...], bool]:
    """The rows of a split, and whether they have labels; what needs none reads them all the same.

    Raises:
        TaskError: neither rows nor texts can be read.
    """
    try:
        return task.load(split), True
    except TaskError:
        return task.texts(split), False
