"""`baseline`: what needs no tuned prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptport.errors import TaskError
from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Key, Kind, Method
from promptport.recipes.settings import place_of

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.evaluation import Evaluation
    from promptport.recipes.bench import Bench
    from promptport.tasks import Task


class Baseline(Kind):
    """What needs no tuned prompt: the majority answer, the manual template (with its label prior
    on or off), the tuning template without its virtual tokens, and a random prompt in them."""

    name = "baseline"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "task": Key("task"),
        "method": Key("method"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {
        name: {} for name in ("majority", "manual", "manual_prior", "no_prompt", "random")
    }
    reads = ("rows", "words", "length", "place")

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        for cell in cells:
            backbone = bench.backbone(cell.place["backbone"])
            yield cell, self._one(cell, backbone, bench)

    def _one(self, cell: Cell, backbone: Backbone, bench: Bench) -> dict[str, Any]:
        from promptport.recipes.bench import score_values, scored
        from promptport.tuning.label_prior import has_prior, score_prior_off

        task, method = bench.task(cell.place["task"]), cell.place["method"]
        if method == "majority":
            return score_values(_asked_of(backbone, task).majority_score(), None)
        if method in ("manual", "manual_prior") and task.manual is None:
            raise TaskError(
                f"{task.name}, manual",
                expected="a task with a manual template",
                got="none",
                fix="Add `manual:` to the task file, or leave these cells out",
            )
        if method == "manual_prior" and has_prior(task):
            assert task.manual is not None
            both = score_prior_off(backbone, task, task.manual, truncate=True)
            return score_values(both.score, both.right)
        return scored(self._asked(method, cell.place["seed"], backbone, task, bench))

    @staticmethod
    def _asked(method: str, seed: int, backbone: Backbone, task: Task, bench: Bench) -> Evaluation:
        from promptport.evaluation import evaluate
        from promptport.tuning import random_prompt
        from promptport.tuning.usual import placed_in, usual_settings

        if method == "no_prompt":
            bare = task.template.without_soft()
            return evaluate(backbone, task, template=bare, truncate=True)
        if method == "random":
            usual, settings = usual_settings(backbone), bench.settings
            prompt = random_prompt(backbone, settings.length or usual.length, seed)
            template = placed_in(backbone, task, place_of(settings.place))
            return evaluate(backbone, task, prompt, template=template, truncate=True)
        return evaluate(backbone, task, truncate=True)


def _asked_of(backbone: Backbone, task: Task) -> Task:
    """A task with the test rows that the backbone can be asked: those of the other methods."""
    from promptport.objective import Objective

    if task.kind != "probe":
        return task
    asked = Objective(backbone, task, task.template.without_soft(), truncate=True)
    rows = [row for row in task.load("test") if asked.can_ask(row)]
    return task.with_rows(train=task.load("train"), test=rows)


BASELINE = Baseline()
