"""What a command opens: tasks, prompts and their backbones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from promptport.errors import PromptPortError, UnknownNameError

if TYPE_CHECKING:
    from promptport.prompt import Provenance, SoftPrompt
    from promptport.tasks import Task


def quiet() -> None:
    """Keep the libraries below from talking into our output."""
    from promptport.backbone import silence_libraries

    silence_libraries()


def backbone_reference(made: Provenance, named: str | None = None) -> dict[str, Any]:
    """Name and revision of a backbone: the one that is named, else that of a prompt."""
    if named is not None:
        return {"name": named, "revision": None}
    return {"name": made.backbone, "revision": made.revision}


def open_tasks(references: Sequence[str], data: Path | None) -> list[Task]:
    """Open several tasks by reference."""
    from promptport.tasks import open_task

    return [open_task(reference, data) for reference in references]


def note_other_task(prompts: Sequence[SoftPrompt], task: Task) -> None:
    """Say which prompts were made for another task: a slip, most likely."""
    for prompt in prompts:
        made = prompt.provenance.task
        if made is not None and task.name not in made.split(" + "):
            typer.echo(f"note: the prompt was made for {made}, --task is {task.name}", err=True)


def note_no_template(prompt: SoftPrompt, task: Task) -> None:
    """Say that the task's template is used, where the prompt names none and it may be wrong."""
    if prompt.provenance.template is None and not task.template.leads_with_soft:
        typer.echo(
            "note: the prompt names no template, so that of the task is used: "
            f"{task.template.text} (PEFT puts its rows in front: --template '{{soft}} ...')",
            err=True,
        )


def task_of(prompt: SoftPrompt, given: str | None, data: Path | None, option: str) -> Task:
    """The task of a prompt: the one that is given, else the one that it remembers.

    Raises:
        PromptPortError: none is given, and the prompt names none that can be opened.
    """
    from promptport.tasks import open_task

    recorded = prompt.provenance.task
    try:
        if given or recorded:
            return open_task(given or recorded or "", data)
    except UnknownNameError:
        if given:
            raise
    raise PromptPortError(
        option,
        expected="a task, since the prompt folder names none that is embedded",
        got="none" if recorded is None else f"only the recorded name {recorded!r}",
        fix=f"Give {option} TASK, for instance the path of a .yaml file",
    )


def shared_words(backbones: Sequence[str]) -> list[str] | None:
    """Words that are single tokens of all these backbones; None if there are none to ask."""
    from promptport.backbone import open_space

    if not backbones:
        return None
    return sorted(set.intersection(*(set(open_space(name).words) for name in backbones)))
