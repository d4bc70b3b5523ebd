"""Whether task prompt vectors hold on other origins: of finished prompts, or of a task tuned anew.

What is measured, and how it is judged: `robustness`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport.analysis.robustness import OriginRobustness, origin_robustness
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import MismatchError, PromptPortError, TuningError
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.seeds import later_seed
from promptport.storage import PromptLike, as_prompt, load_prompt, save_prompt
from promptport.tasks import Task, TaskLike, as_task
from promptport.tuning import Progress, TuneConfig, TuneJob, tune
from promptport.tuning.config import config_dict

_FAR = 500_000  # seeds of unseen origins are so far from those that people write
_PER_VECTOR = ("own", "other", "bare", "alone")  # lists with one entry per vector


@dataclass(frozen=True)
class OriginCheckConfig:
    """From which origins a task is tuned, and on which its vectors are tried.

    Attributes:
        kind: of all origins: `vocabulary`, `normal`, or one of these scaled (`vocabulary*0.1`).
        samples: origins to tune from, each on its own, 1 or more.
        unseen: further origins that nothing is tuned from; together with `samples` 2 or more.
        seed: of the first origin; the others have the next ones.
        length: n, virtual tokens.
        over: each vector is tuned over so many origins at once.

    Raises:
        PromptPortError: too few origins.
    """

    kind: str = "vocabulary"
    samples: int = 3
    unseen: int = 3
    seed: int = 0
    length: int = 5
    over: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1 or self.unseen < 0 or self.samples + self.unseen < 2:
            raise PromptPortError(
                "--origin-samples and --unseen",
                expected="one origin or more to tune from, two or more together",
                got=f"{self.samples} and {self.unseen}",
                fix="Leave them out for 3 and 3",
            )

    def jobs(self, task: Task) -> list[TuneJob]:
        """What to tune: one job per origin."""
        return [
            TuneJob(task, OriginSpec.parse(self.kind, s), self.length, s, origins=self.over)
            for s in range(self.seed, self.seed + self.samples)
        ]

    def strangers(self) -> list[OriginSpec]:
        """The unseen origins."""
        first = later_seed(self.seed, self.samples + _FAR)
        return OriginSpec.parse(self.kind, first).others(self.unseen)


def check_task_origins(
    backbone: BackboneLike,
    task: TaskLike,
    config: OriginCheckConfig | None = None,
    *,
    tuning: TuneConfig | None = None,
    folder: str | Path | None = None,
    state: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> OriginRobustness:
    """Tune a task from several origins, and put each vector on all others.

    Args:
        backbone: the frozen model.
        task: what is tuned and scored.
        config: the origins.
        tuning: how it is tuned.
        folder: keeps the prompts; those that are there are not tuned again.
        state: file from which an interrupted tuning goes on.
        progress: of the tuning.

    Raises:
        PromptPortError: a kept prompt that was tuned otherwise.
        TuningError: a prompt whose tuning failed, or a kind of origin that cannot be drawn again.
        TaskError: data that does not fit.
    """
    config, tuning = config or OriginCheckConfig(), tuning or TuneConfig()
    backbone, task = as_backbone(backbone), as_task(task)
    jobs, strangers = config.jobs(task), config.strangers()
    prompts = _tuned(
        backbone, jobs, tuning, None if folder is None else Path(folder), state, progress
    )
    return _robustness(backbone, task, prompts, strangers, tuning.truncate)


@dataclass(frozen=True)
class PromptCheck:
    """Whether the vector of a finished prompt holds on other origins.

    Attributes:
        kind: of the other origins.
        result: of this one vector.
    """

    kind: str
    result: OriginRobustness

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what has one entry per vector has just that entry."""
        values = self.result.to_dict()
        values |= {name: values[name][0] for name in _PER_VECTOR}
        values.pop("cosine")  # of several vectors
        return {"origin": self.kind, **values}


