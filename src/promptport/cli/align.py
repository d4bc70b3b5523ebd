"""promptport calibrate: pull a ported prompt's answers towards its source's, on unlabelled text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    SplitOption,
    TextsOption,
    TruncateFlag,
    backbone_reference,
    check_out,
    note_other_task,
    print_json,
    progress_bar,
    quiet,
    seed_option,
    show_lesson,
)

if TYPE_CHECKING:
    from promptport.distillation import Texts
    from promptport.prompt import SoftPrompt


def command(
    prompt: Annotated[Path, typer.Argument(help="Ported prompt folder.")],
    teacher: Annotated[
        list[Path],
        typer.Option(help="Prompt folder that it came from; repeat for several sources."),
    ],
    task: Annotated[
        str,
        typer.Option(
            help="Task: its template and, unless --texts words, its texts; never its labels."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    data: DataOption = None,
    texts: TextsOption = "task",
    split: SplitOption = "train",
    rows: Annotated[int, typer.Option(help="Most unlabelled rows to read or make.")] = 256,
    epochs: Annotated[int, typer.Option(help="Passes over them.")] = 10,
    relative_lr: Annotated[
        float, typer.Option(help="Step as a share of the embeddings' spread.")
    ] = 0.03,
    seed: Annotated[int, seed_option("Seed of the order of the texts.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Pull a ported prompt's answers towards those of the prompts that it came from.

    Reads unlabelled texts, or makes random words (--texts words); needs the backbones of all
    prompts. A fifth of the texts is held back and only decides when to stop.
    """
    quiet()
    check_out(out, prompt, *teacher)
    from promptport.backbone import Backbone
    from promptport.distillation import DistillConfig, Teacher, align
    from promptport.storage import load_prompt, save_prompt
    from promptport.tasks import open_task

    found = load_prompt(prompt)
    opened = open_task(task, data)
    note_other_task([found], opened)

    def load(prompt: SoftPrompt) -> Backbone:
        return Backbone.load(
            **backbone_reference(prompt.provenance),
            device=device,
            dtype=dtype,
            device_map=device_map,
        )

    teachers = [Teacher(load(known), known) for known in map(load_prompt, teacher)]
    config = DistillConfig(
        texts=cast("Texts", texts),
        rows=rows,
        epochs=epochs,
        relative_lr=relative_lr,
        seed=seed,
        truncate=truncate,
    )
    with progress_bar("calibrating", hidden=json_output) as show:
        result = align(
            found,
            load(found),
            teachers,
            opened,
            split=split,
            config=config,
            progress=lambda done, total: show(done, total, ""),
        )
    save_prompt(result.prompt, out)
    backbone = found.provenance.backbone
    output = {"backbone": backbone, "task": task, "folder": str(out), **result.to_dict()}
    if json_output:
        print_json(output)
        return
    show_lesson(f"{prompt} calibrated on {backbone}", output)
    typer.echo(f"Written to {out}. Score it with: promptport eval {out} --task {task} --baselines")
