"""Where to start on a new task (paper B, RQ3): zero-shot scores and few-shot curves of every start.

Run from the root of the repository: python -m benchmarks.task_vectors.run --parts fewshot

Prompts are kept in build/task_vectors and finished cells in results/fewshot/cells.jsonl, so a
stopped run goes on where it was; cells of other weights are not counted.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._cells import Cell, Cells
from benchmarks._inputs import backbone, limited, weights_of
from benchmarks.task_vectors.common import BACKBONES, LENGTH, NLU, RESULTS, WORK

from promptport.analysis import Candidate, bootstrap_mean, compare_to, rank
from promptport.evaluation import Evaluation, evaluate
from promptport.interop import load_prompt, save_prompt
from promptport.merging import merge
from promptport.prompt import SoftPrompt
from promptport.tasks import Task, open_task
from promptport.tuning import (
    OriginSpec,
    TuneConfig,
    TuneJob,
    few_shot,
    make_origin,
    random_prompt,
    start_attention,
    tune,
    tune_attention,
    tune_together,
)
from promptport.vector import TaskPromptVector

SOURCES = ("sentiment", "topic", "question", "entailment")
TARGETS = ("emotion", "subjectivity", "setting", "formality")
NLU_TARGETS = ("scitail", "snli", "ag_news", "yahoo", "imdb", "sst5")
REFERENCE = "best single"
PRIOR = 16
COLUMNS = (*("random", REFERENCE, "picked", "together", "factors", "mean", "attention", "ranked"),)


@dataclass(frozen=True)
class Settings:
    """Sizes of a run; all of them small, for one slow core.

    Attributes:
        counts: labelled rows of the target; 0 is scored as it starts.
        steps: updates of a few-shot run (1,000 in the paper).
        train: rows to tune sources on, and the target for its learnability.
        dev: rows that choose the epoch there, and the best single source.
        test: rows that are scored.
        words: of every text, the rest is cut.
        epochs: of sources and of targets tuned on all their rows.
        rounds: epochs of several sources together.
        margin: by how much a task tuned on all rows must beat the majority answer on dev.
    """

    counts: tuple[int, ...] = (0, 5, 25, 100)
    steps: int = 32
    train: int = 128
    dev: int = 64
    test: int = 128
    words: int = 24
    epochs: int = 6
    rounds: int = 2
    margin: float = 0.1

    @property
    def rows(self) -> dict[str, int]:
        """Most rows of each split."""
        return {"train": self.train, "dev": self.dev, "test": self.test}


def measure(
    data: Path | None = None,
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = BACKBONES,
    settings: Settings | None = None,
    *,
    results: Path = RESULTS,
    work: Path = WORK,
    sources: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
) -> list[Cell]:
    """Make the cells that are missing.

    Args:
        data: folder with nlu/, None to leave its tasks out.
        seeds: of origins, row order and few rows; the outermost loop.
        backbones: names.
        settings: sizes.
        results: where the folder of the cells is.
        work: where tuned prompts are kept.
        sources: tasks in place of those of the benchmark.
        targets: likewise.

    Returns:
        All cells of these backbones' present weights and these settings' row counts.
    """
    settings = settings or Settings()
    if data is None:
        print("NLU tasks are left out: no --data")
    known, new = (
        [limited(open_any(name, data), settings.rows, settings.words) for name in names]
        for names in (
            sources or (*SOURCES, *(NLU if data else ())),
            targets or (*TARGETS, *(NLU_TARGETS if data else ())),
        )
    )
    book = Cells(
        results / "fewshot" / "cells.jsonl", lambda cell: weights_of(cell["backbone"]), *VALUES
    )
    for seed in seeds:
        for name in backbones:
            _Bench(name, seed, known, new, settings, book, work / "fewshot").run()
    return [cell for cell in book.rows if cell["backbone"] in backbones]


def open_any(name: str, data: Path | None) -> Task:
    """An embedded task, or one of the data folder."""
    if name in (*NLU, *NLU_TARGETS):
        return open_task(f"nlu:{name}", None if data is None else data / "nlu")
    return open_task(name)


# The start may be another one when a cell is made again, its place may not.
VALUES = ("score", "right", "start", "dev", "majority_dev", "fit")


def scored(found: Evaluation, task: Task, split: str = "test") -> Cell:
    """Score, and a hexadecimal bit per test row: right or wrong, so that rows can be paired."""
    if task.kind == "probe":
        right = [rank == 0 for rank in found.predictions]
    else:
        pairs = zip(found.predictions, task.load(split), strict=True)
        right = [said == row.answer for said, row in pairs]
    bits = "".join(str(int(r)) for r in right)
    return {"score": found.score.value, "right": f"{len(bits)}:{int(bits, 2):x}"}


def bits_of(cell: Mapping[str, Any]) -> list[int]:
    """Per test row 1 for a right answer, else 0."""
    length, _, digits = cell["right"].partition(":")
    return [int(b) for b in f"{int(digits, 16):0{int(length)}b}"]


class _Bench:
    """One backbone, one seed."""

    def __init__(
        self,
        name: str,
        seed: int,
        sources: Sequence[Task],
        targets: Sequence[Task],
        settings: Settings,
        book: Cells,
        work: Path,
    ) -> None:
        self.name, self.seed, self.settings, self.book = name, seed, settings, book
        self.sources, self.targets = list(sources), list(targets)
        self.model = backbone(name)
        self.place = {"backbone": name, "seed": seed}
        self.work = work / f"{name}-{weights_of(name)}"
        self.began = time.perf_counter()

    def run(self) -> None:
        """Sources, composites, then target after target."""
        self.tune_all([*self.sources, *self.targets])
        self.say("single prompts")
        self.library = [t for t in self.sources if self.learnable(t)]
        if not self.library:
            print(f"{self.name}: no source can be learned", flush=True)
            return
        self.starts = self.make_starts()
        self.say(f"starts from {len(self.library)} sources")
        for task in self.targets:
            if self.learnable(task):
                self.target(task)
                self.say(task.name)

    def say(self, what: str) -> None:
        seconds = time.perf_counter() - self.began
        print(f"{self.name}, seed {self.seed}: {what} after {seconds:.0f} s", flush=True)

    def folder(self, name: str) -> Path:
        return self.work / f"{name.replace(':', '-')}-{self.seed}"

    @property
    def origin(self) -> OriginSpec:
        return OriginSpec("vocabulary", self.seed)

    def tune_all(self, tasks: Sequence[Task]) -> None:
        """Tune every task on all its rows from one origin; note dev scores and the majority's."""
        config = TuneConfig(epochs=self.settings.epochs, patience=0, batch_size=8, truncate=True)
        missing = [t for t in tasks if not self.folder(t.name).is_dir()]
        # A few tasks per call, so that a stopped run loses little.
        for first in range(0, len(missing), 4):
            jobs = [
                TuneJob(task, self.origin, LENGTH, self.seed) for task in missing[first : first + 4]
            ]
            for job, result in zip(jobs, tune(self.model, jobs, config), strict=True):
                if result.prompt is None:
                    raise RuntimeError(f"{self.name}, {job.label}: {result.error}")
                save_prompt(result.prompt, self.folder(job.task.name))
        for task in tasks:
            place = {**self.place, "column": "direct", "task": task.name, "rows": -1}
            if self.book.has(**place):
                continue
            prompt = load_prompt(self.folder(task.name))
            found = evaluate(self.model, task, prompt, truncate=True)
            dev = float((prompt.provenance.tuning or {})["dev_score"])
            majority = {"majority_dev": task.majority_score("dev").value}
            self.book.add({**scored(found, task), "dev": dev, **majority}, **place)
            score = task.majority_score().value
            self.book.add({"score": score}, **{**place, "column": "majority"})

    def learnable(self, task: Task) -> bool:
        """Whether tuning on all rows beats the majority answer on dev."""
        (cell,) = (
            c
            for c in self.book.rows
            if c["column"] == "direct"
            and c["task"] == task.name
            and all(c[k] == v for k, v in self.place.items())
        )
        return bool(cell["dev"] > cell["majority_dev"] + self.settings.margin)

    def make_starts(self) -> dict[str, SoftPrompt]:
        """Every start that needs no row of the target, by name."""
        singles = {t.name: load_prompt(self.folder(t.name)) for t in self.library}
        jobs = [TuneJob(task, self.origin, LENGTH, self.seed) for task in self.library]
        config = TuneConfig(epochs=self.settings.rounds, patience=0, batch_size=4, truncate=True)
        stamp = hashlib.sha256("+".join(singles).encode()).hexdigest()[:6]
        made = {}
        for name, way in (("together", "one"), ("factors", "factors")):
            place = self.folder(f"{name}-{stamp}")
            if not place.is_dir():
                teachers = list(singles.values()) if way == "factors" else []
                found = tune_together(self.model, jobs, config, way=way, teachers=teachers)
                save_prompt(found.prompt, place)
            made[name] = load_prompt(place)
        vectors = [TaskPromptVector.of(prompt) for prompt in singles.values()]
        start = make_origin(self.origin, self.model, LENGTH)
        made["mean"] = merge(vectors, method="mean").apply(start, self.origin.to_dict())
        made["random"] = random_prompt(self.model, LENGTH, self.seed)
        return {f"single {name}": prompt for name, prompt in singles.items()} | made

    def target(self, task: Task) -> None:
        """All columns and row counts of one target."""
        place = {**self.place, "task": task.name}
        done = [
            self.book.has(**place, column=column, rows=count)
            for column in COLUMNS
            for count in self.settings.counts
        ]
        if all(done):
            return
        singles = [name for name in self.starts if name.startswith("single ")]
        devs = {n: self.score(task, self.starts[n], "dev").score.value for n in singles}
        text = self.by_text(task)
        zero = {n: scored(self.score(task, p, "test"), task) for n, p in self.starts.items()}
        for name in singles:
            known = {"dev": devs[name], "fit": text[name]}
            self.book.add({**zero[name], **known}, **place, column=name, rows=0)
        for count in self.settings.counts:
            few = None if count == 0 else few_shot(task, min(count, self.most(task)), self.seed)
            columns = {
                "random": "random",
                REFERENCE: max(singles, key=lambda name: devs[name]),
                "picked": max(singles, key=lambda name: text[name]),
                "together": "together",
                "factors": "factors",
                "mean": "mean",
                "ranked": self.ranked(text, few),
            }
            cells = zero
            if few is not None:
                prompts = self.few(few, {n: self.starts[n] for n in columns.values()}, count)
                cells = {n: scored(self.score(task, p, "test"), task) for n, p in prompts.items()}
            for column, name in columns.items():
                found = {**cells[name], "start": name}
                self.book.add(found, **place, column=column, rows=count)
            found = scored(self.attention(few or task, count), task)
            self.book.add(found, **place, column="attention", rows=count)

    def most(self, task: Task) -> int:
        return len(task.load("train"))

    def score(self, task: Task, prompt: SoftPrompt, split: str) -> Evaluation:
        """In the template of the task, not in that of the prompt."""
        return evaluate(
            self.model, task, prompt, template=task.template, split=split, truncate=True
        )

    def candidates(self) -> list[Candidate]:
        known = {task.name: task for task in self.library}
        return [
            Candidate(name, prompt, known.get(name.removeprefix("single ")))
            for name, prompt in self.starts.items()
        ]

    def by_text(self, task: Task) -> dict[str, float]:
        """How well every start fits the text of the training rows; no label is read."""
        found = rank(self.model, self.candidates(), task, seed=self.seed, truncate=True)
        return {entry.name: entry.score for entry in found.entries}

    def ranked(self, text: Mapping[str, float], few: Task | None) -> str:
        """The best start by text and by the labels of a few rows.

        The fit to the text counts like that of so many labelled rows as `PRIOR` says.
        """
        scores = dict(text)
        if few is not None:
            rows = len(few.load("train"))
            by_labels = rank(self.model, self.candidates(), few, labelled=rows, truncate=True)
            for entry in by_labels.entries:
                fit = entry.measures["fit"] or 0.0
                scores[entry.name] = (PRIOR * text[entry.name] + rows * fit) / (PRIOR + rows)
        return max(scores, key=lambda name: scores[name])

    def config(self, rows: int) -> TuneConfig:
        """As many epochs as give the steps; small batches for few rows, as in the paper."""
        size = 4 if rows <= 25 else 8
        epochs = math.ceil(self.settings.steps / math.ceil(rows / size))
        return TuneConfig(epochs=epochs, patience=0, batch_size=size, truncate=True)

    def few(self, few: Task, starts: Mapping[str, SoftPrompt], count: int) -> dict[str, SoftPrompt]:
        """Tune from every start on the same rows, in the same batches."""
        jobs = [
            TuneJob(few, OriginSpec("prompt", prompt=prompt), LENGTH, self.seed)
            for prompt in starts.values()
        ]
        results = tune(self.model, jobs, self.config(len(few.load("train"))))
        found = {}
        for name, result in zip(starts, results, strict=True):
            if result.prompt is None:
                raise RuntimeError(f"{self.name}, {few.name}, {name}, {count} rows: failed")
            found[name] = result.prompt
        return found

    def attention(self, task: Task, count: int) -> Evaluation:
        """ATTEMPT over all single sources; with 0 rows as it starts."""
        sources = [p for n, p in self.starts.items() if n.startswith("single ")]
        job = TuneJob(task, self.origin, LENGTH, self.seed)
        if count == 0:
            model = start_attention(self.model, job, sources, truncate=True)
        else:
            config = self.config(len(task.load("train")))
            model = tune_attention(self.model, job, sources, config)
        return model.evaluate()


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures, and the tables.

    The area under a curve is the mean score over the row counts (which grow about geometrically).
    A win is a target of a backbone where the area of `ranked` is above that of the best single
    source; a loss is one where the 95% interval of the difference over test rows and seeds lies
    below zero. The best single source is the one with the best dev score before any tuning.
    """
    curves = _curves(cells)
    places = sorted({(c["backbone"], c["task"]) for c in curves})
    counts = sorted({c["rows"] for c in curves})
    areas = _areas(curves)
    rows, compared = [], {}
    for column in COLUMNS:
        own = {p: areas[column, *p] for p in places if (column, *p) in areas}
        if not own:
            continue
        differences = {p: _difference(areas, column, p) for p in own}
        wins = [p for p, d in differences.items() if d["value"] > 0]
        losses = [p for p, d in differences.items() if d["high"] < 0]
        rows.append(
            {
                "column": column,
                "targets": len(own),
                "area": round(fmean(fmean(a) for a in own.values()), 4),
                "wins": len(wins),
                "wins_beyond_noise": sum(d["low"] > 0 for d in differences.values()),
                "losses": len(losses),
                **{
                    f"rows {count}": round(
                        fmean(
                            c["score"]
                            for c in curves
                            if c["column"] == column and c["rows"] == count
                        ),
                        4,
                    )
                    for count in counts
                },
            }
        )
        if column != REFERENCE:
            compared[column] = [fmean(own[p]) for p in own]
    reference = [fmean(areas[REFERENCE, *p]) for p in places if (REFERENCE, *p) in areas]
    full = {name: a for name, a in compared.items() if len(a) == len(reference)}
    tests = compare_to(reference, full) if reference else {}
    for row in rows:
        if row["column"] in tests:
            test = tests[row["column"]]
            row |= {
                "gain_points": round(100 * test.difference.value, 2),
                "low": round(100 * test.difference.low, 2),
                "high": round(100 * test.difference.high, 2),
                "p_holm": round(test.adjusted, 4),
            }
    found = {row["column"]: row for row in rows}
    summary: dict[str, float] = {"fewshot_targets": len(places)}
    if "ranked" in found:
        summary["fewshot_wins"] = found["ranked"]["wins"]
        summary["fewshot_losses"] = found["ranked"]["losses"]
    gaps = _pick_gaps(cells, curves, areas)
    summary |= {name: round(fmean(values), 3) for name, values in gaps.items() if values}
    tables = {
        "starts": rows,
        "targets": _by_target(areas, places),
        "left_out": _left_out(cells),
        "chosen": _chosen(curves),
    }
    return summary, tables


def _curves(cells: Sequence[Cell]) -> list[Cell]:
    """Cells of curves whose every column and row count is there."""
    found = [c for c in cells if c["column"] in COLUMNS]
    counts = {c["rows"] for c in found}
    groups: dict[tuple[Any, ...], int] = defaultdict(int)
    for c in found:
        groups[c["backbone"], c["task"], c["seed"]] += 1
    whole = {key for key, n in groups.items() if n == len(COLUMNS) * len(counts)}
    return [c for c in found if (c["backbone"], c["task"], c["seed"]) in whole]


def _areas(curves: Sequence[Cell]) -> dict[tuple[str, str, str], list[float]]:
    """Per (column, backbone, task): for every test row of every seed the mean over row counts."""
    groups: dict[tuple[str, str, str, int], list[list[int]]] = defaultdict(list)
    for c in sorted(curves, key=lambda c: (c["seed"], c["rows"])):
        groups[c["column"], c["backbone"], c["task"], c["seed"]].append(bits_of(c))
    areas: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for (column, name, task, _), bits in sorted(groups.items()):
        areas[column, name, task] += [fmean(row) for row in zip(*bits, strict=True)]
    return areas


def _difference(
    areas: Mapping[tuple[str, str, str], list[float]],
    column: str,
    place: tuple[str, str],
    reference: str = REFERENCE,
) -> dict[str, float]:
    pairs = zip(areas[column, *place], areas[reference, *place], strict=True)
    found = bootstrap_mean([a - b for a, b in pairs])
    return {"value": found.value, "low": found.low, "high": found.high}


def _pick_gaps(
    cells: Sequence[Cell], curves: Sequence[Cell], areas: Mapping[tuple[str, str, str], list[float]]
) -> dict[str, list[float]]:
    """Points by which the label-free pick is behind: at 0 rows to the source that dev labels choose
    (`pick_gap_points`) and to the best on test (`_oracle`, which no one could have chosen), and
    over the whole curve to the former (`_area`)."""
    zero = {(_key(c), c["column"]): c["score"] for c in curves if c["rows"] == 0}
    oracle: dict[tuple[Any, ...], float] = {}
    for c in cells:
        if c["column"].startswith("single ") and c["rows"] == 0:
            oracle[_key(c)] = max(oracle.get(_key(c), 0.0), c["score"])
    places = sorted({_key(c) for c in curves})
    return {
        "pick_gap_points": [100 * (zero[p, REFERENCE] - zero[p, "picked"]) for p in places],
        "pick_gap_points_oracle": [100 * (oracle[p] - zero[p, "picked"]) for p in places],
        "pick_gap_points_area": [
            100 * (fmean(areas[REFERENCE, b, t]) - fmean(areas["picked", b, t]))
            for b, t in sorted({(p[0], p[1]) for p in places})
        ],
    }


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell["backbone"], cell["task"], cell["seed"]


def _by_target(
    areas: Mapping[tuple[str, str, str], list[float]], places: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Area of every start per target, and `ranked` against the best single source."""
    rows = []
    for name, task in places:
        found = {
            column: round(fmean(areas[column, name, task]), 4)
            for column in COLUMNS
            if (column, name, task) in areas
        }
        difference = _difference(areas, "ranked", (name, task))
        points = {k: round(100 * v, 2) for k, v in difference.items()}
        rows.append({"backbone": name, "task": task, **found, "ranked_gain_points": points})
    return rows


