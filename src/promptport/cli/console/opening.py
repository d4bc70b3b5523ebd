"""What a command opens: tasks, prompts and their backbones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.console.output import note
from promptport.errors import BackboneError, PromptPortError, UnknownNameError
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.provenance import Provenance
    from promptport.tasks import Task, Template


def quiet() -> None:
    """Keep the libraries below from talking into our output; imports them, which may take long."""
    with stage("starting"):
        from promptport.backbone import silence_libraries

        silence_libraries()


def backbone_reference(
    made: Provenance, named: str | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """Name and revision of a backbone: the one that is named, else that of a prompt.

    Args:
        made: the record of the prompt.
        named: what the user gives with `--backbone`.
        folder: of the prompt, for the message.

    Raises:
        BackboneError: the prompt names a folder that is not here.
    """
    if named is not None:
        return {"name": named, "revision": None}
    if _is_path(made.backbone) and not Path(made.backbone).expanduser().exists():
        raise _not_here(made, folder)
    return {"name": made.backbone, "revision": made.revision}


def load_backbone(
    made: Provenance,
    named: str | None = None,
    folder: Path | None = None,
    **loading: Any,
) -> Backbone:
    """Load the backbone of a prompt.

    Args:
        made: the record of the prompt.
        named: what the user gives with `--backbone`.
        folder: of the prompt, for messages.
        loading: further arguments of `Backbone.load`.

    Raises:
        BackboneError: it cannot be loaded; if the prompt named it, the message says that.
    """
    from promptport.backbone import Backbone

    reference = backbone_reference(made, named, folder)
    try:
        return Backbone.load(**reference, **loading)
    except BackboneError as error:
        if named is None and error.name == made.backbone:
            raise _not_here(made, folder) from error
        raise


def _is_path(name: str) -> bool:
    """Whether a name can only be a path, here or on another machine."""
    return name.startswith(("/", ".", "~")) or "\\" in name or name.count("/") > 1


def _not_here(made: Provenance, folder: Path | None) -> BackboneError:
    from promptport.storage.prompt_folder import CONFIG_FILE, PROVENANCE_FILE

    where = "the prompt"
    if folder is not None:
        ours = (folder / PROVENANCE_FILE).is_file()
        where = str(folder / (PROVENANCE_FILE if ours else CONFIG_FILE))
    return BackboneError(
        where,
        expected="the name of a model that can be loaded here",
        got=repr(made.backbone),
        fix="Say where the model is: --backbone FOLDER or FILE.gguf, an embedded name or Hub id",
    )


def open_tasks(references: Sequence[str], data: Path | None) -> list[Task]:
    """Open several tasks by reference."""
    from promptport.tasks import open_task

    return [open_task(reference, data) for reference in references]


def note_other_task(
    prompts: Sequence[SoftPrompt], task: Task, template: Template | None = None
) -> None:
    """Say which prompts were made for another task: a slip, most likely.

    Args:
        prompts: any.
        task: that is used.
        template: what the user gives with `--template`.
    """
    from promptport.evaluation import choose_template

    for prompt in prompts:
        made = prompt.provenance.task
        if made is not None and task.name not in made.split(" + "):
            labels = "its labels and rows" if task.labels else "its rows"
            note(
                f"the prompt was made for {made}, --task is {task.name}: {labels} are used, with "
                f"the template {(template or choose_template(task, prompt)).text!r}"
            )


def note_no_template(prompt: SoftPrompt, task: Task) -> None:
    """Say that the task's template is used, where the prompt names none and it may be wrong."""
    made = prompt.provenance
    known = made.template or (made.templates or {}).get(task.name)
    if known is None and not task.template.leads_with_soft:
        note(
            "the prompt names no template, so that of the task is used: "
            f"{task.template.text} (PEFT puts its rows in front: --template '{{soft}} ...')"
        )


def note_sentinel(prompt: SoftPrompt, task: Task) -> None:
    """Say how an encoder-decoder is asked with a prompt of PEFT's, which trains it otherwise."""
    made = prompt.provenance
    if made.kind == "seq2seq" and made.task is None and not task.answers_alone:
        note(
            "the model fills a gap with the answer, as in pretraining; a prompt that PEFT tuned as "
            "text in, label text out needs 'sentinel: false' in the task file"
        )


def task_options(reference: str | None, data: Path | None) -> dict[str, Any]:
    """Options by which a printed command opens the same task as the prompt that it names.

    Args:
        reference: what the user gave with `--task`; None if the prompt remembers its task.
        data: what the user gave with `--data`.

    Returns:
        Arguments of `command_line`: a prompt remembers the name of its task, but not the place of
        a task file or of data.
    """
    is_file = reference is not None and reference.lower().endswith((".yaml", ".yml"))
    return {"task": reference if is_file else None, "data": data}


def task_of(prompt: SoftPrompt, given: str | None, data: Path | None, option: str) -> Task:
    """The task of a prompt: the one that is given, else the one that it remembers.

    Raises:
        PromptPortError: none is given, and the prompt names none that can be opened.
    """
    return recorded_task(prompt.provenance, given, data, option)


def recorded_task(made: Provenance, given: str | None, data: Path | None, option: str) -> Task:
    """As `task_of`, by the record of the prompt."""
    from promptport.tasks import open_task

    try:
        if given or made.task:
            return open_task(given or made.task or "", data)
    except UnknownNameError:
        if given:
            raise
    raise PromptPortError(
        option,
        expected="a task, since the prompt folder names none that comes with promptport",
        got="none" if made.task is None else f"only the recorded name {made.task!r}",
        fix=f"Give {option} TASK, for instance the path of a .yaml file",
    )


def shared_words(backbones: Sequence[str]) -> list[str] | None:
    """Words that are single tokens of all these backbones; None if there are none to ask."""
    from promptport.backbone import open_space

    if not backbones:
        return None
    return sorted(set.intersection(*(set(open_space(name).words) for name in backbones)))
