"""`few_shot`: starts for a new task, tuned on few labelled rows (paper B, RQ3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptport.errors import RecipeError, TaskError
from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.together import TOGETHER
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt
    from promptport.recipes.bench import Bench
    from promptport.tasks import Task

_WAYS = {"together": "one", "factors": "factors"}  # start -> method of `together`
_MADE = ("best_single", *_WAYS)  # starts that are given as prompts


class FewShot(Kind):
    """A start for a new task, tuned on so many labelled rows and scored on the test rows.

    `best_single` is the source prompt with the best score on all dev rows of the target, as in
    SPoT and in paper B: it reads their labels. All starts of one number of rows are tuned on the
    same rows in the same batches.
    """

    name = "few_shot"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "task": Key("task"),
        "sources": Key("tasks", least=1),
        "method": Key("method"),
        "shots": Key("number"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {
        name: {}
        for name in (
            *("random", "picked", "ranked", "mean", "sum", "attention", "adapt"),
            *_MADE,
        )
    }
    reads = (*TUNING_SETTINGS, "steps")
    alike = ("backbone", "task", "sources", "shots", "seed")
    whole = True

    def check(self, place: Mapping[str, Any], where: str) -> None:
        if place["task"] in place["sources"]:
            raise RecipeError(
                where,
                expected="a task that is no source",
                got=f"{place['task']!r} as both",
                fix='Add `except: [{task: "=sources"}]` to this grid',
            )

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        found = [
            tuned_cell(place, context, backbone=place["backbone"], task=task)
            for task in place["sources"]
        ]
        if place["method"] in _WAYS:
            own = {name: place[name] for name in ("backbone", "seed")}
            way = {"method": _WAYS[place["method"]], "tasks": place["sources"]}
            found.append(TOGETHER.cell({**own, **way}, context))
        return found

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        from promptport.analysis.statistics import bootstrap_share
        from promptport.experiments.few_shot import CurvesConfig, few_shot_curves
        from promptport.experiments.result_store import unpacked

        place = cells[0].place
        backbone, task = bench.backbone(place["backbone"]), bench.task(place["task"])
        _check_rows(task, place["shots"])
        count = len(place["sources"])
        needs = self.needs(place, bench.context)[:count]
        library = {
            name: bench.prompt(need) for name, need in zip(place["sources"], needs, strict=True)
        }
        given = {cell.place["method"]: self._given(cell, library, bench) for cell in cells}
        prompts = {name: prompt for name, prompt in given.items() if prompt is not None}
        starts = tuple(name for name, prompt in given.items() if prompt is None)
        config = CurvesConfig(
            rows=(place["shots"],),
            starts=starts,
            seeds=(place["seed"],),
            reference=next(iter(given)) if not starts else starts[0],
            steps=bench.settings.steps,
            truncate=True,
        )
        curves = few_shot_curves(backbone, task, library, config, prompts=prompts)
        (count,) = curves.rows  # fewer than asked where some cannot be asked on this backbone
        found = {curve.start: curve for curve in curves.curves}
        for cell in cells:
            curve = found[cell.place["method"]]
            (chosen,), (right,) = (own.get(count, (None,)) for own in (curve.chosen, curve.right))
            told: dict[str, Any] = {"score": curve.scores[count][0], "right": right}
            if right is not None:
                share = bootstrap_share(unpacked(right))
                told |= {"low": share.low, "high": share.high, "rows": len(unpacked(right))}
            yield cell, {**told, "chosen": chosen, "labelled": count}

    def _given(
        self, cell: Cell, library: Mapping[str, SoftPrompt], bench: Bench
    ) -> SoftPrompt | None:
        """The prompt of a start that is made here."""
        from promptport.evaluation import evaluate
        from promptport.tuning.usual import placed_like, templates_of

        method = cell.place["method"]
        if method == "best_single":
            backbone, task = bench.backbone(cell.place["backbone"]), bench.task(cell.place["task"])
            task = placed_like(task, backbone, templates_of(library.values()))
            return max(
                library.values(),
                key=lambda prompt: (
                    evaluate(
                        backbone, task, prompt, template=task.template, split="dev", truncate=True
                    ).score.value
                ),
            )
        if method in _MADE:
            return bench.prompt(self.needs(cell.place, bench.context)[-1])
        return None


def _check_rows(task: Task, shots: int) -> None:
    """Refuse more shots than there are rows: the cell would stand for another number of them."""
    if shots > (rows := len(task.load("train"))):
        raise TaskError(
            f"{task.name}, training rows",
            expected=f"{shots}, as many as shots",
            got=str(rows),
            fix="Lower shots, or raise settings.rows.train of the recipe",
        )


FEW_SHOT = FewShot()
