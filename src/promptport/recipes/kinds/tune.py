"""`tune`: a prompt tuned on labelled rows; other kinds read it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.errors import TuningError
from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.settings import place_of

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.recipes.bench import Bench
    from promptport.tasks import Task
    from promptport.tuning import TuneConfig, TuneJob

TUNING_SETTINGS = ("rows", "words", "length", "place", "relative_lr", "tune")


class Tune(Kind):
    """A prompt tuned on the training rows of a task, and its score on the test rows.

    Prompts of one backbone are tuned in shared batches. An interrupted run goes on. `cost` is the
    processor time of tuning alone, in seconds: the share of a prompt.
    """

    name = "tune"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "task": Key("task"),
        "method": Key("method", "free"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {
        "free": {},
        "anchored": {"origin": "mixture"},
        "front": {"place": "front"},
        "behind": {"place": "behind"},
    }
    options: Mapping[str, str] = {
        "origin": "what tuning starts from, as `tune --origin` takes it",
        "origins": "number of origins that the prompt is tuned on",
        "rest": "of a mixture: the largest length of what is added to it, as a share",
        "noise": "on the virtual tokens of a mixture, as a share of their norm",
        "lr": "learning rate",
        "relative_lr": "the same as a share of the spread of the embeddings",
        "length": "virtual tokens",
        "place": "`template`, `front` or `behind` the text",
    }
    takes: Mapping[str, Any] = {
        **{"origin": "", "origins": 0, "length": 0, "place": ("template", "front", "behind")},
        **dict.fromkeys(("rest", "noise", "lr", "relative_lr"), 0.0),
    }
    reads = TUNING_SETTINGS
    makes_prompt = True
    whole = True

    def try_options(self, options: Method) -> None:
        from promptport.parameters import OriginSpec

        if "origin" in options and not Path(options["origin"]).is_dir():
            OriginSpec.parse(options["origin"], 0)

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        from promptport.evaluation import evaluate
        from promptport.recipes.bench import scored
        from promptport.tuning import tune

        backbone = bench.backbone(cells[0].place["backbone"])
        jobs = [tuning_job(cell, backbone, bench) for cell in cells]
        config = tuning_config(backbone, bench)
        state = bench.state(list(cells))
        state.parent.mkdir(parents=True, exist_ok=True)
        began, goes_on = time.process_time(), state.exists()
        results = tune(backbone, jobs, config, state=state)
        # Of a run that went on only the rest is known.
        cost = None if goes_on else (time.process_time() - began) / len(cells)
        for cell, result in zip(cells, results, strict=True):
            if result.prompt is None:
                raise TuningError(
                    str(cell),
                    expected="a finite loss",
                    got=str(result.error),
                    fix="Lower relative_lr in the settings of the recipe",
                )
            bench.keep(cell, result.prompt)
            task = bench.task(cell.place["task"])
            evaluation = evaluate(backbone, task, result.prompt, truncate=True)
            told = {"dev": result.dev_score, "steps": result.steps, "cost": cost}
            yield cell, {**scored(evaluation), **told}


def tuning_job(
    cell: Cell, backbone: Backbone, bench: Bench, together: Sequence[Task] = ()
) -> TuneJob:
    """The job of a cell: options of its method, else settings of the recipe, else what is usual.

    Args:
        cell: of a prompt.
        backbone: of that prompt.
        bench: gives the task.
        together: tasks of one prompt, whose virtual tokens have one place; none for the cell's own.
    """
    from promptport.tuning import TuneJob
    from promptport.tuning.jobs import written_origin
    from promptport.tuning.usual import placed_in, usual_settings

    usual, settings = usual_settings(backbone), bench.settings
    options = dict(cell.settings["method"])
    task, seed = bench.task(cell.place["task"]), cell.place["seed"]
    place = place_of(options.pop("place", settings.place))
    length = options.pop("length", 0) or settings.length or usual.length
    rate = options.pop("relative_lr", 0) or settings.relative_lr or usual.relative_lr
    return TuneJob(
        task,
        written_origin(options.pop("origin", "vocabulary"), seed),
        length,
        seed,
        relative_lr=rate,
        template=placed_in(backbone, task, place, *together),
        name=cell.id,
        **options,
    )


def tuning_config(backbone: Backbone, bench: Bench) -> TuneConfig:
    """What the prompts of a run share: the recipe's settings over the usual ones."""
    from promptport.tuning.usual import usual_settings

    return replace(usual_settings(backbone).config, truncate=True, **bench.settings.tune)


def tuned_cell(
    place: Mapping[str, Any], context: Context, *, method: str = "free", **keys: Any
) -> Cell:
    """The cell whose prompt another cell reads.

    Args:
        place: of the other cell; gives the seed.
        context: of the recipe.
        method: how it is tuned.
        keys: its backbone and task.
    """
    own = {"method": method, "seed": place["seed"], **keys}
    return TUNE.cell(own, context)


TUNE = Tune()
