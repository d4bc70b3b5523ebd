"""promptport eval: score a prompt on a task, beside the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import is_attention, score_attention
from promptport.cli.console import (
    BackboneOption,
    ChatFlag,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    MaxNewTokensOption,
    StopOption,
    TemperatureOption,
    TopPOption,
    TruncateFlag,
    WritingSeedOption,
    chat_template,
    interval,
    load_backbone,
    note_no_template,
    note_other_task,
    note_sentinel,
    option_name,
    print_json,
    print_table,
    quiet,
    recorded_task,
    refuse_together,
    say,
    task_of,
    with_writing,
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
    chat: ChatFlag = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Another metric next to the task's own; repeat. Of text to text: exact-match, "
            "token-f1, rouge-1, rouge-2, rouge-l, chrf, bleu.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    max_new_tokens: MaxNewTokensOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    seed: WritingSeedOption = None,
    stop: StopOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Score a prompt on a task, beside the baselines.

    The score has a 95% interval. It is set against always giving the most frequent answer; of a
    prompt that was moved the score on its source is shown as well. In text to text the model
    writes its answers, as the task file or the options of writing say.

    Example:
        promptport eval capital
        promptport eval capital --baselines
        promptport eval --backbone nano-bert --task country-capital
    """
    quiet()
    from promptport.tasks import Template

    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    writing: dict[str, Any] = {
        **{"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p},
        **{"seed": seed, "stop": stop},
    }
    if prompt is not None and is_attention(prompt):
        given: dict[str, Any] = {"--template": template, "--baselines": baselines, "--tuned": tuned}
        given |= {"--metric": metric, "--chat": chat} | {
            option_name(n): v for n, v in writing.items()
        }
        refuse_together(
            "attention folder", {n: v not in (None, False, []) for n, v in given.items()}
        )
        scored = _score_attention(prompt, task, data, split, backbone, truncate, loading)
    else:
        place = None if template is None else Template.parse(template)
        asked = _open(
            _Named(prompt, task, data, backbone, place, tuple(metric or ()), writing, chat),
            loading,
        )
        scored = _score(asked, split, truncate, baselines or tuned, tuned)
    output = _output(scored, prompt, split)
    if json_output:
        print_json(output)
    else:
        _show(output)


@dataclass(frozen=True)
class _Named:
    """What the user named to be scored, and how."""

    prompt: Path | None
    task: str | None
    data: Path | None
    backbone: str | None
    template: Template | None
    metrics: tuple[str, ...]
    writing: dict[str, Any]
    chat: bool

    def change(self, task: Task) -> Task:
        """The task with the settings that were given.

        Raises:
            TaskError: settings or metrics that do not suit the task.
        """
        for metric in self.metrics:
            task.check_also(metric)
        task = with_writing(task, **self.writing)
        return task.with_chat() if self.chat else task


@dataclass(frozen=True)
class _Asked:
    """What is to be scored: a prompt, or without one the manual template."""

    model: Backbone
    task: Task
    prompt: SoftPrompt | None
    template: Template | None
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class _Scored:
    model: Backbone
    task: Task
    result: Evaluation
    baselines: dict[str, Score]
    source: dict[str, Any] | None = None


def _open(named: _Named, loading: dict[str, Any]) -> _Asked:
    """Open what was named, and say what may surprise.

    Raises:
        PromptPortError: neither prompt nor backbone, no task, or what cannot be opened.
    """
    from promptport.backbone import Backbone
    from promptport.storage import load_prompt
    from promptport.tasks import open_task

    prompt = None if named.prompt is None else load_prompt(named.prompt)
    if prompt is None or named.prompt is None:
        _check_named(named.backbone, named.task)
        task = named.change(open_task(named.task or "", named.data))
        model = Backbone.load(named.backbone or "", **loading)
    else:
        task = named.change(task_of(prompt, named.task, named.data, "--task"))
        model = load_backbone(prompt.provenance, named.backbone, named.prompt, **loading)
        note_other_task([prompt], task, named.template)
        if named.template is None:
            note_no_template(prompt, task)
        note_sentinel(prompt, task)
    place = chat_template(named.chat, named.template, task, prompt)
    return _Asked(model, task, prompt, place, _metrics(task, named.metrics))


def _metrics(task: Task, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were asked for; of text to text also those that need no package."""
    from promptport.tasks import FREE_METRICS

    free = FREE_METRICS if task.kind == "text2text" else ()
    return tuple(dict.fromkeys((*free, *asked)))


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
            metrics=asked.metrics,
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
    for other, score in output.get("other_metrics", {}).items():
        say(f"{other}: {interval(score)}")
    if output["verdict"]:
        say(f"Verdict: {output['verdict']}")
    if source := output.get("source"):
        score, where = source["dev_score"], source["backbone"]
        say(f"Before it was moved it scored {score:.3f} on the dev rows, on {where}.")
    if output["skipped"]:
        say(f"{output['skipped']} rows were left out: their object is several tokens.")
