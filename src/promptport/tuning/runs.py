"""Where each prompt of a run stands: its rows, its steps, its best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from promptport.backbone import Backbone
from promptport.objective import Objective, Prepared
from promptport.tasks import Row
from promptport.tuning.config import TuneConfig, TuneJob

_CURVE_EPOCHS = 40  # of a curve that a prompt remembers
_SAVED = (
    "step",
    "stopped",
    "error",
    "epoch_loss",
    "best",
    "best_epoch",
    "best_scores",
    "curve",
)


@dataclass(eq=False)
class TaskRows:
    """Rows of one task that are put to one backbone behind one prompt.

    Attributes:
        job: the task, and how its rows are drawn.
        objective: of the backbone.
        train: rows to learn from.
        dev: rows to choose the epoch by.
        start: first row of the prompt in the table of its backbone.
        table: number of that table among those of the parametrisation.
    """

    job: TuneJob
    objective: Objective
    train: Prepared
    dev: Prepared
    start: int
    table: int = 0
    _order: tuple[int, list[int]] = (-1, [])

    @property
    def rows(self) -> slice:
        """Of its prompt in the table."""
        return slice(self.start, self.start + self.job.length)

    def per_epoch(self, batch_size: int) -> int:
        """Steps of a pass over the training rows."""
        return math.ceil(len(self.train.questions) / batch_size)

    def next_rows(self, step: int, batch_size: int) -> list[int]:
        """Rows of a step: a function of seed and step alone, so that a run can resume."""
        epoch, place = divmod(step, self.per_epoch(batch_size))
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.job.seed * 100_003 + epoch)
            order = torch.randperm(len(self.train.questions), generator=generator).tolist()
            self._order = (epoch, order)
        return self._order[1][place * batch_size : (place + 1) * batch_size]


@dataclass(eq=False)
class PromptRun:
    """A prompt on its way, or prompts that share what is trained and stop together.

    Attributes:
        parts: the rows that it learns from; gradient and score are their mean.
        rate: learning rate.
        per_epoch: steps between two looks at the dev rows: a pass over the longest part, unless
            the configuration says how many.
        total: most steps.
        step: steps done.
        stopped: why it ended; None while it goes on.
        error: what went wrong.
        epoch_loss: sum of the losses of this epoch's steps.
        best: score and loss on dev of the best epoch.
        best_epoch: its number from 0, -1 before the first.
        best_scores: of each part in the best epoch.
        curve: per epoch (training loss, dev loss, dev score).
    """

    parts: tuple[TaskRows, ...]
    rate: float
    per_epoch: int
    total: int
    step: int = 0
    stopped: str | None = None
    error: str | None = None
    epoch_loss: float = 0.0
    best: tuple[float, float] = (-math.inf, math.inf)
    best_epoch: int = -1
    best_scores: tuple[float, ...] = ()
    curve: list[tuple[float, float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, parts: Sequence[TaskRows], rate: float, config: TuneConfig) -> PromptRun:
        """A run that has not begun."""
        a_pass = max(part.per_epoch(config.batch_size) for part in parts)
        total = min(config.epochs * a_pass, config.max_steps or math.inf)
        per_epoch = min(config.check or a_pass, total)
        return cls(tuple(parts), rate, int(per_epoch), int(total))

    @property
    def job(self) -> TuneJob:
        """That of the first part."""
        return self.parts[0].job

    @property
    def ends_epoch(self) -> bool:
        """Whether it is time to look at the dev rows."""
        return self.step % self.per_epoch == 0 or self.step == self.total

    def learning_rate(self, config: TuneConfig) -> float:
        """Of the next step."""
        warm = max(1, round(config.warmup * self.total))
        if self.step < warm:
            return self.rate * (self.step + 1) / warm
        if config.schedule == "constant":
            return self.rate
        return self.rate * (self.total - self.step) / max(1, self.total - warm)

    def note_epoch(self, scores: Sequence[float], losses: Sequence[float], patience: int) -> bool:
        """Whether the finished epoch is the best so far; also decides whether to go on.

        Args:
            scores: on dev, of each part.
            losses: on dev, of each part.
            patience: epochs without a better one after which it stops; 0 for never.
        """
        score, loss = sum(scores) / len(scores), sum(losses) / len(losses)
        epoch = len(self.curve)
        steps = self.step % self.per_epoch or self.per_epoch
        self.curve.append((self.epoch_loss / steps, loss, score))
        self.epoch_loss = 0.0
        if not math.isfinite(loss):
            self.fail(f"the dev loss is not finite after {self.step} steps")
            return False
        better = (score, -loss) > (self.best[0], -self.best[1])
        if better:
            self.best, self.best_epoch, self.best_scores = (score, loss), epoch, tuple(scores)
        if self.step >= self.total:
            self.stopped = "finished"
        elif patience and epoch - self.best_epoch >= patience:
            self.stopped = "no better dev score"
        return better

    def fail(self, reason: str) -> None:
        """Stop it."""
        self.stopped, self.error = "failed", reason

    def saved(self) -> dict[str, Any]:
        """Where it stands, as plain JSON values."""
        return {name: getattr(self, name) for name in _SAVED}

    def restore(self, values: dict[str, Any]) -> None:
        """Go on from where it stood; states of earlier versions lack some values."""
        known = self.saved() | values
        for name in _SAVED:
            setattr(self, name, known[name])
        self.best = (known["best"][0], known["best"][1])
        self.best_scores = tuple(known["best_scores"])
        self.curve = [(c[0], c[1], c[2]) for c in known["curve"]]
        if not self.stopped:
            self.stopped = "finished" if self.step >= self.total else None


class RowReader:
    """Lays out the rows of jobs, those of equal task, template and length once."""

    def __init__(self, backbone: Backbone, config: TuneConfig, table: int = 0) -> None:
        self.backbone, self.config, self.table = backbone, config, table
        self._known: dict[tuple[int, str, int], tuple[Objective, Prepared, Prepared]] = {}

    def rows(self, job: TuneJob, start: int) -> TaskRows:
        """Those of a job whose prompt begins at a row of the table."""
        template = job.template or job.task.template
        key = (id(job.task), template.text, job.length)
        if key not in self._known:
            objective = Objective(
                self.backbone, job.task, template, length=job.length, truncate=self.config.truncate
            )
            train = objective.prepare(_first(job.task.load("train"), self.config.max_train_rows))
            dev = objective.prepare(_first(job.task.load("dev"), self.config.max_dev_rows))
            self._known[key] = (objective, train, dev)
        return TaskRows(job, *self._known[key], start, self.table)


def _first(rows: tuple[Row, ...], limit: int) -> tuple[Row, ...]:
    return rows[:limit] if limit else rows


def written_curve(curve: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    """A curve as a prompt remembers it, in a kilobyte at most.

    Args:
        curve: see `PromptRun`.

    Returns:
        At most 40 epochs, the first and the last among them: number from 1, training loss, dev
        loss, dev score. What is not finite, as at the end of a run that failed, is left out.
    """
    last = len(curve) - 1
    count = min(len(curve), _CURVE_EPOCHS)
    places = dict.fromkeys(round(i * last / max(1, count - 1)) for i in range(count))
    rows = [[i + 1, *(float(f"{value:.4g}") for value in curve[i])] for i in places]
    return [row for row in rows if all(map(math.isfinite, row))]
