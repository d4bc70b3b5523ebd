"""promptport import: a prompt for a model from a file that export wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    ForceFlag,
    JsonFlag,
    check_other_prompt,
    check_out,
    command_line,
    note,
    print_json,
    quiet,
    refuse_together,
    say,
    seed_option,
    written,
)
from promptport.cli.move_report import show_transfer
from promptport.cli.parsing import parse_options


def command(
    portable: Annotated[
        Path,
        typer.Argument(
            help="File that promptport export wrote; or the rows of a prompt alone, as .npy, .pt, "
            ".bin or .safetensors."
        ),
    ],
    to: Annotated[
        str, typer.Option(help="Target model: embedded name, folder, GGUF file or Hub id.")
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    method: Annotated[
        str | None,
        typer.Option(
            help="mixture (usual for mixtures of words), least_squares (usual), or another that "
            "needs no source; 'promptport methods' lists them."
        ),
    ] = None,
    magnitude: Annotated[
        str | None,
        typer.Option(
            help="Rule for the norms: token (usual), keep (usual of mixture), paper, dimension."
        ),
    ] = None,
    minimum_anchors: Annotated[int, typer.Option(help="Refuse with fewer anchors.")] = 32,
    seed: Annotated[int, seed_option("Seed of methods that draw random numbers.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the method, NAME=VALUE; repeat.")
    ] = None,
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Make a prompt for a model from such a file.

    It gives what 'promptport transfer' gives, without the source model. Mixtures of words keep
    most of their score this way; free prompts keep next to nothing, and a warning says so.
    A file of rows alone (a NumPy array, a saved tensor) becomes a prompt of the model itself.

    Example:
        promptport import capital.portable --to nano-roberta --out capital-roberta
    """
    quiet()
    check_out(out)
    from promptport.storage import is_bare_tensor, load_portable, save_prompt
    from promptport.transfers import transfer

    if is_bare_tensor(portable):
        refuse_together(
            "a file of rows alone",
            {"--method": method is not None, "--magnitude": magnitude is not None}
            | {"--option": bool(option)},
        )
        check_other_prompt(out, force=force)
        _import_rows(portable, to, out, json_output)
        return
    loaded = load_portable(portable)
    check_other_prompt(out, loaded.provenance.task, force=force)
    result = transfer(
        loaded,
        target=to,
        method=method,
        magnitude=magnitude,
        options=parse_options(option or []),
        minimum_anchors=minimum_anchors,
        seed=seed,
    )
    save_prompt(result.prompt, out)
    if json_output:
        print_json({"folder": str(out), **result.report.to_dict()})
    else:
        show_transfer(result.report.to_dict())
    for warning in result.report.warnings:
        say(f"warning: {warning}")
    task = result.prompt.provenance.task
    if task is not None and _can_be_opened(task):
        written(out, "Score it here", command_line("eval", out, task=task, baselines=True))
    else:
        written(out, "Look at it", command_line("inspect", out))


def _import_rows(file: Path, to: str, out: Path, json_output: bool) -> None:
    """Rows without anything beside them: they are those of the model itself."""
    from promptport.backbone import open_space
    from promptport.storage import prompt_of_tensor, save_prompt

    prompt = prompt_of_tensor(file, open_space(to))
    save_prompt(prompt, out)
    if json_output:
        print_json({"folder": str(out), "length": prompt.length, "width": prompt.width})
    note(
        f"its {prompt.length} rows are taken as input rows of {to}; the file names no template: "
        "say with --template where the prompt stands"
    )
    written(out, "Look at it", command_line("inspect", out))


def _can_be_opened(task: str) -> bool:
    """Whether a name that a prompt remembers is enough: not that of a file or of a data folder."""
    from promptport.errors import PromptPortError
    from promptport.tasks import open_task

    try:
        open_task(task)
    except PromptPortError:
        return False
    return True
