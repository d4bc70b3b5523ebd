"""Task prompt vectors across backbones: does a carried vector help to start on the target?

Run from the root of the repository: python -m benchmarks.task_vectors.run --parts across

Embedded tasks alone. Prompts are kept in build/task_vectors and finished cells in
results/across/cells.jsonl, so a stopped run goes on where it was.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._inputs import backbone, limited, weights_of
from benchmarks.task_vectors.common import (
    BACKBONES,
    RESULTS,
    VALUES,
    WORK,
    bits_of,
    over_seeds,
    scored,
)
from benchmarks.task_vectors.fewshot import Settings as Sizes

from promptport.analysis import bootstrap_mean, compare_to
from promptport.evaluation import evaluate
from promptport.experiments.few_shot import few_shot_config
from promptport.experiments.result_store import Cell, ResultStore
from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.mixtures import starting_mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.transfers import transfer, transfer_vector, transfer_word_vector
from promptport.tuning import TuneConfig, TuneJob, few_shot, tune
from promptport.vector import TaskPromptVector

TASKS = (
    *("country-capital", "person-occupation", "city-country", "sentiment", "topic", "emotion"),
    *("question", "tense", "setting", "formality", "subjectivity", "country-currency"),
)
LENGTH = 5
RANDOM, PORTED = "random", "word vector"
COLUMNS = (*(RANDOM, "random mixture", "prompt", "vector", "anchored prompt", PORTED),)
ADDED = ("native alone", "ported alone", "native + ported, native task", "native + ported, ported")


@dataclass(frozen=True)
class Settings:
    """Sizes of a run.

    Attributes:
        counts: labelled rows of the target; 0 is scored as it starts.
        steps: updates of a few-shot run.
        sizes: rows and words of the tasks.
        epochs: of the sources' prompts.
        margin: by how much a prompt tuned on the target must beat the majority answer on dev.
    """

    counts: tuple[int, ...] = (0, 10, 50)
    steps: int = 32
    sizes: Sizes = field(default_factory=Sizes)
    epochs: int = 10
    margin: float = 0.1


def measure(
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = BACKBONES,
    settings: Settings | None = None,
    *,
    results: Path = RESULTS,
    work: Path = WORK,
    tasks: Sequence[str] = TASKS,
) -> list[Cell]:
    """Make the cells that are missing.

    Args:
        seeds: of origins, row order and few rows; the outermost loop.
        backbones: names, two or more; every ordered pair is measured.
        settings: sizes.
        results: where the folder of the cells is.
        work: where tuned prompts are kept.
        tasks: embedded tasks.

    Returns:
        All cells of these backbones' present weights.
    """
    settings = settings or Settings()
    opened = [limited(open_task(name), settings.sizes.rows, settings.sizes.words) for name in tasks]
    book = ResultStore(results / "across" / "cells.jsonl", _weights, *VALUES)
    for seed in seeds:
        run = _Run(seed, backbones, opened, settings, book, work / "across")
        for name in backbones:
            run.tuned(name)
        for source in backbones:
            for target in backbones:
                if source != target:
                    run.pair(source, target)
    ends = {"", *backbones}
    return [cell for cell in book.rows if {cell["source"], cell["target"]} <= ends]


def _weights(cell: Mapping[str, Any]) -> str:
    """Of the source, where there is one, and of the target."""
    return weights_of(*(cell[end] for end in ("source", "target") if cell[end]))


class _Run:
    """One seed."""

    def __init__(
        self,
        seed: int,
        backbones: Sequence[str],
        tasks: Sequence[Task],
        settings: Settings,
        book: ResultStore,
        work: Path,
    ) -> None:
        self.seed, self.tasks, self.settings, self.book = seed, list(tasks), settings, book
        self.work = work
        words = set.intersection(*(set(backbone(name).space.words) for name in backbones))
        self.words = tuple(sorted(words))
        self.began = time.perf_counter()

    def say(self, what: str) -> None:
        seconds = time.perf_counter() - self.began
        print(f"seed {self.seed}: {what} after {seconds:.0f} s", flush=True)

    def folder(self, name: str, kind: str, task: Task) -> Path:
        place = f"{name}-{weights_of(name)}"
        return self.work / place / f"{task.name.replace(':', '-')}-{kind}-{self.seed}"

    def load(self, name: str, kind: str, task: Task) -> SoftPrompt:
        return load_prompt(self.folder(name, kind, task))

    def tuned(self, name: str) -> None:
        """Free and anchored prompts of one backbone, and what tuning on the target reaches."""
        model = backbone(name)
        config = TuneConfig(epochs=self.settings.epochs, patience=0, batch_size=16, truncate=True)
        for kind in ("free", "anchored"):
            spec = (
                OriginSpec("vocabulary", self.seed)
                if kind == "free"
                else OriginSpec("mixture", self.seed, words=self.words)
            )
            missing = [t for t in self.tasks if not self.folder(name, kind, t).is_dir()]
            jobs = [TuneJob(task, spec, LENGTH, self.seed, noise=0.0) for task in missing]
            for job, result in zip(jobs, tune(model, jobs, config) if jobs else [], strict=True):
                if result.prompt is None:
                    raise RuntimeError(f"{name}, {job.label}: {result.error}")
                save_prompt(result.prompt, self.folder(name, kind, job.task))
        for task in self.tasks:
            prompt = self.load(name, "free", task)
            place = self.place("direct", "", name, task, -1)
            if not self.book.has(**place):
                dev = float((prompt.provenance.tuning or {})["dev_score"])
                majority = task.majority_score("dev").value
                found = self.scored(name, task, prompt)
                self.book.add({**found, "dev": dev, "majority_dev": majority}, **place)
        self.say(f"{name} tuned")

    def learnable(self, name: str, task: Task) -> bool:
        """Whether tuning on all rows beats the majority answer on dev."""
        place = self.place("direct", "", name, task, -1)
        (cell,) = (c for c in self.book.rows if all(c[k] == v for k, v in place.items()))
        return bool(cell["dev"] > cell["majority_dev"] + self.settings.margin)

    def place(self, column: str, source: str, target: str, task: Task, rows: int) -> Cell:
        return {
            "column": column,
            "source": source,
            "target": target,
            "task": task.name,
            "rows": rows,
            "seed": self.seed,
        }

    def scored(self, name: str, task: Task, prompt: SoftPrompt) -> Cell:
        found = evaluate(backbone(name), task, prompt, template=task.template, truncate=True)
        return scored(found)

    def pair(self, source: str, target: str) -> None:
        """All tasks that both backbones learn, every start and row count."""
        usable = [t for t in self.tasks if self.learnable(source, t) and self.learnable(target, t)]
        for task in usable:
            starts = self.starts(source, target, task)
            for count in self.settings.counts:
                self.curve(source, target, task, starts, count)
        for i, task in enumerate(usable):
            self.added(source, target, task, usable[(i + 1) % len(usable)])
        self.say(f"{source} -> {target}")

    def native(self, name: str, kind: str) -> SoftPrompt:
        """An origin of the target that has nothing to do with the source's."""
        model = backbone(name)
        spec = OriginSpec("vocabulary" if kind == "free" else "mixture", 100 + self.seed)
        provenance = Provenance(
            model.name,
            model.kind,
            model.revision,
            model.space.fingerprint,
            origin=spec.to_dict(),
        )
        return SoftPrompt(make_origin(spec, model, LENGTH), provenance)

    def word_vector(self, source: str, target: str, task: Task) -> TaskPromptVector:
        prompt = self.load(source, "anchored", task)
        first = starting_mixture(prompt, backbone(source).space)
        return transfer_word_vector(prompt, first, backbone(target).space)

    def starts(self, source: str, target: str, task: Task) -> dict[str, SoftPrompt]:
        """Where tuning on the target may begin; nothing here has seen the target's data."""
        spaces = backbone(source).space, backbone(target).space
        free, mixed = (self.load(source, kind, task) for kind in ("free", "anchored"))
        words, mixture = self.native(target, "free"), self.native(target, "mixture")
        return {
            RANDOM: words,
            "random mixture": mixture,
            "prompt": transfer(free, *spaces, roundtrip=False).prompt,
            "vector": transfer_vector(TaskPromptVector.of(free), *spaces).apply(words),
            "anchored prompt": transfer(mixed, *spaces, roundtrip=False).prompt,
            PORTED: self.word_vector(source, target, task).apply(mixture),
        }

    def curve(
        self, source: str, target: str, task: Task, starts: Mapping[str, SoftPrompt], count: int
    ) -> None:
        """Score every start with so many rows; random starts once per target."""
        places = {
            column: self.place(
                column, "" if column.startswith(RANDOM) else source, target, task, count
            )
            for column in COLUMNS
        }
        missing = [column for column in COLUMNS if not self.book.has(**places[column])]
        if not missing:
            return
        prompts = {column: starts[column] for column in missing}
        if count:
            few = few_shot(task, min(count, len(task.load("train"))), self.seed)
            rows = len(few.load("train"))
            config = few_shot_config(rows, self.settings.steps, truncate=True)
            jobs = [
                TuneJob(few, OriginSpec("prompt", prompt=prompt), LENGTH, self.seed)
                for prompt in prompts.values()
            ]
            results = tune(backbone(target), jobs, config)
            for column, result in zip(missing, results, strict=True):
                if result.prompt is None:
                    raise RuntimeError(f"{target}, {task.name}, {column}: {result.error}")
                prompts[column] = result.prompt
        for column, prompt in prompts.items():
            self.book.add(self.scored(target, task, prompt), **places[column])

    def added(self, source: str, target: str, task: Task, other: Task) -> None:
        """The carried vector of `task` on top of the target's own vector of `other`."""
        places = [self.place(column, source, target, task, 0) for column in ADDED]
        if other.name == task.name or all(self.book.has(**place) for place in places):
            return
        own = self.load(target, "anchored", other)
        assert own.origin is not None, "it was tuned here"
        ported = self.word_vector(source, target, task)
        both = (TaskPromptVector.of(own) + ported).apply(own.origin)
        alone = ported.apply(own.origin)
        asked = ((other, own), (task, alone), (other, both), (task, both))
        for place, (asked_task, prompt) in zip(places, asked, strict=True):
            self.book.add(self.scored(target, asked_task, prompt), **place)


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures, and the tables.

    The area under a curve is the mean score over the row counts. `ported_start_gain_points` is the
    area from the carried word vector on a native origin minus that from random words, in points,
    over pairs and tasks that tuning on either backbone learns. Intervals and tests are over tasks:
    the pairs of backbones that share a task, and their random starts, are not independent.
    """
    counts = sorted({c["rows"] for c in cells if c["column"] in COLUMNS})
    areas = _areas(cells, len(counts))
    ways = sorted({(s, t, task) for (column, s, t, task) in areas if column == PORTED})
    rows: list[dict[str, Any]] = []
    compared: dict[str, list[float]] = {}
    for column in COLUMNS:
        own = [areas.get(_place(column, way)) for way in ways]
        found = [a for a in own if a is not None]
        if not found:
            continue
        scores = {
            f"rows {count}": round(
                fmean(
                    c["score"]
                    for c in cells
                    if c["column"] == column
                    and c["rows"] == count
                    and any(_place(column, w) == _key(c) for w in ways)
                ),
                4,
            )
            for count in counts
        }
        rows.append({"column": column, "cells": len(found), **scores})
        rows[-1]["area"] = round(fmean(fmean(a) for a in found), 4)
        if len(found) == len(ways):
            compared[column] = [fmean(a) for a in found]
    summary: dict[str, float] = {"across_cells": len(ways)}
    if RANDOM in compared:
        reference = compared.pop(RANDOM)
        for name, test in compare_to(reference, compared, groups=[w[2] for w in ways]).items():
            (row,) = (r for r in rows if r["column"] == name)
            row |= {
                "gain_points": round(100 * test.difference.value, 2),
                "low": round(100 * test.difference.low, 2),
                "high": round(100 * test.difference.high, 2),
                "p_holm": round(test.adjusted, 4),
                "better_in": sum(a > b for a, b in zip(compared[name], reference, strict=True)),
            }
            key = name.replace(" ", "_")
            summary[f"across_gain_points.{key}"] = row["gain_points"]
        if PORTED in compared:
            summary["ported_start_gain_points"] = summary[
                f"across_gain_points.{PORTED.replace(' ', '_')}"
            ]
    return summary, {
        "starts": rows,
        "pairs": _by_pair(areas, ways),
        "added": _added(cells),
        "left_out": _left_out(cells),
    }


def _key(cell: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return cell["column"], cell["source"], cell["target"], cell["task"]


def _place(column: str, way: tuple[str, str, str]) -> tuple[str, str, str, str]:
    source, target, task = way
    return column, "" if column.startswith(RANDOM) else source, target, task


def _areas(cells: Sequence[Cell], counts: int) -> dict[tuple[str, str, str, str], list[float]]:
    """Per (column, source, target, task): per test row the mean over row counts and seeds."""
    groups: dict[tuple[Any, ...], list[list[int]]] = defaultdict(list)
    for c in cells:
        if c["column"] in COLUMNS:
            groups[(*_key(c), c["seed"])].append(bits_of(c))
    areas: dict[tuple[str, str, str, str], list[list[float]]] = defaultdict(list)
    for (column, source, target, task, _), bits in sorted(groups.items()):
        if len(bits) == counts:
            areas[column, source, target, task].append(over_seeds(bits))
    return {key: over_seeds(parts) for key, parts in areas.items()}


def _by_pair(
    areas: Mapping[tuple[str, str, str, str], list[float]], ways: Sequence[tuple[str, str, str]]
) -> list[dict[str, Any]]:
    """Area of every start per pair and task, and the gain over a random start."""
    rows = []
    for way in ways:
        if _place(RANDOM, way) not in areas:
            continue
        ends = areas[_place(PORTED, way)], areas[_place(RANDOM, way)]
        gain = bootstrap_mean([a - b for a, b in zip(*ends, strict=True)])
        found = {
            column: round(fmean(areas[_place(column, way)]), 4)
            for column in COLUMNS
            if _place(column, way) in areas
        }
        points = {name: round(100 * getattr(gain, name), 2) for name in ("value", "low", "high")}
        names = dict(zip(("source", "target", "task"), way, strict=True))
        rows.append({**names, **found, "gain_points": points})
    return rows


def _added(cells: Sequence[Cell]) -> dict[str, float]:
    """Mean scores when a carried vector is added to a native one."""
    found: dict[str, float] = {}
    for column in ADDED:
        scores = [c["score"] for c in cells if c["column"] == column]
        if scores:
            found[column] = round(fmean(scores), 4)
    return found


def _left_out(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [
        {k: c[k] for k in ("target", "task", "seed", "dev", "majority_dev")}
        for c in cells
        if c["column"] == "direct" and c["dev"] <= c["majority_dev"] + Settings.margin
    ]


def table(tables: Mapping[str, Any]) -> str:
    """The tables of starts and of added vectors in Markdown."""
    rows = tables["starts"]
    counts = [name for name in (rows[0] if rows else {}) if name.startswith("rows ")]
    lines = [
        f"| start | {' | '.join(counts)} | area | gain over random words, points [95%] "
        "| p (Holm) | better in, of |",
        "|---" * (len(counts) + 5) + "|",
    ]
    for r in rows:
        scores = " | ".join(f"{r[count]:.3f}" for count in counts)
        gain, p, better = "", "", ""
        if "gain_points" in r:
            gain = f"{r['gain_points']:+.1f} [{r['low']:+.1f}, {r['high']:+.1f}]"
            p, better = f"{r['p_holm']:.3f}", f"{r['better_in']}, {r['cells']}"
        lines.append(f"| {r['column']} | {scores} | {r['area']:.3f} | {gain} | {p} | {better} |")
    lines += ["", "| vectors on a native origin, 0 rows | score |", "|---|---|"]
    lines += [f"| {name} | {score:.3f} |" for name, score in tables["added"].items()]
    left = sorted({f"{r['task']} ({r['target']})" for r in tables["left_out"]})
    lines += ["", f"Not learned, left out: {', '.join(left) or 'none'}."]
    return "\n".join(lines) + "\n"
