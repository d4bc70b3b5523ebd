"""Tuning of prompts by themselves: each for its task, many in the same batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TuningError
from promptport.parameters.mixtures import (
    LOGIT_RATE,
    PromptRows,
    WordMixtures,
    mixture_words,
    starting_logits,
)
from promptport.parameters.origins import make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tuning.checkpoint import StateFile, data_hash, run_to_the_end
from promptport.tuning.config import TuneConfig, TuneJob, TuneResult, config_dict, refuse_unused
from promptport.tuning.runs import PromptRun, RowReader, written_curve
from promptport.tuning.trainer import ProgressCallback, Trainer


def tune(
    backbone: BackboneLike,
    jobs: Sequence[TuneJob],
    config: TuneConfig | None = None,
    *,
    state: str | Path | None = None,
    save: Callable[[Sequence[TuneResult]], object] | None = None,
    progress: ProgressCallback | None = None,
) -> list[TuneResult]:
    """Tune prompts against one backbone.

    Args:
        backbone: the frozen model.
        jobs: one per prompt.
        config: settings that all share.
        state: file that keeps an unfinished run; a run with the same jobs goes on from it, to the
            same result as if it had never stopped. Removed at the end.
        save: called with the results before the state is removed: if it fails, the same call goes
            on from there.
        progress: called after every step.

    Returns:
        One result per job, in order. A job whose loss or gradient is not finite fails alone.

    Raises:
        TuningError: no jobs, or a state file of other jobs.
        TaskError: data or templates that do not fit.
    """
    given: object = jobs  # a task, or its name, is an easy slip
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TuningError(
            "jobs",
            expected="a list of TuneJob",
            got=type(given).__name__,
            fix="Write tune(backbone, [TuneJob(task)])",
        )
    if not jobs:
        raise TuningError("jobs", expected="at least one", got="none", fix="Name a task")
    prompts = IndependentPrompts(as_backbone(backbone), jobs, config or TuneConfig())
    trainer = prompts.trainer
    file = None if state is None else StateFile(Path(state), prompts.identity())

    def tell() -> None:
        if progress is not None:
            progress(trainer.progress())

    run_to_the_end(trainer, tell, file, trainer.config.save_seconds)
    results = [prompts.result(run) for run in trainer.runs]
    if save is not None:
        save(results)
    if file is not None:
        file.remove()
    return results


class IndependentPrompts:
    """Jobs whose prompts share nothing but the backbone and the batches.

    Attributes:
        trainer: of all of them.
    """

    def __init__(self, backbone: Backbone, jobs: Sequence[TuneJob], config: TuneConfig) -> None:
        self.backbone = backbone
        starts = [sum(job.length for job in jobs[:i]) for i in range(len(jobs))]
        origins = origins_of(backbone, jobs)
        self.mixtures = mixtures_of(backbone, jobs, starts, config)
        vectors = origins.clone().to(backbone.device)
        self.parameters = PromptRows(vectors, self.mixtures, config.weight_decay)
        reader = RowReader(backbone, config)
        runs = [
            PromptRun.of([reader.rows(job, start)], rate_of(job, backbone), config)
            for job, start in zip(jobs, starts, strict=True)
        ]
        self.trainer = Trainer([backbone], self.parameters, runs, [origins], config)

    def result(self, run: PromptRun) -> TuneResult:
        """What became of a prompt."""
        return TuneResult(
            run.job,
            None if run.best_epoch < 0 else self._prompt(run),
            run.best[0],
            run.best[1],
            run.step,
            len(run.curve),
            run.stopped or "finished",
            run.error,
            tuple(run.curve),
            run.parts[0].train.skipped,
        )

    def _prompt(self, run: PromptRun) -> SoftPrompt:
        rows, mixture = run.parts[0].rows, None
        if run.job.is_mixture and self.mixtures is not None:
            mixture = self.mixtures.mixture(rows)
        provenance = provenance_of(run, self.trainer.config)
        vectors, origin = self.trainer.best[0][rows], self.trainer.origins[0][rows]
        return SoftPrompt(vectors, provenance, origin, mixture)

    def identity(self) -> dict[str, object]:
        """What a saved state must agree with to be continued."""
        parts = [run.parts[0] for run in self.trainer.runs]
        data = {  # many prompts, few tasks
            id(p.train): data_hash(p.job.task, p.train.questions, p.dev.questions) for p in parts
        }
        return {
            "backbone": self.backbone.space.fingerprint,
            "precision": [str(self.backbone.dtype), self.backbone.device.type],
            "jobs": [part.job.describe() for part in parts],
            "origins": hashlib.sha256(self.trainer.origins[0].numpy().tobytes()).hexdigest(),
            "data": [data[id(part.train)] for part in parts],
            "config": config_dict(self.trainer.config),
        }


def origins_of(backbone: Backbone, jobs: Sequence[TuneJob]) -> Tensor:
    """(N, d) of all jobs, one below the other, on the CPU."""
    return torch.cat([make_origin(job.origin, backbone, job.length) for job in jobs])


def rate_of(job: TuneJob, backbone: Backbone) -> float:
    """Learning rate of a job in a backbone."""
    if job.lr is not None:
        return job.lr
    return LOGIT_RATE if job.is_mixture else job.relative_lr * backbone.space.statistics.std


def mixtures_of(
    backbone: Backbone, jobs: Sequence[TuneJob], starts: Sequence[int], config: TuneConfig
) -> WordMixtures | None:
    """What the mixture prompts among some jobs start from; None without any.

    Args:
        backbone: the frozen model.
        jobs: of all prompts of a table.
        starts: first row of each in the table.
        config: settings that all share.

    Raises:
        TuningError: jobs that mix different words, or weight decay.
        AnchorError: too few words.
    """
    mixed = [(job, start) for job, start in zip(jobs, starts, strict=True) if job.is_mixture]
    if not mixed:
        return None
    refuse_unused(config, ("weight_decay",), "tuning of mixture prompts")
    space, first = backbone.space, mixed[0][0]
    words = mixture_words(space, first.origin.words)
    if any(job.origin.words != first.origin.words for job, _ in mixed):
        raise TuningError(
            "words",
            expected="the same words for all mixture prompts of a run",
            got="different ones",
            fix="Tune them in runs of their own",
        )
    rows = [start + i for job, start in mixed for i in range(job.length)]
    logits = [starting_logits(len(words), job.length, job.origin.seed) for job, _ in mixed]
    spread = space.statistics.std
    rest = [
        [job.rest, job.relative_lr * spread / LOGIT_RATE]
        for job, _ in mixed
        for _ in range(job.length)
    ]
    return WordMixtures(
        space,
        words,
        torch.cat(logits),
        backbone.device,
        rows=torch.tensor(rows),
        rest=torch.tensor(rest),
    )


def provenance_of(run: PromptRun, config: TuneConfig, part: int = 0) -> Provenance:
    """The record of the best prompt of a run so far, as one of its parts has it."""
    own = run.parts[part]
    job, backbone = own.job, own.objective.backbone
    tuning = {
        **config_dict(config),
        "seed": job.seed,
        "learning_rate": run.rate,
        "steps": run.step,
        "best_epoch": run.best_epoch + 1,
        "metric": job.task.metric,
        "dev_score": run.best[0],
        "dev_loss": run.best[1],
        **({} if job.origins == 1 else {"origins": job.origins}),
        **({} if not job.noise_share else {"noise": job.noise_share}),
        **({} if not job.rest else {"rest": job.rest}),
        "train_rows": len(own.train.questions),
        "dev_rows": len(own.dev.questions),
        "skipped_rows": own.train.skipped,
        "curve": written_curve(run.curve),
        "version": __version__,
    }
    return Provenance(
        backbone=backbone.name,
        kind=backbone.kind,
        revision=backbone.revision,
        fingerprint=backbone.space.fingerprint,
        template=own.objective.template.text,
        task=job.task.name,
        origin=job.origin.to_dict(),
        tuning=tuning,
        file=backbone.space.file_record,
    )
