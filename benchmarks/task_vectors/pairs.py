"""Do tasks survive the sum of their vectors (paper B, RQ2), and what keeps them?

Run from the root of the repository: python -m benchmarks.task_vectors.run --parts pairs

All pairs of the tasks that a backbone learns, and some larger sets, by paper B's procedure (plain
sum, one coefficient, mean criterion) beside every other way. Every task's kept share is its score
over that of its own, directly tuned prompt. Which way is the best is decided on dev.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from benchmarks._inputs import backbone, digest_of
from benchmarks.task_vectors.common import (
    BACKBONES,
    MORE_ROWS,
    RESULTS,
    WORK,
    benchmark_tasks,
    book_of,
    scored,
    told,
    tuned,
)
from benchmarks.task_vectors.moved import PAPER, SHARED, learnable
from benchmarks.task_vectors.origins import measure as measure_origins
from benchmarks.task_vectors.pairs_summary import PAPER_COLUMN, RECONCILED, shares, table
from benchmarks.task_vectors.pairs_summary import summarise as summarise_sets

from promptport.analysis import forecast_pair
from promptport.distillation import INTO_MERGE
from promptport.evaluation import evaluate, score_prompts
from promptport.experiments.result_store import Cell, ResultStore
from promptport.experiments.ways import (
    CONCATENATE,
    DISTILL,
    WayConfig,
    WayResult,
    combine_by,
)
from promptport.library import TaskPrompt
from promptport.merging import SearchConfig, SearchResult, merge, search_coefficients
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

__all__ = ["measure", "summarise", "table"]

LEFT_OUT = ("sentiment", "person-occupation")  # their like is there already; each costs many pairs
LIBRARIES = (PAPER, SHARED)
METHODS = {
    PAPER.name: ("sum", "mean", "ties", "dare", "orthogonal", "select"),
    SHARED.name: ("sum", "mean", "orthogonal", "select"),
}
FORECAST_OF = ("sum", "mean", "select")  # combinations of the first library
FORECAST_ROWS = 60
DEV_ROWS, TEST_ROWS = 32, 80
LARGER = {3: 3, 4: 1}  # sets of so many tasks: how many of them
SETTLE = replace(INTO_MERGE, truncate=True)
SETTLED = f"reconciled {digest_of(SETTLE)}"  # part of its cells


def measure(
    data: Path | None = None,
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = BACKBONES,
    *,
    results: Path = RESULTS,
    work: Path = WORK,
    tasks: Sequence[str] = (),
) -> list[Cell]:
    """Make the cells that are missing; arguments as in `origins.measure`, which goes first.

    Returns:
        The cells of the sets that these backbones are asked now, and of other seeds those of
        learned tasks: which are learned may have changed since a cell was made.
    """
    asked: set[tuple[str, int, tuple[str, ...]]] = set()
    known: dict[str, Sequence[Cell]] = {}
    cells = book_of(results / "pairs" / "cells.jsonl")
    opened = [t for t in benchmark_tasks(data, tasks) if t.name not in LEFT_OUT]
    more = {t.name: t for t in benchmark_tasks(data, tasks, MORE_ROWS)}
    for seed in seeds:
        for name in backbones:
            own = known[name] = measure_origins(
                data,
                [seed],
                [name],
                results=results,
                work=work,
                tasks=tasks,
                trainings=[PAPER.name],
            )
            learned = [t for t in opened if t.name in learnable(own, name, seed)]
            with told(f"pairs, seed {seed}, {name}, {len(learned)} tasks"):
                sets = _measure(name, seed, learned, more, cells, work)
            asked |= {(name, seed, tuple(names)) for names in sets}

    def counts(cell: Cell) -> bool:
        if cell["seed"] in seeds:
            return _place(cell) in asked
        name = cell["backbone"]
        return set(cell["tasks"]) <= learnable(known.get(name, ()), name, cell["seed"])

    return [cell for cell in cells.rows if counts(cell)]


def _measure(
    name: str,
    seed: int,
    tasks: Sequence[Task],
    more: Mapping[str, Task],
    cells: ResultStore,
    work: Path,
) -> list[list[str]]:
    """Make the missing cells of a backbone and a seed; the names of the tasks of all sets."""
    sets = list(combinations(range(len(tasks)), 2))
    rng = np.random.default_rng(seed)
    for size, count in LARGER.items():
        every = list(combinations(range(len(tasks)), size))
        sets += [every[i] for i in sorted(rng.permutation(len(every))[:count])]
    prompts: dict[str, list[SoftPrompt]] = {}
    for chosen in sets:
        place = {"part": "pairs", "backbone": name, "seed": seed}
        place |= {"tasks": [tasks[i].name for i in chosen]}
        settled = {**place, "part": SETTLED}
        if cells.has(**place) and cells.has(**settled):
            continue
        whole = not cells.has(**place)
        for way in LIBRARIES if whole else LIBRARIES[:1]:
            if way.name not in prompts:
                prompts[way.name] = tuned(name, tasks, way, seed, work)
        own = {way: [p[i] for i in chosen] for way, p in prompts.items()}
        some = _Set(name, [tasks[i] for i in chosen], own)
        if whole:
            cells.add({"found": some.measure()}, **place)
        if not cells.has(**settled):
            found = some.reconciled(seed, [more[n] for n in place["tasks"]])
            cells.add({"found": found}, **settled)
    return [[tasks[i].name for i in chosen] for chosen in sets]


class _Set:
    """One set of tasks on one backbone."""

    def __init__(
        self, name: str, tasks: Sequence[Task], prompts: Mapping[str, Sequence[SoftPrompt]]
    ) -> None:
        self.model, self.tasks, self.prompts = backbone(name), tasks, prompts
        self.columns: dict[str, SoftPrompt] = {}
        self.coefficients: dict[str, list[float]] = {}

    def measure(self) -> dict[str, Any]:
        """Scores of every way on dev and test, and forecasts."""
        for library in self.prompts:
            self._searched(library)
            self._plain(library)
        alone = list(self.prompts[PAPER.name])
        every = [*alone, *self.columns.values()]
        scores = {}
        for split, rows in (("dev", DEV_ROWS), ("test", TEST_ROWS)):
            found = score_prompts(
                self.model, every, self.tasks, split=split, rows=rows, truncate=True
            )
            scores[split] = [[e.score.value for e in row] for row in found]
        own = {split: [scores[split][i][i] for i in range(len(alone))] for split in scores}
        ways = {
            column: {split: scores[split][len(alone) + i] for split in scores}
            for i, column in enumerate(self.columns)
        }
        found = {"alone": own, "ways": ways, "coefficients": self.coefficients}
        pairs = len(self.tasks) == 2
        return {**found, "forecasts": self._forecasts(own["test"], ways) if pairs else []}

    def reconciled(self, seed: int, more: Sequence[Task]) -> dict[str, Any]:
        """Scores after learning from the single prompts without labels, from the plain sum or the
        concatenation, whichever misses less after the first updates.

        Args:
            seed: of reconciling.
            more: the same tasks with more test rows, on which this way, paper B's and the single
                prompts are scored as well.
        """
        own = self.prompts[PAPER.name]
        distilled = self._combined(PAPER.name, DISTILL, seed)
        assert distilled.distilled is not None
        found = distilled.distilled
        way: dict[str, Any] = {"alone": {}}
        for split, rows in (("dev", DEV_ROWS), ("test", TEST_ROWS)):
            *alone, scores = score_prompts(
                self.model, [*own, found.prompt], self.tasks, split=split, rows=rows, truncate=True
            )
            way[split] = [e.score.value for e in scores]
            way["alone"][split] = [row[i].score.value for i, row in enumerate(alone)]
        learned = {"missed": found.missed, "tried": found.tried, "steps": found.steps}
        paper = self._combined(PAPER.name, "paper").prompt
        there = score_prompts(self.model, [paper, found.prompt], more, truncate=True)
        longer = {
            name: [scored(e) for e in row]
            for name, row in zip((PAPER_COLUMN, RECONCILED), there, strict=True)
        }
        longer["alone"] = [
            scored(evaluate(self.model, task, prompt, truncate=True))
            for task, prompt in zip(more, own, strict=True)
        ]
        return {"ways": {RECONCILED: way}, **learned, "more": longer}

    def _vectors(self, library: str) -> list[TaskPromptVector]:
        pairs = zip(self.prompts[library], self.tasks, strict=True)
        return [TaskPromptVector.of(prompt, task.name) for prompt, task in pairs]

    def _searched(self, library: str) -> None:
        """One coefficient by each criterion, from the same trials, and separate ones."""
        origin = self.prompts[library][0].origin
        assert origin is not None
        vectors = self._vectors(library)

        if library == PAPER.name:
            config = SearchConfig(rows=DEV_ROWS, truncate=True)
            one = search_coefficients(self.model, vectors, self.tasks, origin, config)
            alone = list(one.alone.values())
            whole = merge(vectors)
            for criterion in CRITERIA:
                factor = _best_factor(one, CRITERIA[criterion], alone)
                self.columns[f"{library}: one, {criterion}"] = (factor * whole).apply(origin)
                self.coefficients[f"{library}: one, {criterion}"] = [factor]
        apart = self._combined(library, "separate")
        self.columns[f"{library}: separate, min"] = apart.prompt
        self.coefficients[f"{library}: separate, min"] = list(apart.coefficients or ())

    def _plain(self, library: str) -> None:
        """Every method with coefficients of 1, and concatenation."""
        for way in (*METHODS[library], CONCATENATE):
            self.columns[f"{library}: {way}"] = self._combined(library, way).prompt

    def _combined(self, library: str, way: str, seed: int = 0) -> WayResult:
        pairs = zip(self.prompts[library], self.tasks, strict=True)
        parts = {task.name: TaskPrompt(prompt, task) for prompt, task in pairs}
        config = WayConfig(dev_rows=DEV_ROWS, distill=SETTLE, seed=seed, truncate=True)
        return combine_by(way, self.model, parts, config)

    def _forecasts(self, alone: Sequence[float], ways: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the forecast said of some combinations, and what became of them."""
        parts = [
            TaskPrompt(p, t) for p, t in zip(self.prompts[PAPER.name], self.tasks, strict=True)
        ]
        found = []
        for method in FORECAST_OF:
            column = f"{PAPER.name}: {method}"
            said = forecast_pair(
                self.model,
                parts[0],
                parts[1],
                combined=self.columns[column],
                rows=FORECAST_ROWS,
                truncate=True,
            )
            for task, score, reference in zip(said.tasks, ways[column]["test"], alone, strict=True):
                kept = score / reference if reference else 0.0
                found.append(
                    {
                        "of": method,
                        "task": task.task,
                        "said": task.verdict,
                        "features": dict(task.features),
                        "kept": kept,
                    }
                )
        return found


