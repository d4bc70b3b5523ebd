"""promptport eval: score a prompt on a task, beside the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import is_attention, score_attention
from promptport.cli.console import (
    BackboneOption,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    TruncateFlag,
    interval,
    load_backbone,
    note_no_template,
    note_other_task,
    print_json,
    print_table,
    quiet,
    recorded_task,
    refuse_together,
    say,
    task_of,
)
from promptport.cli.panels import TASK_PANEL
from promptport.errors import PromptPortError, TaskError
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.evaluation import Evaluation
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Score, Task, Template


def command(
    prompt: Annotated[
        Path | None,
        typer.Argument(
            help="Prompt folder, or attention folder of tune; without one the manual template of "
            "--task is scored on --backbone."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Task, or task file; needed if the prompt remembers none that comes with "
            "promptport. See 'promptport tasks'."
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Also no prompt, the manual template, that with its label prior off, and random "
            "prompts.",
        ),
    ] = False,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tuned", help="These, and a prompt that is tuned on this model now (reads labels)."
        ),
    ] = False,
    backbone: BackboneOption = None,
    data: DataOption = None,
    split: Annotated[
        str, typer.Option(help="train, dev or test.", rich_help_panel=TASK_PANEL)
    ] = "test",
    template: Annotated[
        str | None,
        typer.Option(help="Template in place of the prompt's.", rich_help_panel=TASK_PANEL),
    ] = None,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Score a prompt on a task, beside the baselines.

    The score has a 95% interval. It is set against always giving the most frequent answer; of a
    prompt that was moved the score on its source is shown as well.

    Example:
        promptport eval capital
        promptport eval capital --baselines
        promptport eval --backbone nano-bert --task country-capital
    """
    quiet()
    from promptport.tasks import Template

    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    if prompt is not None and is_attention(prompt):
        given = {"--template": template, "--baselines": baselines, "--tuned": tuned}
        refuse_together("attention folder", {name: bool(value) for name, value in given.items()})
        scored = _score_attention(prompt, task, data, split, backbone, truncate, loading)
    else:
        place = None if template is None else Template.parse(template)
        asked = _open(prompt, task, data, backbone, place, loading)
        scored = _score(asked, split, truncate, baselines or tuned, tuned)
    output = _output(scored, prompt, split)
    if json_output:
        print_json(output)
    else:
        _show(output)


@dataclass(frozen=True)
class _Asked:
    """What is to be scored: a prompt, or without one the manual template."""

    model: Backbone
    task: Task
    prompt: SoftPrompt | None
    template: Template | None


@dataclass(frozen=True)
class _Scored:
    model: Backbone
    task: Task
    result: Evaluation
    baselines: dict[str, Score]
    source: dict[str, Any] | None = None


def _open(
    folder: Path | None,
    reference: str | None,
    data: Path | None,
    backbone: str | None,
    template: Template | None,
    loading: dict[str, Any],
) -> _Asked:
    """Open what was named, and say what may surprise.

    Raises:
        PromptPortError: neither prompt nor backbone, no task, or what cannot be opened.
    """
    from promptport.backbone import Backbone
    from promptport.storage import load_prompt
    from promptport.tasks import open_task

    if folder is None:
        _check_named(backbone, reference)
        task = open_task(reference or "", data)
        return _Asked(Backbone.load(backbone or "", **loading), task, None, template)
    prompt = load_prompt(folder)
    task = task_of(prompt, reference, data, "--task")
    model = load_backbone(prompt.provenance, backbone, folder, **loading)
    note_other_task([prompt], task, template)
    if template is None:
        note_no_template(prompt, task)
    return _Asked(model, task, prompt, template)


def _check_named(backbone: str | None, task: str | None) -> None:
    if backbone is None:
        raise PromptPortError(
            "eval",
            expected="a prompt folder or --backbone",
            got="neither",
            fix="Write promptport eval PROMPT, or --backbone MODEL --task TASK for the manual "
            "template",
        )
    if task is None:
        raise PromptPortError(
            "--task",
            expected="a task whose manual template is scored",
            got="none",
            fix="Give --task TASK, or a prompt folder that remembers its task",
        )


def _score(asked: _Asked, split: str, truncate: bool, baselines: bool, tuned: bool) -> _Scored:
    from promptport.analysis.verdict import source_score
    from promptport.evaluation import evaluate
    from promptport.tuning import score_baselines

    with stage("scoring the manual template" if asked.prompt is None else "scoring the prompt"):
        result = evaluate(
            asked.model,
            asked.task,
            asked.prompt,
            template=asked.template,
            split=split,
            truncate=truncate,
        )
    compared = _majority(asked.task, split)
    if baselines:
        compared = score_baselines(
            asked.model,
            asked.task,
            asked.prompt,
            split=split,
            template=asked.template,
            truncate=truncate,
            tuned=tuned,
        )
    source = None if asked.prompt is None else source_score(asked.prompt.provenance)
    return _Scored(asked.model, asked.task, result, compared, source)


def _score_attention(
    folder: Path,
    reference: str | None,
    data: Path | None,
    split: str,
    backbone: str | None,
    truncate: bool,
    loading: dict[str, Any],
) -> _Scored:
    from promptport.storage.attention_folder import attention_provenance

    task = recorded_task(attention_provenance(folder), reference, data, "--task")
    with stage("scoring the prompts"):
        model, result = score_attention(folder, task, split, backbone, truncate, **loading)
    return _Scored(model, task, result, _majority(task, split))


def _majority(task: Task, split: str) -> dict[str, Score]:
    """The score of the most frequent training answer; none without training rows."""
    try:
        return {"majority": task.majority_score(split)}
    except TaskError:
        return {}


def _output(scored: _Scored, prompt: Path | None, split: str) -> dict[str, Any]:
    from promptport.analysis.verdict import verdict

    compared, task = scored.baselines, scored.task
    answer = task.majority() if compared.get("majority") and not task.is_regression else None
    told = verdict(scored.result.score, compared.get("majority"), answer, compared)
    return {
        "backbone": scored.model.name,
        "task": task.name,
        "split": split,
        "prompt": None if prompt is None else str(prompt),
        **scored.result.to_dict(),
        **({"baselines": {n: s.to_dict() for n, s in compared.items()}} if compared else {}),
        **({"source": scored.source} if scored.source else {}),
        "verdict": told,
    }


def _show(output: dict[str, Any]) -> None:
    name = "manual template" if output["prompt"] is None else output["prompt"]
    rows = [[name, interval(output), output["rows"]]]
    rows += [[label, interval(s), s["rows"]] for label, s in output.get("baselines", {}).items()]
    title = f"{output['task']} ({output['split']}) on {output['backbone']}: {output['metric']}"
    print_table(title, ["prompt", "score [95% interval]", "rows"], rows)
    if output["verdict"]:
        say(f"Verdict: {output['verdict']}")
    if source := output.get("source"):
        score, where = source["dev_score"], source["backbone"]
        say(f"Before it was moved it scored {score:.3f} on the dev rows, on {where}.")
    if output["skipped"]:
        say(f"{output['skipped']} rows were left out: their object is several tokens.")
