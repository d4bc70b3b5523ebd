"""`transfer`: a prompt of one backbone, or of several, moved to another (paper A)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.errors import RecipeError
from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt
    from promptport.recipes.bench import Bench

TABLES = (
    *("copy", "discretize", "projector", "procrustes", "linear_map", "weighted_sum", "omp"),
    *("least_squares", "operator", "random", "gradient"),
)
_OF_TABLES = ("method", "options", "magnitude", "anchors", "lengths", "own_anchors")


class Transfer(Kind):
    """A prompt moved from one backbone, or from several, to another, and its score there.

    The road `tables` reads the two embedding tables. The road `answers` asks both models. `cost` is
    the processor time of the move alone, in seconds.
    """

    name = "transfer"
    keys: Mapping[str, Key] = {
        "source": Key("backbones", least=1, bare=True),
        "target": Key("backbone"),
        "task": Key("task"),
        "method": Key("method"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {
        **{name: {"method": name} for name in TABLES},
        # Eq. 5 and 7 of arXiv 2310.01691, with its 2,000 updates.
        "paper": {"method": "gradient", "magnitude": "paper", "options": {"steps": 2000}},
        "anchored": {"method": "mixture", "tuned": "anchored"},
        "move": {"road": "answers"},
        "move_words": {"road": "answers", "texts": "words"},
        "move_written": {"road": "answers", "texts": "write"},
        "move_labels": {"road": "answers", "labelled": 32},
        "from_vocabulary": {"road": "answers", "start": "vocabulary"},
        "from_labels": {"road": "answers", "start": "labels"},
        "from_port": {"road": "answers", "start": "port"},
        "from_mixture": {"road": "answers", "start": "mixture"},
    }
    options: Mapping[str, str] = {
        "road": "`tables` (the two embedding tables, usual) or `answers` (both models are asked)",
        "tuned": "method of `tune` that makes the prompt",
        "method": "road `tables`: a transfer method",
        "options": "road `tables`: options of that method",
        "magnitude": "road `tables`: rule for the norms",
        "anchors": "road `tables`: which shared words",
        "lengths": "road `tables`: what to do with sources of different length",
        "own_anchors": "road `tables`: every source uses all words that it shares with the target",
        "texts": "road `answers`: `task`, `write` or `words`",
        "labelled": "road `answers`: rows whose labels are learned too",
        "start": "road `answers`: what the target's prompt begins from, as `move --start` takes it",
        "distill": "road `answers`: fields of `DistillConfig`, over those of the settings",
        "about": "road `answers`, texts that are written: what they are, by task",
    }
    takes: Mapping[str, Any] = {
        **{"road": ("tables", "answers"), "texts": ("task", "write", "words")},
        **dict.fromkeys(("tuned", "method", "magnitude", "anchors", "lengths", "start"), ""),
        **{name: {} for name in ("options", "distill", "about")},
        **{"own_anchors": False, "labelled": 0},
    }
    reads = (*TUNING_SETTINGS, "distill")
    alike = ("source", "target")

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        how = self.method(place["method"], context).get("tuned", "free")
        return [
            tuned_cell(place, context, method=how, backbone=name, task=place["task"])
            for name in sources_of(place)
        ]

    def check(self, place: Mapping[str, Any], where: str) -> None:
        if place["target"] in sources_of(place):
            raise RecipeError(
                where,
                expected="a target that is no source",
                got=f"{place['target']!r} as both",
                fix='Add `except: [{source: "=target"}]` to this grid',
            )

    def try_options(self, options: Method) -> None:
        from promptport.distillation.starts import Start
        from promptport.tasks import open_task
        from promptport.transfers import TransferConfig

        # `labels` depends on the task; any that has some tells whether it is a word that is known.
        start = options.get("start", "auto")
        if start != "auto" and not Path(start).is_dir():
            Start.parse(start, open_task("sentiment"), 0)
        TransferConfig(**{name: options[name] for name in _OF_TABLES if name in options})

    def stops(self, place: Mapping[str, Any]) -> list[str]:
        """The backbones that a prompt is moved to, one after the other; the target comes last."""
        return [place["target"]]

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        from promptport.evaluation import evaluate
        from promptport.recipes.bench import scored

        for cell in cells:
            options = dict(cell.settings["method"])
            prompts = [bench.prompt(need) for need in self.needs(cell.place, bench.context)]
            by_answers = options.pop("road", "tables") == "answers"
            options.pop("tuned", None)
            made = _by_answers if by_answers else _by_tables
            names, stops = sources_of(cell.place), self.stops(cell.place)
            for name in (*names, *stops):
                bench.backbone(name)  # loaded before the time is taken
            began = time.process_time()
            for stop in stops:
                moved, told = made(cell, _Step(prompts, names, stop), dict(options), bench)
                prompts, names = [moved], [stop]
            told["cost"] = time.process_time() - began
            target, task = bench.backbone(cell.place["target"]), bench.task(cell.place["task"])
            yield cell, {**scored(evaluate(target, task, prompts[0], truncate=True)), **told}


class Chain(Transfer):
    """A prompt moved over one or more models to another, as when a base model is upgraded twice.

    Each move reads what the one before it made. Figures of a move are those of the last one; `cost`
    is that of all.
    """

    name = "chain"
    keys: Mapping[str, Key] = {
        "source": Key("backbone"),
        "through": Key("backbones", least=1),
        **{name: key for name, key in Transfer.keys.items() if name != "source"},
    }

    def stops(self, place: Mapping[str, Any]) -> list[str]:
        return [*place["through"], place["target"]]

    def check(self, place: Mapping[str, Any], where: str) -> None:
        way = [place["source"], *self.stops(place)]
        for one, other in pairwise(way):
            if one == other:
                raise RecipeError(
                    where,
                    expected="a move to another backbone at each step",
                    got=f"{one!r} twice in a row",
                    fix="Leave it out, or add an `except` to this grid",
                )


@dataclass(frozen=True)
class _Step:
    """A move: prompts, the backbones that they belong to, and the one that they go to."""

    prompts: list[SoftPrompt]
    names: list[str]
    to: str


def sources_of(place: Mapping[str, Any]) -> list[str]:
    """The backbones that a prompt comes from: one by its name, or a list."""
    source = place["source"]
    return source if isinstance(source, list) else [source]


def _by_tables(
    cell: Cell, step: _Step, options: dict[str, Any], bench: Bench
) -> tuple[SoftPrompt, dict[str, Any]]:
    from promptport.transfers import Source, transfer

    spaces = [bench.backbone(name).space for name in step.names]
    goal = bench.backbone(step.to).space
    parts = [Source(prompt, space) for prompt, space in zip(step.prompts, spaces, strict=True)]
    seed = cell.place["seed"]
    moved = transfer(parts, target=goal, seed=seed, roundtrip=False, **options)
    return moved.prompt, {"matching_loss": 1 - moved.report.matching}


def _by_answers(
    cell: Cell, step: _Step, options: dict[str, Any], bench: Bench
) -> tuple[SoftPrompt, dict[str, Any]]:
    from promptport.distillation import AnswersResult, WritingResult
    from promptport.moving import MoveConfig, move

    task = cell.place["task"]
    about = options.get("about", {})  # what a user would say of the texts, by task
    own = {**options.get("distill", {}), **({"about": about[task]} if task in about else {})}
    config = MoveConfig(
        learning={**bench.settings.distill, **own, "seed": cell.place["seed"], "truncate": True},
        start=options.get("start", "auto"),
        labelled=options.get("labelled", 0),
    )
    moved = move(
        step.prompts,
        to=bench.backbone(step.to),
        backbone=[bench.backbone(name) for name in step.names],
        task=bench.task(task),
        method="answers",
        texts=options.get("texts", "task"),
        config=config,
    )
    if isinstance(moved.report, WritingResult):
        told = {"like_source": moved.report.like_source, "held_back": moved.report.held_back}
        return moved.prompt, {**told, "steps": moved.report.steps}
    check, report = moved.check, moved.report
    if check is None or not isinstance(report, AnswersResult):
        return moved.prompt, {}
    return moved.prompt, {
        **{"same": check.same, "random_same": check.random, "divergence": check.divergence},
        **{"held_back": check.rows, "steps": report.aligned.steps},
    }


TRANSFER = Transfer()
CHAIN = Chain()