def _smallest(shares: Sequence[float]) -> float:
    return min(shares)


def _harmonic(shares: Sequence[float]) -> float:
    return len(shares) / sum(1 / s for s in shares) if min(shares) > 0 else 0.0


# Of scores and of those of the best single vectors.
CRITERIA: dict[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "mean": lambda scores, alone: fmean(scores),
    "min": lambda scores, alone: _smallest(shares(scores, alone)),
    "harmonic": lambda scores, alone: _harmonic(shares(scores, alone)),
}


def _best_factor(
    result: SearchResult,
    criterion: Callable[[Sequence[float], Sequence[float]], float],
    alone: Sequence[float],
) -> float:
    """As the library chooses: strictly better, so ties go to the smallest; 1 if all are 0."""
    best, factor = 0.0, 1.0
    for trial in sorted(result.trials, key=lambda t: t.factors):
        value = criterion(trial.scores, alone)
        if value > best:
            best, factor = value, trial.factors[0]
    return factor


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures and tables."""
    return summarise_sets(_joined(cells))


def _joined(cells: Sequence[Cell]) -> list[Cell]:
    """One cell per set, with the reconciled prompts among its ways."""
    settled = {_place(c): c["found"] for c in cells if c["part"] == SETTLED}
    whole = []
    for cell in cells:
        if cell["part"] == "pairs":
            ways = dict(cell["found"]["ways"])
            found = settled.get(_place(cell))
            if found is not None:
                ways |= found["ways"]
            more = {"more": found["more"]} if found and "more" in found else {}
            whole.append({**cell, "found": {**cell["found"], "ways": ways, **more}})
    return whole


def _place(cell: Cell) -> tuple[str, int, tuple[str, ...]]:
    return cell["backbone"], cell["seed"], tuple(cell["tasks"])
