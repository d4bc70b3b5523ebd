"""The one tuning loop: many prompts against one frozen backbone, in the same batch.

Rows of all prompts (of any tasks, templates, lengths, seeds) stand side by side in one forward
pass. A prompt sees only its own rows, so each gradient is what it would be alone; each prompt has
its own optimiser state, schedule, early stopping and best checkpoint.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TuningError
from promptport.evaluation import (
    PromptedQuestion,
    evaluate_queries,
    score_batches,
)
from promptport.objective import Objective, Prepared
from promptport.parameters.mixtures import LOGIT_RATE, MixtureRows, mixture_words, starting_logits
from promptport.parameters.noise import draw, with_noise
from promptport.parameters.optimiser import RowAdam
from promptport.parameters.origin_offsets import OriginOffsets
from promptport.parameters.origins import make_origin
from promptport.prompt import Provenance, SoftPrompt
from promptport.tasks import Row
from promptport.tuning.checkpoint import StateFile, data_hash
from promptport.tuning.config import (
    Progress,
    TuneConfig,
    TuneJob,
    TuneResult,
    config_dict,
    refuse_unused,
)

ProgressCallback = Callable[[Progress], None]


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
    if not jobs:
        raise TuningError("jobs", expected="at least one", got="none", fix="Name a task")
    loop = Trainer(as_backbone(backbone), jobs, config or TuneConfig())
    file = StateFile(Path(state), loop.identity()) if state is not None else None
    if file is not None:
        loop.restore(file)
    saved = time.monotonic()
    while loop.active():
        scored = loop.step()
        if progress is not None:
            progress(loop.progress())
        if file is not None and (scored or time.monotonic() - saved > loop.config.save_seconds):
            loop.save(file)
            saved = time.monotonic()
    results = [loop.result(track) for track in loop.tracks]
    if save is not None:
        save(results)
    if file is not None:
        file.remove()
    return results


@dataclass
class PromptRun:
    """What the loop keeps of one job."""

    job: TuneJob
    objective: Objective
    train: Prepared
    dev: Prepared
    start: int
    rate: float
    total: int
    step: int = 0
    stopped: str | None = None
    error: str | None = None
    epoch_loss: float = 0.0
    best_epoch: int = -1
    best: tuple[float, float] = (-math.inf, math.inf)  # score, loss
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    _order: tuple[int, list[int]] = (-1, [])

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.job.length)

    def per_epoch(self, batch_size: int) -> int:
        return math.ceil(len(self.train.questions) / batch_size)

    def next_rows(self, batch_size: int) -> list[int]:
        """Rows of the next batch: a function of seed and step alone, so that a run can resume."""
        epoch, place = divmod(self.step, self.per_epoch(batch_size))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.job.seed * 100_003 + epoch)
            order = torch.randperm(len(self.train.questions), generator=generator).tolist()
            self._order = (epoch, order)
        return self._order[1][place * batch_size : (place + 1) * batch_size]


class Trainer:
    """The state of a run: all prompts, their optimiser and where each stands."""

    def __init__(self, backbone: Backbone, jobs: Sequence[TuneJob], config: TuneConfig) -> None:
        self.backbone = backbone
        self.config = config
        self._objectives: dict[tuple[int, str, int], tuple[Objective, Prepared, Prepared]] = {}
        origins = [make_origin(job.origin, backbone, job.length) for job in jobs]
        starts = [sum(job.length for job in jobs[:i]) for i in range(len(jobs))]
        self.origins = torch.cat(origins)
        self.vectors = self.origins.clone().to(backbone.device)
        self.shifts = OriginOffsets(backbone, jobs, starts)
        self.best = self.origins.clone()
        self.optimiser = RowAdam(self.vectors, config.weight_decay)
        self.mixtures = self._mixtures(jobs, starts)
        self.tracks = [self._track(job, start) for job, start in zip(jobs, starts, strict=True)]

    def _mixtures(self, jobs: Sequence[TuneJob], starts: Sequence[int]) -> MixtureRows | None:
        anchored = [(job, start) for job, start in zip(jobs, starts, strict=True) if job.anchored]
        if not anchored:
            return None
        refuse_unused(self.config, ("weight_decay",), "tuning of anchored prompts")
        space = self.backbone.space
        words = mixture_words(space, anchored[0][0].origin.words)
        if any(job.origin.words != anchored[0][0].origin.words for job, _ in anchored):
            raise TuningError(
                "words",
                expected="the same words for all anchored prompts of a run",
                got="different ones",
                fix="Tune them in runs of their own",
            )
        rows = [start + i for job, start in anchored for i in range(job.length)]
        logits = [starting_logits(len(words), job.length, job.origin.seed) for job, _ in anchored]
        spread = space.statistics.std
        rest = [
            [job.rest, job.relative_lr * spread / LOGIT_RATE]
            for job, _ in anchored
            for _ in range(job.length)
        ]
        return MixtureRows(
            space,
            words,
            torch.tensor(rows),
            torch.cat(logits),
            self.vectors.device,
            torch.tensor(rest),
        )

    def _track(self, job: TuneJob, start: int) -> PromptRun:
        template = job.template or job.task.template
        key = (id(job.task), template.text, job.length)
        if key not in self._objectives:
            objective = Objective(
                self.backbone, job.task, template, length=job.length, truncate=self.config.truncate
            )
            train = objective.prepare(_first(job.task.load("train"), self.config.max_train_rows))
            dev = objective.prepare(_first(job.task.load("dev"), self.config.max_dev_rows))
            self._objectives[key] = (objective, train, dev)
        objective, train, dev = self._objectives[key]
        spread = self.backbone.space.statistics.std
        usual = LOGIT_RATE if job.anchored else job.relative_lr * spread
        rate = usual if job.lr is None else job.lr
        steps = self.config.epochs * math.ceil(len(train.questions) / self.config.batch_size)
        return PromptRun(job, objective, train, dev, start, rate, steps)

    def active(self) -> list[PromptRun]:
        """Prompts that are still tuned."""
        return [track for track in self.tracks if track.stopped is None]

    def step(self) -> bool:
        """One update of every running prompt; True if any was scored on dev afterwards."""
        tracks = self.active()
        losses, gradient = self.gradients(tracks)
        for track, loss in zip(tracks, losses, strict=True):
            own = gradient[track.rows]
            if not math.isfinite(loss) or not bool(torch.isfinite(own).all()):
                self.fail(track, f"the loss or its gradient is not finite at step {track.step}")
                continue
            track.epoch_loss += loss
            if self.config.clip > 0:
                own.mul_((self.config.clip / own.norm().clamp_min(1e-12)).clamp_max(1.0))
        self._update(self.active(), gradient)
        return self._score_finished_epochs()

    def gradients(self, tracks: Sequence[PromptRun]) -> tuple[list[float], Tensor]:
        """Losses of the next batch of each prompt, and the gradient of all vectors (N, d)."""
        queries: list[PromptedQuestion] = []
        noises: list[Tensor | None] = []
        owners: list[int] = []
        weights: list[float] = []
        for owner, track in enumerate(tracks):
            rows = track.next_rows(self.config.batch_size)
            starts = self.shifts.draw(track.start, len(rows), track.job.seed, track.step)
            queries += [
                PromptedQuestion(track.objective, track.train.questions[i], start)
                for i, start in zip(rows, starts, strict=True)
            ]
            noises += self._noise(track, len(rows))
            owners += [owner] * len(rows)
            weights += [1 / len(rows)] * len(rows)
        leaf = self.vectors.detach().requires_grad_(True)
        share = torch.tensor(weights, device=leaf.device)
        losses = torch.zeros(len(tracks), device=leaf.device)
        owner_index = torch.tensor(owners, device=leaf.device)

        def noisy(places: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
            starts, own = [queries[i].start for i in places], [noises[i] for i in places]
            return with_noise(self.shifts.table(leaf), starts, own)

        tokens = self.config.batch_tokens
        for parts in score_batches(self.backbone, queries, noisy, batch_tokens=tokens):
            sums = []
            for scored in parts:
                loss = scored.losses() * share[scored.places]
                losses.index_add_(0, owner_index[scored.places], loss.detach())
                sums.append(loss.sum())
            torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        return losses.tolist(), leaf.grad

    def _noise(self, track: PromptRun, rows: int) -> Sequence[Tensor | None]:
        """For every row of the next batch of a prompt its noise (n, d), or None."""
        job = track.job
        if not job.noise_share:
            return [None] * rows
        shape = (job.length, self.vectors.shape[1])
        return draw(job.noise_share, rows, shape, job.seed, track.step).unbind()

    def rates(self, tracks: Sequence[PromptRun]) -> tuple[Tensor, Tensor]:
        """Learning rate of every row and whether it is in use, (N, 1) each; counts the step."""
        rates = torch.zeros(self.vectors.shape[0], 1, device=self.vectors.device)
        active = torch.zeros_like(rates, dtype=torch.bool)
        for track in tracks:
            rates[track.rows] = self._rate(track)
            active[track.rows] = True
            track.step += 1
        return rates, active

    def _update(self, tracks: Sequence[PromptRun], gradient: Tensor) -> None:
        rates, active = self.rates(tracks)
        if self.mixtures is not None:
            self.mixtures.step(gradient, rates, active)
            active[self.mixtures.rows] = False
        self.optimiser.step(gradient, rates, active)
        if self.mixtures is not None:
            self.vectors[self.mixtures.rows] = self.mixtures.vectors()

    def _rate(self, track: PromptRun) -> float:
        warm = max(1, round(self.config.warmup * track.total))
        if track.step < warm:
            return track.rate * (track.step + 1) / warm
        if self.config.schedule == "constant":
            return track.rate
        return track.rate * (track.total - track.step) / max(1, track.total - warm)

    def _score_finished_epochs(self) -> bool:
        due = self.due()
        for track, (score, loss) in zip(due, self.dev_scores(due), strict=True):
            self.note_epoch(track, score, loss)
        return bool(due)

    def due(self) -> list[PromptRun]:
        """Running prompts that have just finished an epoch."""
        size = self.config.batch_size
        return [t for t in self.active() if t.step % t.per_epoch(size) == 0]

    def dev_scores(self, due: Sequence[PromptRun]) -> list[tuple[float, float]]:
        """Score and loss on dev of some prompts."""
        if not due:
            return []
        queries = [
            PromptedQuestion(t.objective, question, start)
            for t in due
            for question, start in self.shifts.deal(t.start, t.dev.questions)
        ]
        table, tokens = self.shifts.table(self.vectors), self.config.batch_tokens
        outcome = evaluate_queries(self.backbone, queries, table, batch_tokens=tokens)
        first, scores = 0, []
        for track in due:
            part = outcome.part(range(first, first + len(track.dev.questions)))
            first += len(track.dev.questions)
            score = part.score(track.job.task.metric, resamples=1).value
            scores.append((score, part.mean_loss))
        return scores

    def note_epoch(self, track: PromptRun, score: float, loss: float) -> None:
        """Keep the prompt if it is the best so far, and decide whether to go on."""
        epoch = track.step // track.per_epoch(self.config.batch_size) - 1
        train_loss = track.epoch_loss / track.per_epoch(self.config.batch_size)
        track.curve.append((train_loss, loss, score))
        track.epoch_loss = 0.0
        if not math.isfinite(loss):
            self.fail(track, f"the dev loss is not finite after epoch {epoch + 1}")
            return
        if (score, -loss) > (track.best[0], -track.best[1]):
            track.best, track.best_epoch = (score, loss), epoch
            self.best[track.rows] = self.vectors[track.rows].cpu()
            if track.job.anchored and self.mixtures is not None:
                self.mixtures.keep_best(track.start, track.job.length)
        if track.step >= track.total:
            track.stopped = "finished"
        elif self.config.patience and epoch - track.best_epoch >= self.config.patience:
            track.stopped = "no better dev score"

    @staticmethod
    def fail(track: PromptRun, reason: str) -> None:
        """Stop one prompt."""
        track.stopped, track.error = "failed", reason

    def progress(self) -> Progress:
        """Where the run stands."""
        return Progress(
            max(t.step for t in self.tracks),
            max(t.total for t in self.tracks),
            len(self.active()),
            tuple(t.best[0] if t.best_epoch >= 0 else None for t in self.tracks),
        )

    def result(self, track: PromptRun) -> TuneResult:
        """What became of a prompt."""
        prompt = None if track.best_epoch < 0 else self.prompt(track)
        return TuneResult(
            track.job,
            prompt,
            track.best[0],
            track.best[1],
            track.step,
            len(track.curve),
            track.stopped or "finished",
            track.error,
            tuple(track.curve),
            track.train.skipped,
        )

    def prompt(self, track: PromptRun) -> SoftPrompt:
        """The best prompt of a track so far, with its record."""
        backbone, job = self.backbone, track.job
        provenance = Provenance(
            backbone=backbone.name,
            kind=backbone.kind,
            revision=backbone.revision,
            fingerprint=backbone.space.fingerprint,
            template=track.objective.template.text,
            task=job.task.name,
            origin=job.origin.to_dict(),
            tuning={
                **config_dict(self.config),
                "seed": job.seed,
                "learning_rate": track.rate,
                "steps": track.step,
                "best_epoch": track.best_epoch + 1,
                "metric": job.task.metric,
                "dev_score": track.best[0],
                "dev_loss": track.best[1],
                **({} if job.origins == 1 else {"origins": job.origins}),
                **({} if not job.noise_share else {"noise": job.noise_share}),
                **({} if not job.rest else {"rest": job.rest}),
                "train_rows": len(track.train.questions),
                "skipped_rows": track.train.skipped,
                "version": __version__,
            },
        )
        mixture = None
        if job.anchored and self.mixtures is not None:
            mixture = self.mixtures.mixture(track.start, job.length)
        return SoftPrompt(self.best[track.rows], provenance, self.origins[track.rows], mixture)

    def identity(self) -> dict[str, object]:
        """What a saved state must agree with to be continued."""
        data = {  # many prompts, few tasks
            id(t.train): data_hash(t.job.task, t.train.questions, t.dev.questions)
            for t in self.tracks
        }
        return {
            "backbone": self.backbone.space.fingerprint,
            "precision": [str(self.backbone.dtype), self.backbone.device.type],
            "jobs": [track.job.describe() for track in self.tracks],
            "origins": hashlib.sha256(self.origins.numpy().tobytes()).hexdigest(),
            "data": [data[id(t.train)] for t in self.tracks],
            "config": config_dict(self.config),
        }

    def save(self, file: StateFile) -> None:
        """Keep everything that the rest of the run depends on."""
        tracks = [
            {
                "step": t.step,
                "stopped": t.stopped,
                "error": t.error,
                "best": list(t.best),
                "epoch_loss": t.epoch_loss,
                "best_epoch": t.best_epoch,
                "curve": t.curve,
            }
            for t in self.tracks
        ]
        file.write(self._tensors(), tracks)

    def _tensors(self) -> dict[str, Tensor]:
        own = {
            "vectors": self.vectors,
            "best": self.best,
            "first": self.optimiser.first,
            "second": self.optimiser.second,
            "updates": self.optimiser.updates,
        }
        return own if self.mixtures is None else {**own, **self.mixtures.tensors()}

    def restore(self, file: StateFile) -> None:
        """Go on from a saved state, if there is one."""
        found = file.read()
        if found is None:
            return
        tensors, tracks = found
        for name, tensor in self._tensors().items():
            tensor.copy_(tensors[name])
        for track, values in zip(self.tracks, tracks, strict=True):
            track.step, track.stopped = values["step"], values["stopped"]
            track.error, track.epoch_loss = values["error"], values["epoch_loss"]
            track.best_epoch = values["best_epoch"]
            track.best = (values["best"][0], values["best"][1])
            track.curve = [(c[0], c[1], c[2]) for c in values["curve"]]


def _first(rows: tuple[Row, ...], limit: int) -> tuple[Row, ...]:
    return rows[:limit] if limit else rows
