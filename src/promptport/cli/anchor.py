"""promptport anchor: turn a finished free prompt into a mixture of words, from unlabelled text."""

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
    shared_words,
    show_lesson,
)

if TYPE_CHECKING:
    from promptport.distillation import Texts


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    task: Annotated[
        str,
        typer.Option(
            help="Task: its template and, unless --texts words, its texts; never its labels."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    data: DataOption = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone, if it is not where the prompt says.")
    ] = None,
    words_of: Annotated[
        list[str] | None,
        typer.Option(
            "--words-of", help="Mix only words that this backbone knows too; repeat for several."
        ),
    ] = None,
    texts: TextsOption = "task",
    split: SplitOption = "train",
    rows: Annotated[int, typer.Option(help="Most unlabelled rows to read or make.")] = 256,
    epochs: Annotated[int, typer.Option(help="Passes over them.")] = 30,
    noise: Annotated[
        float,
        typer.Option(
            help="Learn under noise of this share of a virtual token's length: it moves better."
        ),
    ] = 1.0,
    seed: Annotated[int, seed_option("Seed of the mixture to start from.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Re-anchor a finished prompt: a mixture of words that answers alike, which moves better.

    Reads unlabelled texts of the task, or makes random words (--texts words); needs the backbone
    that the prompt belongs to.
    """
    quiet()
    check_out(out, prompt)
    from promptport.backbone import Backbone
    from promptport.distillation import DistillConfig, fit_mixture
    from promptport.storage import load_prompt, save_prompt
    from promptport.tasks import open_task

    found = load_prompt(prompt)
    opened = open_task(task, data)
    note_other_task([found], opened)
    place = backbone_reference(found.provenance, backbone)
    model = Backbone.load(**place, device=device, dtype=dtype, device_map=device_map)
    config = DistillConfig(
        texts=cast("Texts", texts),
        rows=rows,
        epochs=epochs,
        patience=5,
        noise=noise,
        seed=seed,
        truncate=truncate,
    )
    with progress_bar("anchoring", hidden=json_output) as show:
        result = fit_mixture(
            found,
            model,
            opened,
            words=shared_words(words_of or []),
            split=split,
            config=config,
            progress=lambda done, total: show(done, total, ""),
        )
    save_prompt(result.prompt, out)
    output = {"backbone": place["name"], "task": task, "folder": str(out), **result.to_dict()}
    if json_output:
        print_json(output)
        return
    show_lesson(f"{prompt} as a mixture of words", output)
    typer.echo(f"Written to {out}. Carry it with: promptport transfer {out} --to BACKBONE --out Q")
