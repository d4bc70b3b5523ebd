"""One measurement of the laboratory: a way to answer a task, on one model."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.real_models.tasks import Limits, short_name

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import Evaluation, evaluate
from promptport.experiments.pretrained import MODELS
from promptport.experiments.result_store import Cell, ResultStore, packed, stamp_of, task_stamp
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Score, Task, Template, bootstrap_score, hits
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune
from promptport.tuning.label_prior import has_prior, score_prior_off

BASELINES = ("majority", "manual", "manual_prior", "no_prompt", "random")
TUNED = ("tuned_suffix", "tuned", "tuned_mixture")
VALUES = (
    *("score", "low", "high", "right", "rows", "skipped", "loss"),
    *("dev", "steps", "seconds", "processor", "dtype", "opened"),
)
BATCH_TOKENS = 2048  # of a pass in tuning: 262,000 words of an answer take memory


@dataclass(frozen=True)
class Setting:
    """How the prompts of one way are tuned.

    Attributes:
        length: virtual tokens.
        batch: rows of an update.
        updates: about so many, in whole epochs.
        relative_lr: see `TuneJob`.
        schedule: see `TuneConfig`.
        origin: as the option `--origin` of `promptport tune`, or `labels` for the label words.
        place: `front` or `behind` the text.
    """

    length: int = 10
    batch: int = 16
    updates: int = 120
    relative_lr: float = 0.2
    schedule: str = "linear"
    origin: str = "vocabulary"
    place: str = "front"

    def template(self, task: Task) -> Template:
        """The template of a task with its virtual tokens in this place."""
        own = task.template
        return own.with_soft_behind() if self.place == "behind" else own.with_soft_in_front()

    def job(self, task: Task, seed: int) -> TuneJob:
        """The prompt of a task and seed."""
        return TuneJob(
            task,
            OriginSpec.parse(self._origin(task), seed),
            self.length,
            seed,
            relative_lr=self.relative_lr,
            template=self.template(task),
        )

    def _origin(self, task: Task) -> str:
        if self.origin != "labels":
            return self.origin
        return "text:" + " ".join(word for words in (task.labels or {}).values() for word in words)

    def config(self, rows: int) -> TuneConfig:
        """Settings of a run over so many training rows."""
        return TuneConfig(
            epochs=max(1, round(self.updates / math.ceil(rows / self.batch))),
            batch_size=self.batch,
            patience=0,
            schedule=self.schedule,  # type: ignore[arg-type]
            batch_tokens=BATCH_TOKENS,
            truncate=True,
        )


@dataclass(frozen=True)
class Place:
    """What a cell measures.

    Attributes:
        model: name of the pretrained model.
        task: with the rows that are used.
        way: one of `BASELINES` and `TUNED`.
        seed: of random and tuned prompts; 0 for the others.
    """

    model: str
    task: Task
    way: str
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """As the book of cells knows it: a task with other rows has other cells."""
        return {
            "model": self.model,
            "task": short_name(self.task),
            "way": self.way,
            "seed": self.seed,
            "data": task_stamp(self.task, "test"),
        }

    @property
    def key_text(self) -> str:
        """The same in one string."""
        return stamp_of(self.key)

    def __str__(self) -> str:
        seed = f" seed {self.seed}" if self.way in ("random", *TUNED) else ""
        return f"{self.model} {short_name(self.task)} {self.way}{seed}"


def book_of(path: Path, limits: Limits, settings: Mapping[str, Setting]) -> ResultStore:
    """The book of cells: those of other models, limits or settings stay in it and do not count."""

    def stamp(cell: Mapping[str, Any]) -> str:
        model = MODELS.get(cell["model"])
        used = [None if model is None else model.sha256, asdict(limits)]
        if cell["way"] in settings:
            used.append(asdict(settings[cell["way"]]))
        elif cell["way"] == "random":
            used.append(settings["tuned"].length)
        return stamp_of(*used)

    return ResultStore(path, stamp, *VALUES)


class Laboratory:
    """Measures cells on one backbone, and writes each as soon as it is there.

    Args:
        book: of the finished cells.
        settings: of the tuned ways.
        work: folder of tuned prompts and of unfinished runs.
        together: seeds whose prompts are tuned in one run, which shares what they have in common;
            each ends as it would alone. Without any each seed has a run of its own.
    """

    def __init__(
        self,
        book: ResultStore,
        settings: Mapping[str, Setting],
        work: Path,
        together: Sequence[int] = (),
    ) -> None:
        self.book, self.settings, self.work = book, settings, work
        self.together = tuple(together)
        self._processor: dict[str, float] = {}  # of tuning, in seconds, by place

    def known(self, place: Place) -> Cell | None:
        """A finished cell."""
        return self.book.get(**place.key)

    def measure_majority(self, place: Place) -> Cell:
        """The cell of the most frequent answer, which needs no model but for probes."""
        self.book.add({**majority_cell(place.task), "seconds": 0.0}, **place.key)
        return self.book.get(**place.key) or {}

    def measure(self, backbone: Backbone, place: Place, opened: str) -> Cell:
        """A cell that is not there; the manual template gives two, from one pass.

        Args:
            backbone: of `place.model`.
            place: what to measure.
            opened: what it was opened from, `folder` or `gguf`.
        """
        start = time.perf_counter()
        if place.way in ("manual", "manual_prior") and has_prior(place.task):
            found = self._manual(backbone, place.task)
        else:
            found = {place.way: self._one(backbone, place)}
        more = {
            "seconds": time.perf_counter() - start,
            "dtype": str(backbone.dtype).removeprefix("torch."),
            "opened": opened,
        }
        for way, cell in found.items():
            self.book.add({**cell, **more}, **replace(place, way=way).key)
        return self.book.get(**place.key) or {}

    def _one(self, backbone: Backbone, place: Place) -> Cell:
        task, way = place.task, place.way
        if way == "majority":
            asked = Objective(backbone, task, task.template.without_soft(), truncate=True)
            rows = [row for row in task.load("test") if asked.can_ask(row)]
            return majority_cell(task.with_rows(train=task.load("train"), test=rows))
        if way == "manual":
            return cell_of(evaluate(backbone, task, truncate=True))
        if way == "no_prompt":
            bare = task.template.without_soft()
            manual = self.known(replace(place, way="manual"))
            if manual is not None and bare == task.manual:  # the same question
                return {name: manual[name] for name in VALUES if name in manual}
            return cell_of(evaluate(backbone, task, template=bare, truncate=True))
        if way == "random":
            setting = self.settings["tuned"]
            prompt = random_prompt(backbone, setting.length, place.seed)
            template = setting.template(task)
            return cell_of(evaluate(backbone, task, prompt, template=template, truncate=True))
        prompt = self.tuned(backbone, place)
        result = evaluate(backbone, task, prompt, truncate=True)
        made = prompt.provenance.tuning or {}
        own = {name: made.get(key) for name, key in (("dev", "dev_score"), ("steps", "steps"))}
        return {**cell_of(result), **own, "processor": self._processor.get(place.key_text)}

    @staticmethod
    def _manual(backbone: Backbone, task: Task) -> dict[str, Cell]:
        if task.manual is None:
            raise ValueError(f"{task.name}: no manual template")
        both = score_prior_off(backbone, task, task.manual, truncate=True)
        return {
            "manual": score_cell(both.plain, both.plain_right),
            "manual_prior": score_cell(both.score, both.right),
        }

    def tuned(self, backbone: Backbone, place: Place) -> SoftPrompt:
        """The tuned prompt of a cell; a run that was stopped goes on where it was.

        Args:
            backbone: of `place.model`.
            place: of a tuned way.

        Raises:
            TuningError: it could not be tuned.
        """
        folder = self._folder(place)
        if folder.is_dir():
            return load_prompt(folder)
        seeds = self.together if place.seed in self.together else (place.seed,)
        places = [replace(place, seed=seed) for seed in seeds]
        missing = [other for other in places if not self._folder(other).is_dir()]
        setting = self.settings[place.way]
        jobs = [setting.job(other.task, other.seed) for other in missing]
        asked = Objective(
            backbone, place.task, jobs[0].template, length=setting.length, truncate=True
        )
        rows = sum(asked.can_ask(row) for row in place.task.load("train"))
        folder.parent.mkdir(parents=True, exist_ok=True)
        numbers = "+".join(str(other.seed) for other in missing)
        state = folder.with_name(f"{folder.name}-of-{numbers}.state")
        goes_on, began = state.exists(), time.process_time()
        results = tune(backbone, jobs, setting.config(rows), state=state)
        if not goes_on and len(missing) == 1:  # else it is not this prompt's alone
            self._processor[place.key_text] = time.process_time() - began
        for other, result in zip(missing, results, strict=True):
            if result.prompt is not None:
                save_prompt(result.prompt, self._folder(other))
            elif other.seed == place.seed:
                error = str(result.error)
                raise TuningError(
                    str(place), expected="a finite loss", got=error, fix="Lower its rate"
                )
        return load_prompt(folder)

    def _folder(self, place: Place) -> Path:
        """Where the tuned prompt of a cell is kept: other rows or settings have another place."""
        digest = stamp_of(self.book.weights(place.key), task_stamp(place.task, "train"))
        name = f"{short_name(place.task)}-{place.way}-{place.seed}-{digest}"
        return self.work / place.model / name


def cell_of(result: Evaluation) -> Cell:
    """Score, interval, and a hexadecimal bit per row: right or wrong."""
    return {
        **score_cell(result.score, result.right),
        "skipped": result.skipped,
        "loss": result.loss,
    }


def score_cell(score: Score, right: tuple[bool, ...] | None) -> Cell:
    """The same of a score alone; no bits where it is no share of rows."""
    return {
        "score": score.value,
        "low": score.low,
        "high": score.high,
        "right": None if right is None else packed(right),
        "rows": score.rows,
    }


def majority_cell(task: Task) -> Cell:
    """Always giving the most frequent training answer."""
    gold = [row.answer for row in task.load("test")]
    most = task.majority()
    metric = "accuracy" if task.kind == "probe" else task.metric
    answers = [most] * len(gold)
    return score_cell(bootstrap_score(metric, gold, answers), hits(metric, gold, answers))
