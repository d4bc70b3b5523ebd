"""Tasks as users give them: a name, a file, or one that is loaded already."""

from __future__ import annotations

from pathlib import Path

from promptport.errors import TaskError
from promptport.tasks.catalog import open_task
from promptport.tasks.task import Task

TaskLike = Task | str | Path


def as_task(value: TaskLike, data: str | Path | None = None) -> Task:
    """The given task, or that of a name or a task file.

    Args:
        value: name of an embedded task, path of a task file, `lama:` or `nlu:` name, or a task.
        data: folder of a LAMA or NLU collection, for names of these.

    Raises:
        UnknownNameError: no task has this name.
        TaskError: none of these, or a task file that cannot be used.
    """
    if isinstance(value, Task):
        return value
    if isinstance(value, str | Path):
        return open_task(value, data)
    raise TaskError(
        "task",
        expected="the name of a task, a task file or a loaded task",
        got=type(value).__name__,
        fix="Name it, for instance country-capital (list_tasks() names all)",
    )
