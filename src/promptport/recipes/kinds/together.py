"""`together`: one prompt tuned on several tasks (SPoT's multi-task start, MPT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell, tuning_config, tuning_job

if TYPE_CHECKING:
    from promptport.recipes.bench import Bench

_UNUSED: dict[str, Any] = {
    "clip": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
}  # refused when together


class Together(Kind):
    """One prompt tuned on several tasks at once, as a start for others: `one` shared prompt (SPoT),
    or `factors`, a shared prompt times a small matrix for each task (MPT, arXiv 2303.02861)."""

    name = "together"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "tasks": Key("tasks", least=2),
        "method": Key("method"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {"one": {}, "factors": {}}
    reads = TUNING_SETTINGS
    alike = ("backbone", "tasks", "seed")
    makes_prompt = True

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        return [
            tuned_cell(place, context, backbone=place["backbone"], task=task)
            for task in place["tasks"]
        ]

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        from promptport.tuning import tune_together

        for cell in cells:
            backbone = bench.backbone(cell.place["backbone"])
            needs = self.needs(cell.place, bench.context)
            tasks = [bench.task(name) for name in cell.place["tasks"]]
            jobs = [tuning_job(need, backbone, bench, tasks) for need in needs]
            config = replace(tuning_config(backbone, bench), **_UNUSED)
            way = cell.place["method"]
            teachers = [bench.prompt(need) for need in needs] if way == "factors" else []
            made = tune_together(backbone, jobs, config, way=way, teachers=teachers)
            bench.keep(cell, made.prompt)
            scores = list(made.dev_scores)
            yield cell, {"score": sum(scores) / len(scores), "dev": scores, "steps": made.steps}


TOGETHER = Together()
