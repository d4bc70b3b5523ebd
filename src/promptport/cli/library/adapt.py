"""promptport adapt: a prompt for a new task from prompts of other tasks, few labels or none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    LibraryArgument,
    OwnBackboneOption,
    TruncateFlag,
    VectorOriginOption,
    check_out,
    open_tasks,
    origin_folder,
    print_json,
    print_table,
    progress_bar,
    quiet,
    seed_option,
)
from promptport.cli.library.loading import find_library, load_library, open_backbone


def command(
    library: LibraryArgument,
    task: Annotated[str, typer.Option(help="The new task.")],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    labelled: Annotated[
        int, typer.Option(help="Read the labels of so many training rows; 0: text alone.")
    ] = 0,
    rows: Annotated[int, typer.Option(help="Most unlabelled training texts to read.")] = 128,
    steps: Annotated[
        int, typer.Option(help="Updates towards what the library says; with labels, up to as many.")
    ] = 48,
    relative_lr: Annotated[
        float, typer.Option(help="Step as a share of the embeddings' spread.")
    ] = 0.06,
    origin: VectorOriginOption = None,
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    seed: Annotated[int, seed_option("Seed of the choice and order of rows.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Make a prompt for a new task from prompts of other tasks, with few labels or none.

    What the prompts say together about the new task's texts is learned by the one that fits best.
    Labels should be about equally frequent: how often a prompt says each is taken off.
    """
    quiet()
    from promptport.library import AdaptConfig, adapt
    from promptport.storage import save_prompt

    config = AdaptConfig(
        rows=rows, steps=steps, relative_lr=relative_lr, seed=seed, truncate=truncate
    )
    places = find_library(library, origin)
    check_out(out, *library, *places.values(), *origin_folder(origin))
    (opened,) = open_tasks([task], data)
    model = open_backbone(places, backbone, device=device, dtype=dtype, device_map=device_map)
    candidates = load_library(places, model, origin, data)
    with progress_bar("adapting", hidden=json_output) as show:
        found = adapt(
            model,
            {candidate.name: candidate.prompt for candidate in candidates},
            opened,
            labelled=labelled,
            config=config,
            progress=lambda done, total: show(done, total, ""),
        )
    save_prompt(found.prompt, out)
    if json_output:
        print_json({"backbone": model.name, "task": task, **found.to_dict(), "folder": str(out)})
        return
    opinions = sorted(found.opinions, key=lambda opinion: -opinion.information * opinion.trust)
    columns = ["prompt", "text decides the answer", "answers as all together"]
    lines = [[opinion.name, opinion.information, opinion.same] for opinion in opinions]
    if found.labelled:
        columns.append("labels: to be heard times")
        lines = [[*line, opinion.trust] for line, opinion in zip(lines, opinions, strict=True)]
    print_table(f"what {len(opinions)} prompts say about {task}", columns, lines)
    facts: list[list[Any]] = [
        ["started from", found.start],
        ["answers as all together, at the start", found.before.same],
        ["after", found.after.same],
        ["unlabelled texts read", found.rows],
        ["labels read", found.labelled],
        ["all together against these labels (0: chance, 1: right)", found.right],
        ["steps", found.steps],
    ]
    print_table(f"adapted to {task}", ["", ""], [fact for fact in facts if fact[1] is not None])
    typer.echo(f"{found.verdict[0].upper()}{found.verdict[1:]}.")
    typer.echo(f"Written to {out}. Score it with: promptport eval {out} --task {task}")