def _left_out(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Tasks that tuning on all rows does not learn, by dev rows."""
    return [
        {
            "backbone": c["backbone"],
            "task": c["task"],
            "seed": c["seed"],
            "dev": c["dev"],
            "majority_dev": c["majority_dev"],
        }
        for c in cells
        if c["column"] == "direct" and c["dev"] <= c["majority_dev"] + Settings.margin
    ]


def _chosen(curves: Sequence[Cell]) -> list[dict[str, Any]]:
    """What `best single`, `picked` and `ranked` stood for."""
    return [
        {k: c[k] for k in ("backbone", "task", "seed", "column", "rows", "start")}
        for c in curves
        if c["column"] in (REFERENCE, "picked", "ranked")
    ]


def table(tables: Mapping[str, Any]) -> str:
    """The tables of starts and targets in Markdown."""
    rows = tables["starts"]
    counts = [name for name in (rows[0] if rows else {}) if name.startswith("rows ")]
    lines = [
        f"| start | {' | '.join(counts)} | area | gain over the best single source, points [95%] "
        "| p (Holm) | targets won, lost, of |",
        "|---" * (len(counts) + 5) + "|",
    ]
    for r in rows:
        scores = " | ".join(f"{r[count]:.3f}" for count in counts)
        gain, p = "", ""
        if "gain_points" in r:
            gain = f"{r['gain_points']:+.1f} [{r['low']:+.1f}, {r['high']:+.1f}]"
            p = f"{r['p_holm']:.3f}"
        lines.append(
            f"| {r['column']} | {scores} | {r['area']:.3f} | {gain} | {p} "
            f"| {r['wins']}, {r['losses']}, {r['targets']} |"
        )
    lines += ["", "| backbone | target | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for r in tables["targets"]:
        scores = " | ".join(f"{r[column]:.3f}" for column in COLUMNS)
        lines.append(f"| {r['backbone']} | {r['task']} | {scores} |")
    left = sorted({f"{r['task']} ({r['backbone']})" for r in tables["left_out"]})
    lines += ["", f"Not learned, left out: {', '.join(left) or 'none'}."]
    return "\n".join(lines) + "\n"
