"""Joint tuning: one mixture of words tuned on several frozen backbones at once.

The weights `W` are shared, the prompt in backbone `b` is `W A_b`. What the backbones do not agree
on cannot be learned, so what is learned should hold for a backbone that was not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TaskError, TuningError
from promptport.mixture import Mixture
from promptport.objective import Objective
from promptport.parameters.mixtures import MixtureRows
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task, Template
from promptport.tuning.config import Progress, TuneConfig, TuneJob, refuse_unused
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
        found = self.prompts[0].mixture
        assert found is not None
        return found


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
        TuningError: fewer than two backbones, no jobs, a job that is not anchored, or a setting
            that is unknown here (clip, weight decay).
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
    loop = _JointLoop([as_backbone(b) for b in backbones], jobs, config, words)
    while loop.legs[0].active():
        loop.step()
        if progress is not None:
            progress(loop.progress())
    return [loop.result(i) for i in range(len(jobs))]


class _JointLoop:
    """One ordinary loop per backbone; the logits of their mixtures are one tensor."""

    def __init__(
        self,
        backbones: Sequence[Backbone],
        jobs: Sequence[TuneJob],
        config: TuneConfig,
        words: Sequence[str] | None,
    ) -> None:
        shared = set.intersection(*(set(b.space.words) for b in backbones))
        chosen = tuple(sorted(shared if words is None else shared & set(words)))
        jobs = [_joint_job(job, chosen) for job in jobs]
        asked = {(id(job.task), job.template): job.task for job in jobs}
        common = {
            (key, template): _common_rows(task, template, backbones, config)
            for (key, template), task in asked.items()
        }
        jobs = [replace(job, task=common[id(job.task), job.template]) for job in jobs]
        self.legs = [Trainer(backbone, jobs, config) for backbone in backbones]
        self.mixtures = [_mixtures(leg) for leg in self.legs]
        for own in self.mixtures[1:]:
            own.logits = self.mixtures[0].logits
        self.config = config
        self.best = [(-math.inf, math.inf)] * len(jobs)  # mean score, mean loss
        self.best_scores: list[tuple[float, ...]] = [()] * len(jobs)

    def step(self) -> None:
        """One update of every running mixture."""
        found = [leg.gradients(leg.active()) for leg in self.legs]
        for position, index in enumerate(self._running()):
            for leg, (losses, gradient) in zip(self.legs, found, strict=True):
                track = leg.tracks[index]
                own = gradient[track.rows]
                track.epoch_loss += losses[position]
                if not math.isfinite(losses[position]) or not bool(torch.isfinite(own).all()):
                    self._fail(index, f"not finite at step {track.step} in {leg.backbone.name}")
        lead = self.mixtures[0]
        total = torch.zeros_like(lead.logits)
        for leg, own_mixture, (_, gradient) in zip(self.legs, self.mixtures, found, strict=True):
            rates, active = leg.rates(leg.active())
            part: Tensor = own_mixture.chain(gradient, active)
            total += part.to(total.device)
        lead.update(total / len(self.legs), rates, active)
        for leg, own_mixture in zip(self.legs, self.mixtures, strict=True):
            leg.vectors[own_mixture.rows] = own_mixture.vectors()
        self._score()

    def _running(self) -> list[int]:
        return [i for i, track in enumerate(self.legs[0].tracks) if track.stopped is None]

    def _fail(self, index: int, reason: str) -> None:
        for leg in self.legs:
            leg.fail(leg.tracks[index], reason)

    def _score(self) -> None:
        """Score finished epochs in every backbone; all legs are told the mean."""
        due = [leg.due() for leg in self.legs]
        scores = [leg.dev_scores(tracks) for leg, tracks in zip(self.legs, due, strict=True)]
        for position, lead in enumerate(due[0]):
            index = self.legs[0].tracks.index(lead)
            own = [each[position] for each in scores]
            mean = sum(s for s, _ in own) / len(own), sum(loss for _, loss in own) / len(own)
            if (mean[0], -mean[1]) > (self.best[index][0], -self.best[index][1]):
                self.best[index] = mean
                self.best_scores[index] = tuple(s for s, _ in own)
            for leg in self.legs:
                leg.note_epoch(leg.tracks[index], *mean)

    def progress(self) -> Progress:
        return self.legs[0].progress()

    def result(self, index: int) -> JointResult:
        results = [leg.result(leg.tracks[index]) for leg in self.legs]
        names = [leg.backbone.name for leg in self.legs]
        scores = self.best_scores[index]
        prompts = tuple(
            _named(result.prompt, names, score)
            for result, score in zip(results, scores, strict=bool(scores))
            if result.prompt is not None
        )
        first = results[0]
        return JointResult(
            first.job, prompts, self.best_scores[index], first.steps, first.stopped, first.error
        )


def _named(prompt: SoftPrompt, backbones: Sequence[str], score: float) -> SoftPrompt:
    """The prompt with a record of what it was tuned together with, and of its own dev score."""
    tuning = dict(prompt.provenance.tuning or {})
    tuning |= {"mean_dev_score": tuning.get("dev_score"), "dev_score": score}
    tuning["jointly_on"] = list(backbones)
    return replace(prompt, provenance=replace(prompt.provenance, tuning=tuning))


def _mixtures(leg: Trainer) -> MixtureRows:
    assert leg.mixtures is not None
    return leg.mixtures


def _joint_job(job: TuneJob, words: tuple[str, ...]) -> TuneJob:
    if not job.anchored:
        raise TuningError(
            f"job {job.label}",
            expected="an origin of the kind mixture",
            got=job.origin.kind,
            fix="Only anchored prompts can be shared by backbones: use OriginSpec('mixture')",
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
