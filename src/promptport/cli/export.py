"""promptport export: a prompt for the engines that serve it, or as a file for other models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    BackboneOption,
    DataOption,
    JsonFlag,
    check_file,
    command_line,
    note,
    print_facts,
    print_json,
    quiet,
    written,
)
from promptport.cli.panels import MODEL_PANEL, TASK_PANEL
from promptport.cli.parsing import read_words
from promptport.errors import PromptPortError, TaskError, UnknownNameError
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.engines import Check, Engine, Export
    from promptport.tasks import Task

_PORTABLE = "portable"
_CHECK_PANEL = "Check"


def command(
    prompts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROMPT...", help="Prompt folders (ours or PEFT's), all of one model."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder or file to write, for instance capital.portable.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            "--format",
            help="portable: the prompt told by words, which 'import' reads anywhere. Engines: hf, "
            "gguf, llama.cpp-embd, llama.cpp-slot, mlx, vllm, sglang.",
        ),
    ] = _PORTABLE,
    words: Annotated[
        Path | None,
        typer.Option(
            help="With portable: file with the words to describe it by, one a line. Usual: all."
        ),
    ] = None,
    backbone: BackboneOption = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The same model in the format of the engine, for instance MODEL.gguf, if the "
            "prompt was tuned on another.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Task, or task file, whose label words and texts are used; usually the prompt's.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run the engine, and compare its answers with those of promptport.",
            rich_help_panel=_CHECK_PANEL,
        ),
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows of the check; usually 16.",
            rich_help_panel=_CHECK_PANEL,
        ),
    ] = None,
    engine_python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter that has the engine; usually this one.",
            rich_help_panel=_CHECK_PANEL,
        ),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Write prompts for an engine that serves them, or a prompt as a file for other models.

    An engine gets a checkpoint, a file or vectors, with a README whose lines load it and answer a
    row. A portable file holds the words of the source and how the prompt relates to them: 'import'
    makes a prompt of it for any model, without the source model.

    Example:
        promptport export capital --to hf --out capital-hf
        promptport export capital --to portable --out capital.portable
    """
    quiet()
    if to == _PORTABLE:
        given: dict[str, object] = {"--base": base, "--task": task, "--data": data}
        given |= {"--check": check or None, "--rows": rows, "--engine-python": engine_python}
        _refuse_for_portable(prompts, [name for name, value in given.items() if value is not None])
        _portable(prompts[0], out, words, backbone, json_output)
        return
    from promptport.engines import check_export, export_prompts, find_engine

    engine = find_engine(to, (_PORTABLE,))
    if words is not None:
        raise _without_effect("--words", f"--to {to}", "Leave it out")
    if rows is not None and not check:
        raise _without_effect("--rows", "no --check", "Add --check, or leave it out")
    if check:
        engine.need_runner()
    made = export_prompts(
        prompts,
        engine,
        out,
        backbone=backbone,
        base=base,
        tasks=_tasks(prompts, task, data),
        python=engine_python or Path(sys.executable),
    )
    found = check_export(made, rows or 16) if check else None
    _show(made, found, json_output)
    if found is not None and not found.passed:
        raise typer.Exit(1)


def _portable(
    prompt: Path, out: Path, words: Path | None, backbone: str | None, json_output: bool
) -> None:
    from promptport.moving.export_formats import find_format
    from promptport.moving.places import place_of
    from promptport.storage import load_prompt

    way = find_format(_PORTABLE)
    check_file(out, way.mark)
    loaded = load_prompt(prompt)
    space = place_of(loaded.provenance, backbone, prompt).space
    with stage(f"writing {out}"):
        described = way.write(loaded, space, out, None if words is None else read_words(words))
    described |= {"format": way.name, "file": str(out)}
    if json_output:
        print_json(described)
    else:
        names = ("source", "task", "template", "length", "words", "mixture_words", "bytes")
        rows = [[name.replace("_", " "), described[name]] for name in names]
        print_facts(str(prompt), [row for row in rows if row[1] is not None])
    written(out, "See what it holds", command_line("inspect", out))


def _refuse_for_portable(prompts: list[Path], given: list[str]) -> None:
    if given:
        raise _without_effect(given[0], "--to portable", "Leave it out, or name an engine")
    if len(prompts) > 1:
        raise PromptPortError(
            "--to portable",
            expected="one prompt",
            got=str(len(prompts)),
            fix="Write a file for each",
        )


def _without_effect(option: str, beside: str, fix: str) -> PromptPortError:
    return PromptPortError(
        option, expected="an option that has an effect here", got=beside, fix=fix
    )


def _tasks(prompts: list[Path], given: str | None, data: Path | None) -> dict[Path, Task]:
    """The tasks of prompts, as far as they can be opened: without one, label words are unknown."""
    from promptport.storage import load_prompt
    from promptport.tasks import open_task

    found = {}
    for prompt in prompts:
        name = given or load_prompt(prompt).provenance.task
        if name is None:
            continue
        try:
            found[prompt] = open_task(name, data)
        except (TaskError, UnknownNameError):
            if given is not None or data is not None:
                raise
            note(
                f"the label words of {name} are not known here (give --task or --data), so the "
                "README does not name them"
            )
    return found


def _show(made: Export, found: Check | None, json_output: bool) -> None:
    engine: Engine = made.engine
    checked = None if found is None else found.to_dict()
    if json_output:
        print_json({**made.manifest, "place": str(made.place), "check": checked})
    else:
        items = made.manifest["prompts"]
        facts: list[list[Any]] = [
            ["engine", engine.name],
            ["model", made.manifest["model"]],
            ["prompts", ", ".join(item["name"] for item in items)],
            ["virtual tokens", ", ".join(str(item["virtual_tokens"]) for item in items)],
        ]
        if engine.in_vocabulary:
            facts.append(["tokens", ", ".join(item["tokens"][0] + " ..." for item in items)])
        print_facts(str(made.place), facts)
        if checked is not None:
            names = [name for name, value in checked.items() if value is not None]
            print_facts(
                "check", [[name.replace("_", " "), _number(checked[name])] for name in names]
            )
    written(made.place)
    if found is not None and found.laid_out < 1:
        note("by the lines of the README, some rows become other ids")
    if found is not None and found.text_form not in (None, 1.0):
        note("as text, tokens of the prompt become other ids on some rows: send ids")


def _number(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value