def check_prompt_origins(
    backbone: BackboneLike,
    prompts: Sequence[PromptLike],
    tasks: Sequence[TaskLike],
    *,
    kind: str | None = None,
    unseen: int = 8,
    seed: int = 0,
    truncate: bool = False,
) -> list[PromptCheck]:
    """Judge finished prompts, each on its own task and alone, on the same unseen origins.

    Args:
        backbone: the frozen model of all of them.
        prompts: (n, d) each, with their origins.
        tasks: one per prompt.
        kind: of the unseen origins, see `OriginCheckConfig`; None: the kind of each prompt's own
            origin where that can be drawn again, else random words.
        unseen: how many, 1 or more.
        seed: of these origins.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        PromptPortError: no unseen origin.
        MismatchError: a prompt without origin or of another backbone, or not one task per prompt.
    """
    if unseen < 1:
        raise PromptPortError(
            "--unseen", expected="1 or more", got=str(unseen), fix="Leave it out for 8"
        )
    if len(prompts) != len(tasks):
        raise MismatchError(
            "tasks",
            expected=f"one per prompt ({len(prompts)})",
            got=str(len(tasks)),
            fix="Give the task of every prompt, in their order",
        )
    checks, backbone = [], as_backbone(backbone)
    opened = zip(map(as_prompt, prompts), map(as_task, tasks), strict=True)
    for prompt, task in opened:
        backbone.check_prompt(prompt)
        own = OriginSpec.drawn_again(prompt.provenance.origin) or OriginSpec()
        drawn = kind or own.written
        strangers = OriginSpec.parse(drawn, later_seed(seed, _FAR)).others(unseen)
        checks.append(
            PromptCheck(drawn, _robustness(backbone, task, [prompt], strangers, truncate))
        )
    return checks


def is_wide(prompt: SoftPrompt) -> bool:
    """Whether the vector of a prompt was made for several origins."""
    steps = [entry.get("step") for entry in prompt.provenance.history]
    tuned_over = (prompt.provenance.tuning or {}).get("origins", 1)
    return "distill_over_origins" in steps or tuned_over > 1


def _robustness(
    backbone: Backbone,
    task: Task,
    prompts: Sequence[SoftPrompt],
    strangers: Sequence[OriginSpec],
    truncate: bool,
) -> OriginRobustness:
    unseen = [make_origin(spec, backbone, prompts[0].length) for spec in strangers]
    return origin_robustness(backbone, task, prompts, unseen=unseen, truncate=truncate)


def _tuned(
    backbone: Backbone,
    jobs: Sequence[TuneJob],
    config: TuneConfig,
    folder: Path | None,
    state: Path | None,
    progress: Callable[[Progress], None] | None,
) -> list[SoftPrompt]:
    """One prompt per job; those in the folder are read."""
    places = {job.label: folder / job.label for job in jobs} if folder is not None else {}
    kept = {name: load_prompt(place) for name, place in places.items() if place.is_dir()}
    for job in jobs:
        if job.label in kept:
            _check_same(kept[job.label], job, config, backbone, places[job.label])
    missing = [job for job in jobs if job.label not in kept]
    results = tune(backbone, missing, config, state=state, progress=progress) if missing else []
    for result in results:
        if result.prompt is None:
            raise TuningError(
                result.job.label,
                expected="a finite loss",
                got=str(result.error),
                fix="Choose another origin",
            )
        kept[result.job.label] = result.prompt
        if places:
            save_prompt(result.prompt, places[result.job.label])
    return [kept[job.label] for job in jobs]


def _check_same(
    prompt: SoftPrompt, job: TuneJob, config: TuneConfig, backbone: Backbone, place: Path
) -> None:
    """Refuse a kept prompt that was tuned otherwise, on another backbone, or changed since."""
    made, tuned = prompt.provenance, prompt.provenance.tuning or {}
    at_home = made.fingerprint == backbone.space.fingerprint
    usual = {"origins": 1, "noise": 0.0, "rest": 0.0}
    asked = {
        "backbone": backbone.name,
        "task": job.task.name,
        "template": (job.template or job.task.template).text,
        "origin": job.origin.to_dict(),
        "length": job.length,
        "steps after tuning": 0,
        "origins": job.origins,
        "noise": job.noise_share,
        "rest": job.rest,
        "learning_rate": job.relative_lr * backbone.space.statistics.std,
        **config_dict(config),
    }
    del asked["batch_tokens"]  # memory, not results
    here = {name: tuned.get(name, usual.get(name)) for name in asked} | {
        "backbone": backbone.name if at_home else f"{made.backbone}, another",
        "task": made.task,
        "template": made.template,
        "origin": made.origin,
        "length": prompt.length,
        "steps after tuning": len(made.history),
    }
    if other := [name for name in asked if here[name] != asked[name]]:
        raise PromptPortError(
            str(place),
            expected=", ".join(f"{name} {asked[name]}" for name in other),
            got=", ".join(f"{name} {here[name]}" for name in other),
            fix="Ask as it was tuned, name another --out, or delete the folder",
        )
