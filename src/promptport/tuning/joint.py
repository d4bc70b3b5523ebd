"""Joint tuning: one mixture of words tuned on several frozen backbones at once.

The weights `W` are shared, the prompt in backbone `b` is `W A_b`. What the backbones do not agree
on cannot be learned, so what is learned should hold for a backbone that was not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TaskError, TuningError
from promptport.mixture import Mixture
from promptport.objective import Objective
from promptport.parameters.mixtures import SharedMixtures
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task, Template
from promptport.tuning.checkpoint import run_to_the_end
from promptport.tuning.config import TuneConfig, TuneJob, refuse_unused
from promptport.tuning.independent import mixtures_of, origins_of, provenance_of, rate_of
from promptport.tuning.runs import PromptRun, RowReader
from promptport.tuning.trainer import ProgressCallback, Trainer


@dataclass(frozen=True)
class JointResult:
    """What became of one job.

    Attributes:
        job: the job.
        prompts: one ordinary prompt per backbone, in their order, all of the same mixture; empty
            if the job failed.
        dev_scores: of the best epoch, per backbone.
        steps: steps that were run.
        stopped: `finished`, `no better dev score`, or `failed`.
        error: why it failed.
    """

    job: TuneJob
    prompts: tuple[SoftPrompt, ...]
    dev_scores: tuple[float, ...]
    steps: int
    stopped: str
    error: str | None

    @property
    def mixture(self) -> Mixture:
        """The shared weights."""
        shared = self.prompts[0].mixture
        assert shared is not None
        return shared


def tune_jointly(
    backbones: Sequence[BackboneLike],
    jobs: Sequence[TuneJob],
    config: TuneConfig | None = None,
    *,
    words: Sequence[str] | None = None,
    progress: ProgressCallback | None = None,
) -> list[JointResult]:
    """Tune one mixture per job on several backbones at once.

    Every step takes the same rows in all backbones and moves the weights along the mean of the
    gradients; the epoch with the best mean dev score is kept. Rows of a probe whose object is not
    a single token everywhere are left out.

    Args:
        backbones: two or more frozen models.
        jobs: one per prompt; origins of the kind `mixture`.
        config: settings that all share.
        words: mix only these (for instance those of a later target); None for all that the
            backbones share.
        progress: called after every step.

    Returns:
        One result per job, in order.

    Raises:
        TuningError: fewer than two backbones, no jobs, a job whose origin is no mixture, or a
            setting that is unknown here (clip, weight decay).
        TaskError: data or templates that do not fit one of the backbones.
        AnchorError: the backbones share no words.
    """
    if len(backbones) < 2 or not jobs:
        raise TuningError(
            "joint tuning",
            expected="two backbones or more, and one job or more",
            got=f"{len(backbones)} and {len(jobs)}",
            fix="Name another backbone, or use tune for a single one",
        )
    config = config or TuneConfig()
    refuse_unused(config, ("clip", "weight_decay"), "joint tuning")
    models = [as_backbone(backbone) for backbone in backbones]
    shared = set.intersection(*(set(model.space.words) for model in models))
    chosen = tuple(sorted(shared if words is None else shared & set(words)))
    joint = _JointPrompts(models, _with_common_rows(models, jobs, config, chosen), config)

    def tell() -> None:
        if progress is not None:
            progress(joint.trainer.progress())

    run_to_the_end(joint.trainer, tell, label="tuning jointly")
    return [joint.result(run) for run in joint.trainer.runs]


class _JointPrompts:
    """Jobs whose prompts are one mixture in all backbones, one table for each."""

    def __init__(
        self, backbones: Sequence[Backbone], jobs: Sequence[TuneJob], config: TuneConfig
    ) -> None:
        starts = [sum(job.length for job in jobs[:i]) for i in range(len(jobs))]
        made = [mixtures_of(backbone, jobs, starts, config) for backbone in backbones]
        self.mixtures = SharedMixtures([own for own in made if own is not None])
        origins = [origins_of(backbone, jobs) for backbone in backbones]
        readers = [RowReader(backbone, config, i) for i, backbone in enumerate(backbones)]
        runs = [
            PromptRun.of(
                [reader.rows(job, start) for reader in readers],
                rate_of(job, backbones[0]),
                config,
            )
            for job, start in zip(jobs, starts, strict=True)
        ]
        self.trainer = Trainer(backbones, self.mixtures, runs, origins, config)

    def result(self, run: PromptRun) -> JointResult:
        """What became of a job."""
        prompts: list[SoftPrompt] = []
        if run.best_epoch >= 0:
            prompts = [self._prompt(run, number) for number in range(len(run.parts))]
        stopped = run.stopped or "finished"
        return JointResult(run.job, tuple(prompts), run.best_scores, run.step, stopped, run.error)

    def _prompt(self, run: PromptRun, number: int) -> SoftPrompt:
        """In one backbone, with a record of the others and of its own dev score."""
        part = run.parts[number]
        provenance = provenance_of(run, self.trainer.config, number)
        tuning = dict(provenance.tuning or {})
        tuning |= {"mean_dev_score": tuning["dev_score"], "dev_score": run.best_scores[number]}
        tuning["jointly_on"] = [backbone.name for backbone in self.trainer.backbones]
        return SoftPrompt(
            self.trainer.best[number][part.rows],
            replace(provenance, tuning=tuning),
            self.trainer.origins[number][part.rows],
            self.mixtures.mixtures[0].mixture(part.rows),
        )


def _with_common_rows(
    backbones: Sequence[Backbone],
    jobs: Sequence[TuneJob],
    config: TuneConfig,
    words: tuple[str, ...],
) -> list[TuneJob]:
    """The jobs with these words, and with tasks whose rows can be asked of every backbone."""
    jobs = [_joint_job(job, words) for job in jobs]
    asked = {(id(job.task), job.template): job.task for job in jobs}
    common = {
        (key, template): _common_rows(task, template, backbones, config)
        for (key, template), task in asked.items()
    }
    return [replace(job, task=common[id(job.task), job.template]) for job in jobs]


def _joint_job(job: TuneJob, words: tuple[str, ...]) -> TuneJob:
    if not job.is_mixture:
        raise TuningError(
            f"job {job.label}",
            expected="an origin of the kind mixture",
            got=job.origin.kind,
            fix="Only mixture prompts can be shared by backbones: use OriginSpec('mixture')",
        )
    if job.rest:
        raise TuningError(
            f"job {job.label}",
            expected="a mixture without a rest",
            got=f"rest={job.rest}",
            fix="What is added to the words belongs to one backbone: leave it out",
        )
    return replace(job, origin=replace(job.origin, words=words))


def _common_rows(
    task: Task, template: Template | None, backbones: Sequence[Backbone], config: TuneConfig
) -> Task:
    """The task with the rows that can be asked of every backbone."""
    objectives = [Objective(b, task, template, truncate=config.truncate) for b in backbones]
    limits = {"train": config.max_train_rows, "dev": config.max_dev_rows}
    parts: dict[str, tuple[Row, ...]] = {}
    for split, limit in limits.items():
        rows = task.load(split)[: limit or None]
        parts[split] = tuple(r for r in rows if all(o.can_ask(r) for o in objectives))
        if not parts[split]:
            raise TaskError(
                f"task {task.name!r}, {split}",
                expected="rows whose object is a single token of every backbone",
                got=f"none of {len(rows)}",
                fix="Tune on other backbones, or each alone",
            )
    return task.with_rows(**parts)
