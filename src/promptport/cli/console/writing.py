"""Options of the commands that let a model write: `eval` and `predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.panels import TASK_PANEL, WRITING_PANEL

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task, Template

MaxNewTokensOption = Annotated[
    int | None,
    typer.Option(
        help="Longest answer that is written, in tokens. Usual: as in the task file, else 128.",
        rich_help_panel=WRITING_PANEL,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        help="0: write the likeliest token each time (usual). Above 0: draw tokens.",
        rich_help_panel=WRITING_PANEL,
    ),
]
TopPOption = Annotated[
    float | None,
    typer.Option(
        "--top-p",
        help="Draw among the likeliest tokens that have this probability together.",
        rich_help_panel=WRITING_PANEL,
    ),
]
WritingSeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="Seed of the drawing. Usual: 0.", rich_help_panel=WRITING_PANEL),
]
StopOption = Annotated[
    list[str] | None,
    typer.Option(
        "--stop",
        help="Text at which an answer ends; repeat. '\\\\n' is the end of a line.",
        rich_help_panel=WRITING_PANEL,
    ),
]
ChatFlag = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Ask as a user in a chat, through the model's own chat template. A {soft} that leads "
        "stands in front of the chat, any other inside the message.",
        rich_help_panel=TASK_PANEL,
    ),
]


def option_name(setting: str) -> str:
    """The option of a setting: `top_p` -> `--top-p`."""
    return f"--{setting.replace('_', '-')}"


def with_writing(task: Task, **given: Any) -> Task:
    """The task with the settings of writing that were given; None stands for those of the task.

    Args:
        task: the task.
        given: fields of `WritingConfig`.

    Raises:
        TaskError: values out of range, or a task for which nothing is written.
    """
    named = {name: value for name, value in given.items() if value is not None and value != []}
    if not named:
        return task
    task.need_text2text(f"Leave out {', '.join(map(option_name, named))}")
    if "stop" in named:
        named["stop"] = tuple(text.replace("\\n", "\n") for text in named["stop"])
    return task.with_writing(task.writing.changed(named))


def chat_template(
    chat: bool, template: Template | None, task: Task, prompt: SoftPrompt | None
) -> Template | None:
    """The template that is given, or else with `--chat` the usual one, inside a chat."""
    from promptport.evaluation import choose_template

    if not chat:
        return template
    return (template or choose_template(task, prompt)).in_chat()
