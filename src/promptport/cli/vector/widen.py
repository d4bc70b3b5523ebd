"""promptport widen: let the task prompt vector of a finished prompt work on other origins."""

from __future__ import annotations

from dataclasses import replace
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
    note_no_template,
    note_other_task,
    origin_folder,
    print_json,
    progress_bar,
    quiet,
    seed_option,
    show_lesson,
    task_of,
)
from promptport.cli.made_origin import written_origin
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.distillation import Texts
    from promptport.prompt import SoftPrompt

MUCH = 0.3  # missed on other origins; a rule of thumb


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="Task: its template and, unless --texts words, its texts; never its labels. "
            "Default: the one that the prompt remembers."
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="What the vector is measured from, in place of the prompt's own origin: seed:3, "
            "vocabulary*0.1, text:SOME WORDS, a prompt folder ... A prompt that has none (PEFT "
            "keeps none but a text) is measured from random words."
        ),
    ] = None,
    origins: Annotated[
        int, typer.Option(help="Learn on so many origins at once, this one among them.")
    ] = 64,
    data: DataOption = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone, if it is not where the prompt says.")
    ] = None,
    texts: TextsOption = "task",
    template: Annotated[
        str | None,
        typer.Option(
            help="Template of a prompt that names none; PEFT puts its rows in front: '{soft} ...'."
        ),
    ] = None,
    split: SplitOption = "train",
    rows: Annotated[
        int | None,
        typer.Option(
            help="Most unlabelled rows; usually 1024 to read (fewer than 256 are filled up by "
            "swapping words), or 256 to make of random words."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Most updates, usually 4800; it ends before if nothing is missed, or no less "
            "than before.",
            min=1,
        ),
    ] = None,
    seed: Annotated[int, seed_option("Seed of texts and origins.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Widen a finished prompt: its vector learns to work on any origin of its kind, no labels."""
    quiet()
    check_out(out, prompt, *origin_folder(origin))
    from promptport.backbone import Backbone
    from promptport.distillation import OVER_ORIGINS, DistillConfig, distill_over_origins
    from promptport.parameters import OriginSpec
    from promptport.storage import load_prompt, save_prompt

    found = load_prompt(prompt)
    opened = task_of(found, task, data, "--task")
    note_other_task([found], opened)
    if template is not None:
        found = _with_template(found, template)
    note_no_template(found, opened)
    spec = None if origin is None else written_origin(origin, seed)
    usual = (
        OVER_ORIGINS.rows if texts == "task" else DistillConfig.rows
    )  # four times as many are made
    config = replace(
        OVER_ORIGINS,
        texts=cast("Texts", texts),
        rows=usual if rows is None else rows,
        steps=OVER_ORIGINS.steps if steps is None else steps,
        seed=seed,
        truncate=truncate,
    )
    place = backbone_reference(found.provenance, backbone)
    model = Backbone.load(**place, device=device, dtype=dtype, device_map=device_map)
    with progress_bar("widening", hidden=json_output) as show:
        result = distill_over_origins(
            found,
            model,
            opened,
            origin=spec,
            origins=origins,
            split=split,
            config=config,
            progress=lambda done, total: show(done, total, ""),
        )
    save_prompt(result.prompt, out)
    output = {
        "backbone": place["name"],
        "task": opened.name,
        "origin": result.prompt.provenance.origin,
        "origins": origins,
        "folder": str(out),
        **result.to_dict(),
    }
    if json_output:
        print_json(output)
        return
    show_lesson(f"the vector of {prompt} on origins that it did not learn from", output)
    if result.missed[0] > MUCH:
        typer.echo(
            f"Of what the prompt says on its own origin {result.missed[0]:.0%} is still missed on "
            "others: this vector does not move well. Give more --steps, real --texts, or check "
            "task and template."
        )
    kind = OriginSpec.drawn_again(result.prompt.provenance.history[-1]["kind"])
    other = (kind or OriginSpec()).written
    typer.echo(
        f"Written to {out}. Put its vector on another origin of the kind {other}: "
        f"promptport combine w --load w={out} --origin '{other}' --seed 3 --out Q"
    )


def _with_template(prompt: SoftPrompt, text: str) -> SoftPrompt:
    from promptport.tasks import Template

    made = prompt.provenance.template
    if made is not None:
        raise PromptPortError(
            "--template",
            expected="a prompt that names none",
            got=f"one with {made!r}",
            fix="Leave the option out: the prompt was tuned in that place",
        )
    return prompt.with_provenance(template=Template.parse(text).text)
