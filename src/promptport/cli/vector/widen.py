"""promptport vector widen: let the task vector of a finished prompt work on other origins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    BackboneOption,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    SplitOption,
    TextsOption,
    TruncateFlag,
    check_other_prompt,
    check_out,
    command_line,
    load_backbone,
    note_no_template,
    note_other_task,
    origin_folder,
    print_json,
    quiet,
    say,
    seed_option,
    show_distillation,
    task_of,
    written,
)
from promptport.cli.panels import METHOD_PANEL, TASK_PANEL
from promptport.cli.vector.distilling import distill_changes
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt

MUCH = 0.3  # missed on other origins; a rule of thumb


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="Task: its template and, unless --texts words, its texts; never its labels. "
            "Needed if the prompt remembers none that comes with promptport.",
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
    origin_samples: Annotated[
        int, typer.Option(help="Learn on so many origins at once, its own among them.")
    ] = 64,
    data: DataOption = None,
    texts: TextsOption = "task",
    template: Annotated[
        str | None,
        typer.Option(
            help="Template of a prompt that names none; PEFT puts its rows in front: '{soft} ...'.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    split: SplitOption = "train",
    rows: Annotated[
        int | None,
        typer.Option(
            help="Most unlabelled rows; usually 1024 to read (fewer than 256 are filled up by "
            "swapping words), or 256 to make of random words.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Most updates, usually 4800; it ends before if nothing is missed, or no less "
            "than before.",
            min=1,
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    seed: Annotated[int, seed_option("Seed of texts and origins.", METHOD_PANEL)] = 0,
    backbone: BackboneOption = None,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Learn a task vector again, so that it holds on many origins.

    The vector of a finished prompt often answers well only on the origin that it was tuned from.
    Here it learns, without labels, to say on any origin of this kind what the prompt says.

    Example:
        promptport vector widen capital --out capital-wide
    """
    quiet()
    check_out(out, prompt, *origin_folder(origin))
    from promptport.distillation import OVER_ORIGINS, distill_over_origins
    from promptport.parameters.written_origins import read_origin
    from promptport.storage import load_prompt, save_prompt

    source = load_prompt(prompt)
    opened = task_of(source, task, data, "--task")
    check_other_prompt(out, source.provenance.task, opened.name, force=force)
    note_other_task([source], opened)
    if template is not None:
        source = _with_template(source, template)
    note_no_template(source, opened)
    spec = None if origin is None else read_origin(origin, seed)
    config = replace(OVER_ORIGINS, **distill_changes(texts, rows, steps, seed, truncate))
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    model = load_backbone(source.provenance, backbone, prompt, **loading)
    result = distill_over_origins(
        source,
        model,
        opened,
        origin=spec,
        origins=origin_samples,
        split=split,
        config=config,
    )
    save_prompt(result.prompt, out)
    output = {
        "backbone": model.name,
        "task": opened.name,
        "origin": result.prompt.provenance.origin,
        "origin_samples": origin_samples,
        "folder": str(out),
        **result.to_dict(),
    }
    if json_output:
        print_json(output)
        return
    show_distillation(f"the vector of {prompt} on origins that it did not learn from", output)
    if result.missed[0] > MUCH:
        say(
            f"Of what the prompt says on its own origin {result.missed[0]:.0%} is still missed on "
            "others: this vector does not move well. Give more --steps, real --texts, or check "
            "task and template."
        )
    written(out, "Put its vector on another origin of this kind", _following(result.prompt, out))


def _following(prompt: SoftPrompt, out: Path) -> str:
    from promptport.parameters import OriginSpec

    drawn = OriginSpec.drawn_again(prompt.provenance.history[-1]["kind"]) or OriginSpec()
    return command_line(
        *("vector", "combine", "w"),
        load=f"w={out}",
        origin=drawn.written,
        seed=3,
        out=out.with_name(f"{out.name}-on-seed3"),
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
