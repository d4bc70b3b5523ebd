"""Where to start on a new task (paper B, RQ3): zero-shot scores and few-shot curves of every start.

Run from the root of the repository: python -m benchmarks.task_vectors.run --parts fewshot

Prompts are kept in build/task_vectors and finished cells in results/fewshot/cells.jsonl, so a
stopped run goes on where it was; cells of other weights are not counted.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path

from benchmarks._inputs import backbone, digest_of, limited, weights_of
from benchmarks.task_vectors.common import (
    BACKBONES,
    LENGTH,
    NLU,
    PLANS,
    RESULTS,
    VALUES,
    WORK,
    Plan,
    group_of,
    scored,
)
from benchmarks.task_vectors.fewshot_summary import COLUMNS, MARGIN, REFERENCE, summarise, table

from promptport.evaluation import Evaluation, evaluate
from promptport.experiments.few_shot import few_shot_config
from promptport.experiments.result_store import Cell, ResultStore
from promptport.library import AdaptConfig, Library, adapt, rank
from promptport.library.starts import with_few_labels
from promptport.merging import merge
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.tuning import (
    TuneConfig,
    TuneJob,
    few_shot,
    random_prompt,
    start_attention,
    tune,
    tune_attention,
    tune_together,
)
from promptport.vector import TaskPromptVector

__all__ = ["Settings", "measure", "open_any", "summarise", "table"]

SOURCES = ("sentiment", "topic", "question", "entailment")
TARGETS = ("emotion", "subjectivity", "setting", "formality")
NLU_TARGETS = ("scitail", "snli", "ag_news", "yahoo", "imdb", "sst5")
SUM = "sum"  # coefficients of 1; not among what `ranked` chooses from


@dataclass(frozen=True)
class Settings:
    """Sizes of a run; all of them small, for one slow core.

    Attributes:
        counts: labelled rows of the target; 0 is scored as it starts.
        steps: updates of a few-shot run (1,000 in the paper), but at least one pass over its rows.
        plans: rows and settings of tuning on all rows, as sources and for the learnability of
            targets, per group of tasks. Unlabelled rows of a target are as many as embedded tasks
            have training rows.
        dev: rows that choose the epoch there, and the best single source.
        test: rows that are scored.
        words: of every text, the rest is cut.
        rounds: epochs of several sources together.
    """

    counts: tuple[int, ...] = (0, 5, 10, 25, 50, 100, 250)
    steps: int = 32
    plans: Mapping[str, Plan] = field(default_factory=lambda: PLANS)
    dev: int = 64
    test: int = 128
    words: int = 24
    rounds: int = 4

    @property
    def digest(self) -> str:
        """Of all but the row counts, which are places of cells."""
        plans = {name: plan.digest for name, plan in self.plans.items()}
        sizes = (self.steps, self.dev, self.test, self.words, self.rounds)
        return digest_of(TuneConfig(), plans, *sizes)

    def plan(self, task: str) -> Plan:
        """How a task is tuned on all its rows."""
        return self.plans[group_of(task)]

    @property
    def rows(self) -> dict[str, int]:
        """Most rows of each split."""
        return {"train": self.plans["embedded"].train, "dev": self.dev, "test": self.test}


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
    known = [open_any(name, data) for name in sources or (*SOURCES, *(NLU if data else ()))]
    new = [open_any(name, data) for name in targets or (*TARGETS, *(NLU_TARGETS if data else ()))]
    book = _book(settings, results)
    for seed in seeds:
        for name in backbones:
            _Bench(name, seed, known, new, settings, book, work / "fewshot").run()
    counts = {-1, *settings.counts}
    return [c for c in book.rows if c["backbone"] in backbones and c["rows"] in counts]


def cells_of(
    name: str, seed: int, data: Path | None = None, value: str = "score"
) -> dict[str, dict[str, float]]:
    """Test scores of all single sources as starts, before any tuning: target -> source -> score.

    Args:
        name: of the backbone.
        seed: of origins and row order.
        data: folder with nlu/, None to leave its targets out.
        value: what is told in place of the score: `fit`, how it fits to what the other starts say
            about the texts, or `dev`, the score on dev rows.
    """
    found: dict[str, dict[str, float]] = {}
    for cell in _rows():
        single = cell["column"].startswith("single ") and cell["rows"] == 0
        if single and (cell["backbone"], cell["seed"]) == (name, seed):
            source = cell["column"].removeprefix("single ")
            found.setdefault(cell["task"], {})[source] = cell[value]
    return {t: own for t, own in found.items() if data is not None or not t.startswith("nlu:")}


def tuned_sources(
    name: str, seed: int, data: Path | None = None, among: Sequence[str] = ()
) -> dict[str, SoftPrompt]:
    """The single sources of `cells_of`; what is missing in build/task_vectors is tuned.

    Args:
        name: of the backbone, like all that follows as in `cells_of`.
        seed: of origins and row order.
        data: folder with nlu/.
        among: take only these; none for all.
    """
    settings = Settings()
    wanted = {source for own in cells_of(name, seed, data).values() for source in own}
    wanted = wanted & set(among) if among else wanted
    known = [open_any(task, data) for task in (*SOURCES, *(NLU if data else ()))]
    known = [task for task in known if task.name in wanted]
    bench = _Bench(name, seed, known, [], settings, _book(settings, RESULTS), WORK / "fewshot")
    bench.tune_all()
    return {task.name: load_prompt(bench.folder(task.name)) for task in known}


@cache
def _rows() -> list[Cell]:
    """The committed cells, read once."""
    return list(_book(Settings(), RESULTS).rows)


def _book(settings: Settings, results: Path) -> ResultStore:
    return ResultStore(
        results / "fewshot" / "cells.jsonl",
        lambda cell: f"{weights_of(cell['backbone'])}-{settings.digest}",
        *VALUES,
    )


def open_any(name: str, data: Path | None) -> Task:
    """An embedded task, or one of the data folder."""
    if name in (*NLU, *NLU_TARGETS):
        return open_task(f"nlu:{name}", None if data is None else data / "nlu")
    return open_task(name)


class _Bench:
    """One backbone, one seed."""

    def __init__(
        self,
        name: str,
        seed: int,
        sources: Sequence[Task],
        targets: Sequence[Task],
        settings: Settings,
        book: ResultStore,
        work: Path,
    ) -> None:
        self.name, self.seed, self.settings, self.book = name, seed, settings, book
        self.sources, self.targets = (
            [limited(task, settings.rows, settings.words) for task in tasks]
            for tasks in (sources, targets)
        )
        self.opened = {task.name: task for task in (*sources, *targets)}
        self.whole = {
            name: limited(
                task, {**settings.rows, "train": settings.plan(name).train}, settings.words
            )
            for name, task in self.opened.items()
        }
        self.model = backbone(name)
        self.place = {"backbone": name, "seed": seed}
        self.work = work / f"{name}-{weights_of(name)}"
        self.began = time.perf_counter()

    def run(self) -> None:
        """Sources, composites, then target after target."""
        self.tune_all()
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
        return self.work / f"{name.replace(':', '-')}-{self.seed}-{self.settings.digest}"

    @property
    def origin(self) -> OriginSpec:
        return OriginSpec("vocabulary", self.seed)

    def tune_all(self) -> None:
        """Tune every task on all its rows from one origin; note dev scores and the majority's."""
        missing = [t for t in self.whole.values() if not self.folder(t.name).is_dir()]
        for _, alike in groupby(missing, key=lambda task: group_of(task.name)):
            jobs = [TuneJob(task, self.origin, LENGTH, self.seed) for task in alike]
            config = self.settings.plan(jobs[0].task.name).config
            # A few tasks per call, so that a stopped run loses little.
            for first in range(0, len(jobs), 4):
                some = jobs[first : first + 4]
                for job, result in zip(some, tune(self.model, some, config), strict=True):
                    if result.prompt is None:
                        raise RuntimeError(f"{self.name}, {job.label}: {result.error}")
                    save_prompt(result.prompt, self.folder(job.task.name))
        for task in (*self.sources, *self.targets):
            place = {**self.place, "column": "direct", "task": task.name, "rows": -1}
            if self.book.has(**place):
                continue
            prompt = load_prompt(self.folder(task.name))
            found = evaluate(self.model, task, prompt, truncate=True)
            dev = float((prompt.provenance.tuning or {})["dev_score"])
            majority = {"majority_dev": task.majority_score("dev").value}
            self.book.add({**scored(found), "dev": dev, **majority}, **place)
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
        return bool(cell["dev"] > cell["majority_dev"] + MARGIN)

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
        for name in ("mean", SUM):
            made[name] = merge(vectors, method=name).apply(start, self.origin.to_dict())
        made["random"] = random_prompt(self.model, LENGTH, self.seed)
        return {f"single {name}": prompt for name, prompt in singles.items()} | made

    def target(self, task: Task) -> None:
        """All columns and row counts of one target."""
        self.adapted(task)
        place = {**self.place, "task": task.name}
        missing = {
            count: [c for c in COLUMNS if not self.book.has(**place, column=c, rows=count)]
            for count in self.settings.counts
        }
        if not any(missing.values()):
            return
        singles = [name for name in self.starts if name.startswith("single ")]
        devs = {n: self.score(task, self.starts[n], "dev").score.value for n in singles}
        text = self.by_text(task)
        zero = {n: scored(self.score(task, p, "test")) for n, p in self.starts.items()}
        for name in singles:
            known = {"dev": devs[name], "fit": text[name]}
            self.book.add({**zero[name], **known}, **place, column=name, rows=0)
        for count, wanted in missing.items():
            few = None if count == 0 else self.few_rows(task, count)
            columns = {
                "random": "random",
                REFERENCE: max(singles, key=lambda name: devs[name]),
                "picked": max(singles, key=lambda name: text[name]),
                "together": "together",
                "factors": "factors",
                "mean": "mean",
                SUM: SUM,
                "ranked": self.ranked(text, few) if "ranked" in wanted else "",
            }
            columns = {column: name for column, name in columns.items() if column in wanted}
            cells = zero
            if few is not None and columns:
                prompts = self.few(few, {n: self.starts[n] for n in columns.values()}, count)
                cells = {n: scored(self.score(task, p, "test")) for n, p in prompts.items()}
            for column, name in columns.items():
                found = {**cells[name], "start": name}
                self.book.add(found, **place, column=column, rows=count)
            if "attention" in wanted:
                found = scored(self.attention(few or task, count))
                self.book.add(found, **place, column="attention", rows=count)

    def adapted(self, task: Task) -> None:
        """What the single sources say together, learned, with as many updates on the few rows."""
        library = {
            name.removeprefix("single "): prompt
            for name, prompt in self.starts.items()
            if name.startswith("single ")
        }
        for count in self.settings.counts:
            place = {**self.place, "task": task.name, "column": "adapted", "rows": count}
            if self.book.has(**place):
                continue
            pool = self.pool(task, count)
            few = min(count, len(pool.load("train")))
            config = AdaptConfig(
                rows=self.settings.rows["train"],
                steps=max(self.settings.steps, math.ceil(few / AdaptConfig.batch_size)),
                seed=self.seed,
                truncate=True,
            )
            found = adapt(self.model, library, pool, labelled=few, config=config)
            cell = scored(self.score(task, found.prompt, "test"))
            self.book.add({**cell, "start": found.start, "fit": found.after.same}, **place)

    def pool(self, task: Task, count: int) -> Task:
        """The target with enough training rows to draw so many from, if it has them."""
        if count <= self.settings.rows["train"]:
            return task
        return limited(
            self.opened[task.name], {**self.settings.rows, "train": count}, self.settings.words
        )

    def few_rows(self, task: Task, count: int) -> Task:
        """The target with so many labelled rows and no others."""
        pool = self.pool(task, count)
        return few_shot(pool, min(count, len(pool.load("train"))), self.seed)

    def score(self, task: Task, prompt: SoftPrompt, split: str) -> Evaluation:
        """In the template of the task, not in that of the prompt."""
        return evaluate(
            self.model, task, prompt, template=task.template, split=split, truncate=True
        )

    def candidates(self) -> Library:
        """What `ranked` and `picked` choose from."""
        known = {f"single {task.name}": task for task in self.library}
        prompts = {name: prompt for name, prompt in self.starts.items() if name != SUM}
        return Library.of(prompts, known)

    def by_text(self, task: Task) -> dict[str, float]:
        """How well every start fits the text of the training rows; no label is read."""
        found = rank(self.model, self.candidates(), task, seed=self.seed, truncate=True)
        return {entry.name: entry.score for entry in found.entries}

    def ranked(self, text: Mapping[str, float], few: Task | None) -> str:
        """The best start by text and by the labels of a few rows."""
        if few is not None:
            rows = len(few.load("train"))
            by_labels = rank(self.model, self.candidates(), few, labelled=rows, truncate=True)
            text = with_few_labels(text, by_labels, rows)
        return max(text, key=lambda name: text[name])

    def config(self, rows: int) -> TuneConfig:
        return few_shot_config(rows, self.settings.steps, truncate=True)

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
