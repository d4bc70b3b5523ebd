"""promptport move: re-anchor, transfer and calibrate finished prompts, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

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
    check_one_each,
    check_out,
    note_other_task,
    print_json,
    print_table,
    progress_bar,
    quiet,
    seed_option,
)

if TYPE_CHECKING:
    from promptport.distillation import Texts


def command(
    prompt: Annotated[
        list[Path], typer.Argument(help="Prompt folder (ours or PEFT's); several of one task.")
    ],
    to: Annotated[
        str, typer.Option(help="Target backbone: embedded name, model folder or Hub id.")
    ],
    task: Annotated[
        str, typer.Option(help="Task: its template and, with --texts task, its texts; no labels.")
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    data: DataOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Source backbone, if it is not where the prompt says; repeat, one per prompt.",
        ),
    ] = None,
    texts: TextsOption = "words",
    split: SplitOption = "train",
    rows: Annotated[int, typer.Option(help="Most unlabelled rows to read or make.")] = 256,
    epochs: Annotated[int, typer.Option(help="Passes over them in calibration.")] = 10,
    seed: Annotated[int, seed_option("Seed of mixtures and random words.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Carry finished prompts by what they do: re-anchor, transfer, calibrate; no labels.

    Needs source and target backbones, and by default not a single text: they are asked random
    words. `transfer` needs their embedding tables only, and keeps less of a free prompt.
    """
    quiet()
    check_out(out, *prompt)
    from promptport.backbone import Backbone
    from promptport.distillation import DistillConfig, Teacher, move
    from promptport.storage import load_prompt, save_prompt
    from promptport.tasks import open_task

    def load(name: str, revision: str | None = None) -> Backbone:
        return Backbone.load(
            name, revision=revision, device=device, dtype=dtype, device_map=device_map
        )

    check_one_each("--from", source or [], prompt)
    found = [load_prompt(path) for path in prompt]
    opened = open_task(task, data)
    note_other_task(found, opened)
    given: list[str | None] = [*source] if source else [None] * len(found)
    places = [
        backbone_reference(each.provenance, name) for each, name in zip(found, given, strict=True)
    ]
    teachers = [Teacher(load(**where), each) for where, each in zip(places, found, strict=True)]
    names = [where["name"] for where in places]
    config = DistillConfig(
        texts=cast("Texts", texts), rows=rows, epochs=epochs, seed=seed, truncate=truncate
    )
    with progress_bar("moving", hidden=json_output) as show:
        result = move(
            teachers,
            load(to),
            opened,
            split=split,
            config=config,
            progress=lambda what, done, total: show(done, total, what),
        )
    save_prompt(result.prompt, out)
    output = {"target": to, "task": task, "folder": str(out), **result.to_dict()}
    if json_output:
        print_json(output)
        return
    print_table(f"{task} moved to {to}", ["", ""], _facts(names, texts, output))
    typer.echo(f"Verdict: {result.verdict}.")
    typer.echo(f"Written to {out}. Score it with: promptport eval {out} --task {task} --baselines")


def _facts(names: list[str], texts: str, output: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, lesson, moved in zip(names, output["anchored"], output["transfers"], strict=True):
        if lesson is not None:
            told = f"{lesson['before']:.3f} to {lesson['after']:.3f} (floor {lesson['floor']:.3f})"
            rows.append([f"cross-entropy, mixture of words on {name}", told])
        rows.append([f"anchors shared with {name}", moved["anchors"]])
    if len(names) > 1:
        rows.append(["calibration starts from the mixture of", names[output["start"]]])
    if output["readout"] is not None:
        rows.append(["word in front of the answer", output["readout"]])
    before, after, made = output["before"], output["after"], output["calibrated"]["rows"]
    return [
        *rows,
        ["answers like the source, after transfer", f"{before['same']:.0%}"],
        ["answers like the source, after calibration", f"{after['same']:.0%}"],
        ["divergence (nats), before and after", [before["divergence"], after["divergence"]]],
        ["of so many rows that were held back", after["rows"]],
        ["rows read or made", f"{made} ({'random words' if texts == 'words' else texts})"],
        ["labels used", "no"],
    ]
