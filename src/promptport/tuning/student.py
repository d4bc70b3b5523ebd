"""What learns from a lesson: free vectors, or a mixture of words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.tuning.lesson import DistilConfig, Lesson, entropy, scores_of
from promptport.tuning.mixtures import MixtureRows
from promptport.tuning.noise import draw, with_noise
from promptport.tuning.optimiser import RowAdam


class FreeStudent:
    """Free vectors."""

    noise = 0.0

    def __init__(self, vectors: Tensor, backbone: Backbone, rate: float) -> None:
        self.vectors = vectors.clone().to(backbone.device)
        self._optimiser = RowAdam(self.vectors)
        self._rates = torch.full((len(vectors), 1), rate, device=backbone.device)
        self._active = torch.ones_like(self._rates, dtype=torch.bool)

    def step(self, gradient: Tensor) -> None:
        self._optimiser.step(gradient, self._rates, self._active)

    def keep(self) -> None:
        """Nothing beside the vectors."""


class MixedStudent:
    """A mixture of words, learned under noise (`TuneJob.noise`)."""

    def __init__(self, mixture: MixtureRows, rate: float, noise: float) -> None:
        self.mixture, self.noise = mixture, noise
        self.vectors = mixture.vectors()
        self._rates = torch.full((len(self.vectors), 1), rate, device=self.vectors.device)
        self._active = torch.ones_like(self._rates, dtype=torch.bool)

    def step(self, gradient: Tensor) -> None:
        self.mixture.step(gradient, self._rates, self._active)
        self.vectors = self.mixture.vectors()

    def keep(self) -> None:
        self.mixture.keep_best(0, len(self.vectors))


Student = FreeStudent | MixedStudent
_Place = tuple[int, int]  # number of the lesson, and of its question


def learn(
    student: Student,
    lessons: Sequence[Lesson],
    config: DistilConfig,
    progress: Callable[[int, int], None] | None,
) -> tuple[Tensor, dict[str, Any]]:
    """Move a student until its answers on held-back rows get no closer.

    Args:
        student: starts where its vectors are.
        lessons: one or more; every batch is drawn from all of them.
        config: budget and rates.
        progress: called with (steps done, steps in all).

    Returns:
        The best vectors (L, d) on the held-back rows, and the fields of a `DistilResult`.

    Raises:
        TuningError: a loss that is no finite number.
    """
    tests: list[_Place] = []
    trained: list[_Place] = []
    for number, lesson in enumerate(lessons):
        held = lesson.held_back(config)
        tests += [(number, i) for i in range(held)]
        trained += [(number, i) for i in range(held, len(lesson.questions))]
    before = best_loss = _loss(student, lessons, tests)
    best, best_epoch, steps = student.vectors.cpu().clone(), 0, 0
    student.keep()
    per_epoch = math.ceil(len(trained) / config.batch_size)
    for epoch in range(1, config.epochs + 1):
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randperm(len(trained), generator=generator).tolist()
        for first in range(0, len(order), config.batch_size):
            rows = [trained[i] for i in order[first : first + config.batch_size]]
            student.step(_gradient(student, lessons, rows, config.seed, steps))
            steps += 1
            if progress is not None:
                progress(steps, per_epoch * config.epochs)
        loss = _loss(student, lessons, tests)
        if not math.isfinite(loss):
            raise TuningError(
                "loss", expected="a finite number", got=str(loss), fix="Lower the learning rate"
            )
        if loss < best_loss:
            best, best_loss, best_epoch = student.vectors.cpu().clone(), loss, epoch
            student.keep()
        elif epoch - best_epoch >= config.patience:
            break
    floors = [entropy(lessons[number].answers[i : i + 1]) for number, i in tests]
    return best, {
        "before": before,
        "after": best_loss,
        "floor": sum(floors) / len(floors),
        "rows": len(tests) + len(trained),
        "steps": steps,
    }


def _gradient(
    student: Student, lessons: Sequence[Lesson], rows: Sequence[_Place], seed: int, step: int
) -> Tensor:
    leaf = student.vectors.detach().requires_grad_(True)
    noises: Sequence[Tensor | None] = [None] * len(rows)
    if student.noise:
        shape = (leaf.shape[0], leaf.shape[1])
        noises = draw(student.noise, len(rows), shape, seed, step).unbind()
    table, starts = with_noise(leaf, [0] * len(rows), noises)
    total = torch.stack(list(losses(lessons, rows, table, starts))).sum() / len(rows)
    total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


@torch.no_grad()
def _loss(student: Student, lessons: Sequence[Lesson], rows: Sequence[_Place]) -> float:
    starts = [0] * len(rows)
    return sum(float(x) for x in losses(lessons, rows, student.vectors, starts)) / len(rows)


def losses(
    lessons: Sequence[Lesson], rows: Sequence[_Place], table: Tensor, starts: Sequence[int]
) -> Iterator[Tensor]:
    """Sums of losses over batches, each of rows of one lesson."""
    for number, lesson in enumerate(lessons):
        own = [(i, start) for (n, i), start in zip(rows, starts, strict=True) if n == number]
        questions = [lesson.questions[i] for i, _ in own]
        asked = scores_of(lesson.objective, questions, table, [start for _, start in own])
        for places, scores in asked:
            yield lesson.losses(scores, [own[i][0] for i in places]).sum()
