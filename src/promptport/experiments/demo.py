"""The demo: tune on one embedded backbone, carry to another, compare with every baseline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from promptport.anchors import AnchorSet
from promptport.backbone import Backbone
from promptport.distillation import DistillConfig, Teacher, move_by_answers
from promptport.evaluation import evaluate
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.tasks import Score, Task, open_task
from promptport.transfers import TransferReport, TransferResult, transfer
from promptport.tuning import TuneConfig, TuneJob, TuneResult, score_baselines, tune

Announce = Callable[[str], None]

# What is compared on the target, in the order of the table: name -> what it has seen of the target.
SEEN_OF_TARGET = {
    "majority": "training answers",
    "random": "nothing",
    "no prompt": "nothing",
    "manual": "nothing; a person wrote it",
    "manual, prior off": "unlabelled texts; a person wrote it",
    "free prompt, paper A's search": "its embedding table",
    "free prompt, least squares": "its embedding table",
    "free prompt, moved": "its answers to random words",
    "mixture prompt, moved": "its embedding table",
    "tuned here": "labelled rows",
}


@dataclass(frozen=True)
class DemoSettings:
    """What the demo runs.

    Attributes:
        source: backbone that prompts are tuned on.
        target: backbone that they are carried to.
        tasks: references of probes or classification tasks.
        length: virtual tokens per prompt.
        seed: of origins and data order.
        epochs: of tuning.
        paper_steps: steps of paper A's search (2,000 in the paper).
        rows: questions of random words that free prompts are moved with.
    """

    source: str = "nano-bert"
    target: str = "nano-roberta"
    tasks: tuple[str, ...] = (
        # Relations that cannot be guessed from the template alone: see the row "no prompt".
        "country-capital",
        "country-currency",
        "past-tense",
        "opposite",
    )
    length: int = 5
    seed: int = 0
    epochs: int = 20
    paper_steps: int = 2000
    rows: int = 128


@dataclass(frozen=True)
class TaskOutcome:
    """Everything about one task.

    Attributes:
        task: its name.
        on_source: scores on the source backbone: `manual`, `free prompt`, `mixture prompt`.
        on_target: scores on the target backbone, keys of `SEEN_OF_TARGET`.
        report: trust report of the moved mixture prompt.
        free_report: trust report of the free prompt's port.
        words: for each virtual token of the mixture prompt, its heaviest words.
        curve: dev loss per epoch of tuning, `free` and `mixture`, on the source.
    """

    task: str
    on_source: dict[str, Score]
    on_target: dict[str, Score]
    report: TransferReport
    free_report: TransferReport
    words: list[list[tuple[str, float]]]
    curve: dict[str, list[float]]


@dataclass(frozen=True)
class DemoResult:
    """Outcome of the demo."""

    settings: DemoSettings
    outcomes: tuple[TaskOutcome, ...]
    anchors: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Mean score on the target over tasks, by kind of prompt."""
        return {
            name: fmean(o.on_target[name].value for o in self.outcomes)
            for name in SEEN_OF_TARGET
            if all(name in o.on_target for o in self.outcomes)
        }

    def retention(self) -> dict[str, float]:
        """Mean score over that of prompts tuned on the target itself."""
        means = self.means()
        return {name: value / max(means["tuned here"], 1e-9) for name, value in means.items()}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "source": self.settings.source,
            "target": self.settings.target,
            "metric": self.outcomes[0].on_target["tuned here"].metric,
            "mean": self.means(),
            "retention": self.retention(),
            "tasks": {
                o.task: {
                    "on_source": {k: v.to_dict() for k, v in o.on_source.items()},
                    "on_target": {k: v.to_dict() for k, v in o.on_target.items()},
                    "words": o.words,
                    "transfer": o.report.to_dict(),
                }
                for o in self.outcomes
            },
            "anchors": self.anchors,
            "seconds": self.seconds,
        }


