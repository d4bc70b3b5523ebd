"""Do vectors work on other origins (paper B, RQ1), and which training makes them?

Run from the root of the repository: python -m benchmarks.task_vectors.run --parts origins

Every task is tuned from one origin, and its vector is put on origins that nothing was tuned from.
Which training is the best is decided on dev rows, on origins of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from benchmarks._inputs import backbone, digest_of
from benchmarks.task_vectors.common import (
    BACKBONES,
    LENGTH,
    MORE_ROWS,
    RESULTS,
    WORK,
    benchmark_tasks,
    book_of,
    can_be_asked,
    group_of,
    scored,
    told,
    tuned,
)
from benchmarks.task_vectors.moved import (
    ANCHORED,
    AVERAGED,
    BARE,
    CHEAP,
    EVERY,
    PAPER,
    SMALL,
    TRAININGS,
    WIDENED,
    learnable,
    summarise,
    table,
)

from promptport.distillation import OVER_ORIGINS, DistillConfig, distill_over_origins
from promptport.evaluation import score_prompts
from promptport.experiments.result_store import Cell, ResultStore
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.tuning import random_prompt
from promptport.vector import TaskPromptVector

__all__ = ["measure", "summarise", "table"]

WIDE = replace(
    OVER_ORIGINS, steps=1200, truncate=True
)  # a quarter of the usual steps, to save time
AVERAGE_OF = 3
TEST_ORIGINS, DEV_ORIGINS = 4, 2
_TEST_SEED, _DEV_SEED, _MORE_SEEDS = 900_000, 800_000, 700_000


def measure(
    data: Path | None = None,
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = BACKBONES,
    *,
    results: Path = RESULTS,
    work: Path = WORK,
    tasks: Sequence[str] = (),
    trainings: Sequence[str] = (),
    widen_steps: int = WIDE.steps,
) -> list[Cell]:
    """Make the cells that are missing.

    Args:
        data: folder with nlu/, None to leave its tasks out.
        seeds: of origins and row orders; the outermost loop.
        backbones: names.
        results: where the folder of the cells is.
        work: where tuned prompts are kept.
        tasks: in place of those of the benchmark.
        trainings: only these of `EVERY`, beside paper B's; none for all.
        widen_steps: most updates of `widen`.

    Returns:
        All cells of these backbones' present weights.
    """
    if unknown := set(trainings) - {PAPER.name, *EVERY}:
        raise ValueError(f"trainings: {sorted(unknown)} is none of {[PAPER.name, *EVERY]}")
    opened = benchmark_tasks(data, tasks)
    more = {task.name: task for task in benchmark_tasks(data, tasks, MORE_ROWS)}
    cells = book_of(results / "origins" / "cells.jsonl")
    wide = replace(WIDE, steps=widen_steps)
    for seed in seeds:
        for name in backbones:
            with told(f"origins, seed {seed}, {name}"):
                _measure(name, seed, opened, more, cells, work, trainings or EVERY, wide)
    known = (None, digest_of(wide))
    return [c for c in cells.rows if c["backbone"] in backbones and c.get("learning") in known]


def _measure(
    name: str,
    seed: int,
    tasks: Sequence[Task],
    more: Mapping[str, Task],
    cells: ResultStore,
    work: Path,
    trainings: Sequence[str],
    wide: DistillConfig,
) -> None:
    asked = [task for task in tasks if can_be_asked(name, task)]
    _add(
        name,
        seed,
        asked,
        PAPER.name,
        cells,
        lambda missing: tuned(name, missing, PAPER, seed, work),
    )
    learned = [task for task in asked if task.name in learnable(cells.rows, name, seed)]
    for task in learned if WIDENED in trainings else ():
        _add_widened(name, seed, task, more[task.name], cells, work, wide)
        _add_bare(name, more[task.name], cells)
    cheap = [task for task in learned if group_of(task.name) != "nlu"]
    for training in (*TRAININGS[1:], ANCHORED):
        if training.name in trainings:
            _add(
                name,
                seed,
                cheap if training.name in CHEAP else learned,
                training.name,
                cells,
                lambda missing, way=training: tuned(name, missing, way, seed, work),
            )
    if AVERAGED in trainings:
        _add(
            name, seed, cheap, AVERAGED, cells, lambda missing: _averaged(name, missing, seed, work)
        )


def _add_widened(
    name: str,
    seed: int,
    task: Task,
    more: Task,
    cells: ResultStore,
    work: Path,
    config: DistillConfig,
) -> None:
    """The cell of a vector that was tuned from one origin and has learned to serve any.

    It has scores of the very prompt that was widened: tuned anew beside other tasks, prompts are
    not the same to the bit.
    """
    place = {"part": "origins", "backbone": name, "seed": seed, "training": WIDENED}
    place |= {"learning": digest_of(config), "task": task.name}
    if cells.has(**place):
        return
    model = backbone(name)
    (direct,) = tuned(name, [task], PAPER, seed, work)
    learned = distill_over_origins(direct, model, task, config=replace(config, seed=seed))
    wide = learned.prompt
    strange = [make_origin(o, model, LENGTH) for o in _strange(_TEST_SEED, TEST_ORIGINS)]
    ((alone,),) = score_prompts(model, [direct], [task], truncate=True)
    found: dict[str, Any] = {"direct": alone.score.value}
    found |= {"steps": learned.steps, "missed": learned.missed[0]}
    for key, prompt in (("paper", direct), ("wide", wide)):
        vector = TaskPromptVector.of(prompt, task.name)
        there = [prompt, *(vector.apply(origin) for origin in strange)]
        rows = score_prompts(model, there, [more], truncate=True)
        found[key] = [scored(row[0])["right"] for row in rows]
    cells.add({"found": {**_scored(name, task, wide, 1.0), **found}}, **place)


def _add_bare(name: str, more: Task, cells: ResultStore) -> None:
    """The cell of what the origins that vectors are put on score without any."""
    place = {"part": BARE, "backbone": name, "task": more.name}
    if not cells.has(**place):
        model = backbone(name)
        bare = [random_prompt(model, LENGTH, _TEST_SEED + i) for i in range(TEST_ORIGINS)]
        rows = score_prompts(model, bare, [more], truncate=True)
        cells.add({"found": {"right": [scored(row[0])["right"] for row in rows]}}, **place)


def _strange(first: int, count: int, scale: float = 1.0) -> list[OriginSpec]:
    """Origins that nothing was tuned from."""
    return [OriginSpec("vocabulary", first + i, scale=scale) for i in range(count)]


def _averaged(name: str, tasks: Sequence[Task], seed: int, work: Path) -> list[SoftPrompt]:
    """The mean of vectors tuned from several origins, on the first of these."""
    seeds = [seed, *(_MORE_SEEDS + 100 * seed + i for i in range(1, AVERAGE_OF))]
    found = [tuned(name, tasks, PAPER, each, work) for each in seeds]
    prompts = []
    for own in zip(*found, strict=True):
        vectors = [TaskPromptVector.of(prompt) for prompt in own]
        mean = reduce(TaskPromptVector.__add__, vectors) / len(vectors)
        prompts.append(mean.apply(_origin(own[0])))
    return prompts


def _origin(prompt: SoftPrompt) -> SoftPrompt:
    assert prompt.origin is not None
    return replace(prompt, vectors=prompt.origin, origin=None, mixture=None)


def _add(
    name: str, seed: int, tasks: Sequence[Task], training: str, cells: ResultStore, make: Any
) -> None:
    """The cells of one training that are missing."""
    place = {"part": "origins", "backbone": name, "seed": seed, "training": training}
    missing = [task for task in tasks if not cells.has(**place, task=task.name)]
    if not missing:
        return
    scale = SMALL.scale if training == SMALL.name else 1.0
    for task, prompt in zip(missing, make(missing), strict=True):
        cells.add({"found": _scored(name, task, prompt, scale)}, **place, task=task.name)


def _scored(name: str, task: Task, prompt: SoftPrompt, scale: float) -> dict[str, Any]:
    """Own and other origins; for small origins also others of their kind."""
    model, vector = backbone(name), TaskPromptVector.of(prompt, task.name)

    def on(first: int, count: int, factor: float = 1.0) -> list[SoftPrompt]:
        specs = _strange(first, count, factor)
        return [vector.apply(make_origin(spec, model, LENGTH)) for spec in specs]

    alike = on(_TEST_SEED, TEST_ORIGINS, scale) if scale != 1 else []
    there = [prompt, *on(_TEST_SEED, TEST_ORIGINS), *alike]
    test = [row[0].score for row in score_prompts(model, there, [task], truncate=True)]
    before = [prompt, *on(_DEV_SEED, DEV_ORIGINS)]
    dev = [
        row[0].score.value
        for row in score_prompts(model, before, [task], split="dev", truncate=True)
    ]
    assert prompt.origin is not None
    values = [score.value for score in test]
    return {
        "majority": task.majority_score().value,
        "own": values[0],
        "own_low": test[0].low,
        "other": values[1 : 1 + TEST_ORIGINS],
        "alike": values[1 + TEST_ORIGINS :],
        "dev_own": dev[0],
        "dev_other": dev[1:],
        "length_ratio": float(vector.delta.norm() / prompt.origin.norm()),
    }
