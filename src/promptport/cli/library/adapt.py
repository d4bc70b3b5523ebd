"""promptport library adapt: a prompt for a new task from prompts of other tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    LibraryArgument,
    OwnBackboneOption,
    TruncateFlag,
    VectorOriginOption,
    check_other_prompt,
    check_out,
    command_line,
    open_tasks,
    origin_folder,
    print_json,
    print_table,
    quiet,
    seed_option,
    tell,
    written,
)
from promptport.cli.library.shared import open_library, sentence
from promptport.cli.panels import METHOD_PANEL, OUTPUT_PANEL, TASK_PANEL

if TYPE_CHECKING:
    from promptport.library import AdaptResult

_LEGEND = (
    "Text decides the answer: below 0.2 a prompt hardly knows this task. Answers as all together: "
    "near 1 is a prompt that the others confirm."
)


def command(
    library: LibraryArgument,
    task: Annotated[str, typer.Option(help="The new task.", rich_help_panel=TASK_PANEL)],
    out: Annotated[
        Path, typer.Option(help="Prompt folder to write.", rich_help_panel=OUTPUT_PANEL)
    ],
    labelled: Annotated[
        int,
        typer.Option(
            help="Read the labels of so many training rows; 0: text alone.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = 0,
    rows: Annotated[
        int,
        typer.Option(help="Most unlabelled training texts to read.", rich_help_panel=TASK_PANEL),
    ] = 128,
    steps: Annotated[
        int,
        typer.Option(
            help="Updates towards what the library says; with labels, up to as many again.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = 48,
    relative_lr: Annotated[
        float,
        typer.Option(
            help="Step as a share of the embeddings' spread.", rich_help_panel=METHOD_PANEL
        ),
    ] = 0.06,
    origin: VectorOriginOption = None,
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    seed: Annotated[int, seed_option("Seed of the choice and order of rows.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Make a prompt for a new task from prompts of other tasks.

    What the prompts say together about the new task's texts is learned by the one that fits best;
    labels are optional. They should be about equally frequent: how often a prompt says each is
    taken off.

    Example:
        promptport library adapt prompts --task sentiment --out adapted
    """
    quiet()
    from promptport.library import AdaptConfig, adapt
    from promptport.storage import save_prompt

    config = AdaptConfig(
        rows=rows, steps=steps, relative_lr=relative_lr, seed=seed, truncate=truncate
    )
    opened = open_library(library, backbone=backbone, origin=origin, data=data)
    check_out(out, *library, *opened.folders.values(), *origin_folder(origin))
    (new,) = open_tasks([task], data)
    check_other_prompt(out, new.name, force=force)
    model = opened.load_backbone(device=device, dtype=dtype, device_map=device_map)
    result = adapt(model, opened, new, labelled=labelled, config=config)
    save_prompt(result.prompt, out)
    if json_output:
        print_json({"backbone": model.name, "task": task, **result.to_dict(), "folder": str(out)})
        return
    _show(result, task)
    written(out, "Score it", command_line("eval", out, task=task, data=data))


def _show(result: AdaptResult, task: str) -> None:
    opinions = sorted(result.opinions, key=lambda opinion: -opinion.information * opinion.trust)
    columns = ["prompt", "text decides the answer", "answers as all together"]
    lines = [[opinion.name, opinion.information, opinion.same] for opinion in opinions]
    if result.labelled:
        columns.append("weight by labels")
        lines = [[*line, opinion.trust] for line, opinion in zip(lines, opinions, strict=True)]
    print_table(f"what {len(opinions)} prompts say about {task}", columns, lines)
    facts: list[list[Any]] = [
        ["started from", result.start],
        ["answers as all together, at the start", result.before.same],
        ["answers as all together, at the end", result.after.same],
        ["unlabelled texts read", result.rows],
        ["labels read", result.labelled],
        ["all together against these labels (0: chance, 1: right)", result.right],
        ["steps", result.steps],
    ]
    rows = [fact for fact in facts if fact[1] is not None]
    print_table(f"adapted to {task}", ["what", "value"], rows)
    tell(_LEGEND)
    tell(sentence(result.verdict))
