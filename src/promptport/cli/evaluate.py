"""promptport eval: score a prompt on a task, beside the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import is_attention, score_attention
from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    TruncateFlag,
    backbone_reference,
    interval,
    note_no_template,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
)
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.evaluation import Evaluation
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task


def command(
    task: Annotated[str, typer.Option(help="Task. See 'promptport tasks'.")],
    prompt: Annotated[
        Path | None,
        typer.Argument(
            help="Prompt folder, or attention folder of tune; without one the manual template is "
            "scored."
        ),
    ] = None,
    data: DataOption = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone, if it is not where the prompt says.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    template: Annotated[str | None, typer.Option(help="Template in place of the prompt's.")] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Also majority, no prompt, manual and random prompt."),
    ] = False,
    tuned: Annotated[
        bool,
        typer.Option("--tuned", help="Also a prompt tuned on this backbone (uses its labels)."),
    ] = False,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Score a prompt on a task with a 95% interval, and beside it what to compare with."""
    quiet()
    from promptport.backbone import Backbone
    from promptport.evaluation import evaluate
    from promptport.storage import load_prompt
    from promptport.tasks import Template, open_task
    from promptport.tuning import score_baselines

    chosen = open_task(task, data)
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    if prompt is not None and is_attention(prompt):
        given = {"--template": template, "--baselines": baselines, "--tuned": tuned}
        refuse_together("attention folder", {name: bool(value) for name, value in given.items()})
        model, result = score_attention(prompt, chosen, split, backbone, truncate, **loading)
        _report(model, chosen, split, prompt, result, {}, json_output)
        return
    found = None if prompt is None else load_prompt(prompt)
    whose = _home(backbone, found)
    model = Backbone.load(**whose, **loading)
    place = None if template is None else Template.parse(template)
    if found is not None and place is None:
        note_no_template(found, chosen)
    result = evaluate(model, chosen, found, template=place, split=split, truncate=truncate)
    compared: dict[str, Any] = {}
    if baselines or tuned:
        with progress_bar("baselines", hidden=json_output) as show:
            scores = score_baselines(
                model,
                chosen,
                found,
                split=split,
                template=place,
                truncate=truncate,
                tuned=tuned,
                progress=lambda p: show(p.step, p.total, "tuning on this backbone"),
            )
        compared = {name: score.to_dict() for name, score in scores.items()}
    _report(model, chosen, split, prompt, result, compared, json_output)


def _report(
    model: Backbone,
    task: Task,
    split: str,
    prompt: Path | None,
    result: Evaluation,
    compared: dict[str, Any],
    json_output: bool,
) -> None:
    output = {
        "backbone": model.name,
        "task": task.name,
        "split": split,
        "prompt": None if prompt is None else str(prompt),
        **result.to_dict(),
        **({"baselines": compared} if compared else {}),
    }
    if json_output:
        print_json(output)
    else:
        _show(output)


def _home(backbone: str | None, prompt: SoftPrompt | None) -> dict[str, Any]:
    if prompt is not None:
        return backbone_reference(prompt.provenance, backbone)
    if backbone is not None:
        return {"name": backbone}
    raise PromptPortError(
        "eval",
        expected="a prompt folder or --backbone",
        got="neither",
        fix="Write promptport eval PROMPT --task TASK, or --backbone NAME for the manual template",
    )


def _show(output: dict[str, Any]) -> None:
    name = "manual template" if output["prompt"] is None else output["prompt"]
    rows = [[name, interval(output), output["rows"]]]
    rows += [[label, interval(s), s["rows"]] for label, s in output.get("baselines", {}).items()]
    title = f"{output['task']} ({output['split']}) on {output['backbone']}: {output['metric']}"
    print_table(title, ["prompt", "score [95% interval]", "rows"], rows)
    if output["skipped"]:
        typer.echo(f"{output['skipped']} rows were left out: their object is several tokens.")
