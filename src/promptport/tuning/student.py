"""What learns from a lesson: free vectors, or a mixture of words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
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

    Several lessons count alike, however many questions they have and however sure their teachers
    are: batches draw from them in turn, shorter ones are read again, and each loss is divided by
    its lesson's `unit`. An epoch is a pass over the longest.

    Args:
        student: starts where its vectors are.
        lessons: one or more.
        config: budget and rates.
        progress: called with (steps done, steps in all).

    Returns:
        The best vectors (L, d) on the held-back rows, and the fields of a `DistilResult`.

    Raises:
        TuningError: a loss that is no finite number.
    """
    tests: list[list[_Place]] = []
    trained: list[list[_Place]] = []
    for number, lesson in enumerate(lessons):
        held = lesson.held_back(config)
        tests.append([(number, i) for i in range(held)])
        trained.append([(number, i) for i in range(held, len(lesson.questions))])
    floors = [
        entropy(lesson.answers[: len(own)]) for lesson, own in zip(lessons, tests, strict=True)
    ]
    own_units = [lesson.unit for lesson in lessons]
    # A single loss need not be weighed against others, and Adam does not see its scale.
    units = own_units if len(lessons) > 1 else [1.0]
    before = _losses(student, lessons, tests)
    best, best_epoch, steps = student.vectors.cpu().clone(), 0, 0
    after, best_value = before, fmean(_missed(before, floors, units))
    student.keep()
    per_epoch = math.ceil(len(lessons) * max(map(len, trained)) / config.batch_size)
    total = per_epoch * config.epochs
    if config.steps:
        total = min(total, config.steps * len(lessons))
    for epoch in range(1, math.ceil(total / per_epoch) + 1):
        order = _in_turn(trained, config.seed * 100_003 + epoch)
        for first in range(0, len(order), config.batch_size):
            if steps == total:
                break
            rows = order[first : first + config.batch_size]
            student.step(_gradient(student, lessons, units, rows, config.seed, steps))
            steps += 1
            if progress is not None:
                progress(steps, total)
        found = _losses(student, lessons, tests)
        value = fmean(_missed(found, floors, units))
        if not math.isfinite(value):
            raise TuningError(
                "loss", expected="a finite number", got=str(value), fix="Lower the learning rate"
            )
        if value < best_value:
            best, best_epoch = student.vectors.cpu().clone(), epoch
            after, best_value = found, value
            student.keep()
        elif epoch - best_epoch >= config.patience:
            break
    return best, {
        "before": fmean(before),
        "after": fmean(after),
        "floor": fmean(floors),
        "missed": _missed(after, floors, own_units),
        "rows": sum(map(len, tests)) + sum(map(len, trained)),
        "steps": steps,
    }


def _in_turn(pools: Sequence[Sequence[_Place]], seed: int) -> list[_Place]:
    """All places in a seeded order, one of each pool in turn; shorter pools begin again."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(map(len, pools))
    orders = []
    for pool in pools:
        order: list[int] = []
        while len(order) < longest:
            order += torch.randperm(len(pool), generator=generator).tolist()
        orders.append([pool[i] for i in order[:longest]])
    return [place for turn in zip(*orders, strict=True) for place in turn]


def _missed(
    losses: Sequence[float], floors: Sequence[float], units: Sequence[float]
) -> list[float]:
    """How far a student's answers are from the teacher's, of each lesson in its unit."""
    return [(loss - f) / unit for loss, f, unit in zip(losses, floors, units, strict=True)]


def _gradient(
    student: Student,
    lessons: Sequence[Lesson],
    units: Sequence[float],
    rows: Sequence[_Place],
    seed: int,
    step: int,
) -> Tensor:
    leaf = student.vectors.detach().requires_grad_(True)
    noises: Sequence[Tensor | None] = [None] * len(rows)
    if student.noise:
        shape = (leaf.shape[0], leaf.shape[1])
        noises = draw(student.noise, len(rows), shape, seed, step).unbind()
    table, starts = with_noise(leaf, [0] * len(rows), noises)
    found = losses(lessons, rows, table, starts)
    total = torch.stack([loss / units[number] for number, loss in found]).sum() / len(rows)
    total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


@torch.no_grad()
def _losses(
    student: Student, lessons: Sequence[Lesson], tests: Sequence[Sequence[_Place]]
) -> list[float]:
    """Mean loss of each lesson, in nats."""
    return [
        sum(float(x) for _, x in losses(lessons, own, student.vectors, [0] * len(own))) / len(own)
        for own in tests
    ]


def losses(
    lessons: Sequence[Lesson], rows: Sequence[_Place], table: Tensor, starts: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """(Number of a lesson, sum of its losses in nats, 0-dimensional) of batches, each of rows of
    one lesson."""
    for number, lesson in enumerate(lessons):
        own = [(i, start) for (n, i), start in zip(rows, starts, strict=True) if n == number]
        questions = [lesson.questions[i] for i, _ in own]
        asked = scores_of(lesson.objective, questions, table, [start for _, start in own])
        for places, scores in asked:
            yield number, lesson.losses(scores, [own[i][0] for i in places]).sum()
