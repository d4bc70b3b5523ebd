"""`origins`: does a task prompt vector work on other origins (paper B, RQ1)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.recipes.bench import Bench
    from promptport.tasks import Task

_FIRST_SEED = 900_000  # of origins that nothing is tuned from
_OTHERS = 4


class Origins(Kind):
    """A task prompt vector on origins that it was not tuned from: mean score over four of them,
    beside the score on its own (`own`) and the share of that (`kept`)."""

    name = "origins"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "task": Key("task"),
        "method": Key("method", "one_origin"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {"one_origin": {}, "widened": {"widen": 1200}}
    options: Mapping[str, str] = {
        "tuned": "method of `tune` that makes the prompt",
        "widen": "updates that teach the vector other origins; 0: it stays as it was tuned",
    }
    takes: Mapping[str, Any] = {"tuned": "", "widen": 0}
    reads = (*TUNING_SETTINGS, "distill")
    alike = ("backbone", "task")

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        how = self.method(place["method"], context).get("tuned", "free")
        own = {"backbone": place["backbone"], "task": place["task"]}
        return [tuned_cell(place, context, method=how, **own)]

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        for cell in cells:
            backbone, task = bench.backbone(cell.place["backbone"]), bench.task(cell.place["task"])
            (need,) = self.needs(cell.place, bench.context)
            prompt = direct = bench.prompt(need)
            told: dict[str, Any] = {}
            if widen := cell.settings["method"].get("widen"):
                prompt, told = _widened(prompt, backbone, task, widen, cell, bench)
            yield cell, {**_over_origins(prompt, direct, backbone, task), **told}


def _widened(
    prompt: SoftPrompt, backbone: Backbone, task: Task, steps: int, cell: Cell, bench: Bench
) -> tuple[SoftPrompt, dict[str, Any]]:
    from promptport.distillation import OVER_ORIGINS, distill_over_origins

    usual = replace(OVER_ORIGINS, **bench.settings.distill)
    config = replace(usual, steps=steps, seed=cell.place["seed"], truncate=True)
    learned = distill_over_origins(prompt, backbone, task, config=config)
    return learned.prompt, {"steps": learned.steps}


def _over_origins(
    prompt: SoftPrompt, direct: SoftPrompt, backbone: Backbone, task: Task
) -> dict[str, Any]:
    """Scores on the own origin and on others; `own` is of the prompt as it was tuned."""
    from promptport.analysis.statistics import bootstrap_mean
    from promptport.evaluation import score_prompts
    from promptport.parameters import OriginSpec, make_origin
    from promptport.vector import TaskPromptVector

    vector = TaskPromptVector.of(prompt, task.name)
    specs = [OriginSpec("vocabulary", _FIRST_SEED + i) for i in range(_OTHERS)]
    there = [vector.apply(make_origin(spec, backbone, prompt.length)) for spec in specs]
    scores = score_prompts(backbone, [direct, *there], [task], truncate=True)
    own, others = scores[0][0], [row[0] for row in scores[1:]]
    values = [evaluation.score.value for evaluation in others]
    told: dict[str, Any] = {
        "score": fmean(values),
        "others": values,
        "own": own.score.value,
        "kept": fmean(values) / own.score.value if own.score.value else None,
        "rows": own.score.rows,
        "metric": own.score.metric,
    }
    rights = [evaluation.right for evaluation in others if evaluation.right is not None]
    if len(rights) == len(others):  # rows are the units: origins share them
        share = bootstrap_mean([fmean(row) for row in zip(*rights, strict=True)])
        told |= {"low": share.low, "high": share.high}
    return told


ORIGINS = Origins()