def run_demo(
    settings: DemoSettings | None = None, *, progress: Announce = lambda text: None
) -> DemoResult:
    """Run the comparison.

    Args:
        settings: what to run.
        progress: told what is being done.

    Raises:
        PromptPortError: a backbone or task that cannot be opened.
    """
    settings = settings or DemoSettings()
    watch = _Stopwatch()
    progress(f"opening {settings.source} and {settings.target}")
    source, target = Backbone.load(settings.source), Backbone.load(settings.target)
    tasks = [open_task(name) for name in settings.tasks]
    config = TuneConfig(epochs=settings.epochs, patience=0)
    progress(
        f"tuning {2 * len(tasks)} prompts on {source.name}, free and as mixtures, in one batch"
    )
    free, mixture = _tune_pairs(source, tasks, settings, config)
    watch.note("tuning on the source")
    progress(f"tuning {len(tasks)} prompts on {target.name}, as the upper bound")
    native = tune(target, [_job(t, settings, "vocabulary") for t in tasks], config)
    watch.note("tuning on the target")
    outcomes = []
    for i, task in enumerate(tasks):
        progress(f"{task.name}: carrying the prompts to {target.name} and scoring them")
        outcomes.append(_outcome(source, target, task, settings, (free[i], mixture[i], native[i])))
    watch.note("transfers and scores")
    shared = AnchorSet.shared(source.space, target.space).report
    return DemoResult(settings, tuple(outcomes), shared.to_dict(), watch.seconds)


class _Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


def _job(task: Task, settings: DemoSettings, kind: Any) -> TuneJob:
    return TuneJob(task, OriginSpec(kind, settings.seed), settings.length, settings.seed)


def _tune_pairs(
    source: Backbone, tasks: list[Task], settings: DemoSettings, config: TuneConfig
) -> tuple[list[TuneResult], list[TuneResult]]:
    jobs = [_job(task, settings, kind) for kind in ("vocabulary", "mixture") for task in tasks]
    results = tune(source, jobs, config)
    return results[: len(tasks)], results[len(tasks) :]


def _prompt(result: TuneResult) -> SoftPrompt:
    assert result.prompt is not None, result.error
    return result.prompt


def _outcome(
    source: Backbone,
    target: Backbone,
    task: Task,
    settings: DemoSettings,
    tuned: tuple[TuneResult, TuneResult, TuneResult],
) -> TaskOutcome:
    free, mixture, native = (_prompt(result) for result in tuned)

    def port(prompt: SoftPrompt, method: str | None = None, **options: Any) -> TransferResult:
        magnitude = "paper" if method == "gradient" else None
        return transfer(
            prompt,
            source.space,
            target.space,
            method=method,
            magnitude=magnitude,
            seed=settings.seed,
            options=options,
            roundtrip=method is None,
        )

    def score(backbone: Backbone, prompt: SoftPrompt) -> Score:
        return evaluate(backbone, task, prompt).score

    moved, moved_free = port(mixture), port(free)
    learning = DistillConfig(texts="words", rows=settings.rows, seed=settings.seed)
    moved_by_answers = move_by_answers([Teacher(source, free)], target, task, config=learning)
    on_target = {
        **score_baselines(target, task, free),
        "free prompt, paper A's search": score(
            target, port(free, "gradient", steps=settings.paper_steps).prompt
        ),
        "free prompt, least squares": score(target, moved_free.prompt),
        "free prompt, moved": score(target, moved_by_answers.prompt),
        "mixture prompt, moved": score(target, moved.prompt),
        "tuned here": score(target, native),
    }
    on_source = {
        "manual": evaluate(source, task).score,
        "free prompt": score(source, free),
        "mixture prompt": score(source, mixture),
    }
    assert mixture.mixture is not None
    return TaskOutcome(
        task.name,
        on_source,
        {name: on_target[name] for name in SEEN_OF_TARGET if name in on_target},
        moved.report,
        moved_free.report,
        mixture.mixture.readable(),
        {"free": [c[1] for c in tuned[0].curve], "mixture": [c[1] for c in tuned[1].curve]},
    )
