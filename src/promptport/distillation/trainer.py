"""What learns from a lesson: free vectors, on one origin or on many, or a mixture of words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.distillation.targets import DistillConfig, DistillTargets, entropy
from promptport.errors import TuningError
from promptport.evaluation import PromptedQuestion, score_questions
from promptport.parameters.mixtures import MixtureRows
from promptport.parameters.noise import draw, with_noise
from promptport.parameters.optimiser import RowAdam


class FreeStudent:
    """Free vectors, and if asked their running mean: steps on few rows are noisy.

    Attributes:
        vectors: (n, d), after the latest step.
        mean: (n, d), weighed by (1 - 1 / `average`) to the power of how many steps ago they were;
            None without `average`.
    """

    def __init__(self, vectors: Tensor, backbone: Backbone, rate: float, average: int = 0) -> None:
        self.vectors = vectors.clone().to(backbone.device)
        self.mean = self.vectors.clone() if average else None
        self._average = average
        self._optimiser = RowAdam(self.vectors)
        self._rates = torch.full((len(vectors), 1), rate, device=backbone.device)
        self._active = torch.ones_like(self._rates, dtype=torch.bool)

    def step(self, gradient: Tensor) -> None:
        self._optimiser.step(gradient, self._rates, self._active)
        if self.mean is not None:
            self.mean.lerp_(self.vectors, 1 / self._average)

    def taught(self, leaf: Tensor, rows: int, seed: int, step: int) -> tuple[Tensor, list[int]]:
        """A table (N, d) with the prompts of the rows of a step, and for each row where its own
        begins: a function of seed and step alone."""
        return leaf, [0] * rows

    def tested(self, vectors: Tensor, rows: int) -> tuple[Tensor, list[int]]:
        """The same for rows that are held back."""
        return vectors, [0] * rows

    def keep(self) -> None:
        """Nothing beside the vectors."""


class OffsetStudent(FreeStudent):
    """Free vectors that are asked on many origins: `P_i = P + (O_i - O)`, so that what is learned
    is one task prompt vector `P - O` for all of them.

    Args:
        vectors: (n, d) on their own origin O.
        backbone: the frozen model.
        rate: of Adam.
        average: as for `FreeStudent`.
        shifts: (k, n, d), `O_i - O` of the origins that are learned from; O itself has a 0.
        unseen: (u, n, d), likewise, of those that held-back rows are asked on.
    """

    def __init__(
        self,
        vectors: Tensor,
        backbone: Backbone,
        rate: float,
        average: int,
        shifts: Tensor,
        unseen: Tensor,
    ) -> None:
        super().__init__(vectors, backbone, rate, average)
        self._shifts, self._unseen = shifts.to(backbone.device), unseen.to(backbone.device)

    def taught(self, leaf: Tensor, rows: int, seed: int, step: int) -> tuple[Tensor, list[int]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = torch.randint(len(self._shifts), (rows,), generator=generator)
        return (leaf + self._shifts[drawn]).flatten(0, 1), [i * len(leaf) for i in range(rows)]

    def tested(self, vectors: Tensor, rows: int) -> tuple[Tensor, list[int]]:
        turns = [i % len(self._unseen) * len(vectors) for i in range(rows)]
        return (vectors + self._unseen).flatten(0, 1), turns


class MixedStudent:
    """A mixture of words, learned under noise (`TuneJob.noise`)."""

    mean = None

    def __init__(self, mixture: MixtureRows, rate: float, noise: float) -> None:
        self.mixture, self.noise = mixture, noise
        self.vectors = mixture.vectors()
        self._rates = torch.full((len(self.vectors), 1), rate, device=self.vectors.device)
        self._active = torch.ones_like(self._rates, dtype=torch.bool)

    def step(self, gradient: Tensor) -> None:
        self.mixture.step(gradient, self._rates, self._active)
        self.vectors = self.mixture.vectors()

    def taught(self, leaf: Tensor, rows: int, seed: int, step: int) -> tuple[Tensor, list[int]]:
        noises: Sequence[Tensor | None] = [None] * rows
        if self.noise:
            shape = (leaf.shape[0], leaf.shape[1])
            noises = draw(self.noise, rows, shape, seed, step).unbind()
        return with_noise(leaf, [0] * rows, noises)

    def tested(self, vectors: Tensor, rows: int) -> tuple[Tensor, list[int]]:
        return vectors, [0] * rows

    def keep(self) -> None:
        self.mixture.keep_best(0, len(self.vectors))


Student = FreeStudent | MixedStudent
_Place = tuple[int, int]  # number of the lesson, and of its question


class Distillation:
    """A student on its way to answers that on held-back rows get no closer, or are close enough.

    Several lessons count alike, however many questions they have and however sure their teachers
    are: batches draw from them in turn, shorter ones are read again, and each loss is divided by
    its lesson's `unit`. An epoch is a pass over the longest.

    Attributes:
        best: vectors (L, d) with the lowest loss on the held-back rows so far.
        done: steps.
        total: most steps.
        first: steps until the first look at the held-back rows.

    Args:
        student: starts where its vectors are.
        lessons: one or more.
        config: budget and rates.
    """

    def __init__(
        self, student: Student, lessons: Sequence[DistillTargets], config: DistillConfig
    ) -> None:
        self.student, self.lessons, self.config = student, lessons, config
        self._tests: list[list[_Place]] = []
        self._trained: list[list[_Place]] = []
        for number, lesson in enumerate(lessons):
            held = lesson.held_back(config)
            self._tests.append([(number, i) for i in range(held)])
            self._trained.append([(number, i) for i in range(held, len(lesson.questions))])
        self._floors = [
            entropy(lesson.answers[: len(own)])
            for lesson, own in zip(lessons, self._tests, strict=True)
        ]
        self._own_units = [lesson.unit for lesson in lessons]
        # A single loss need not be weighed against others, and Adam does not see its scale.
        self._units = self._own_units if len(lessons) > 1 else [1.0]
        per_epoch = math.ceil(len(lessons) * max(map(len, self._trained)) / config.batch_size)
        limits = [per_epoch * config.epochs, config.steps * len(lessons)]
        self.total = min(limit for limit in limits if limit)
        self._every = config.check * len(lessons) or per_epoch
        self.first = min(self._every, self.total)
        self._batches = _batches(self._trained, config)
        self.done = self._stale = 0
        self._over = False
        self.best = student.vectors.cpu().clone()
        self._before = self._after = self._look(student.vectors)
        self._value = self._mean(self._before)
        student.keep()

    @property
    def missed(self) -> list[float]:
        """Of each lesson, how far the best vectors' answers are from the teachers', in its unit."""
        return _missed(self._after, self._floors, self._own_units)

    def go_on(self, steps: int, stepped: Callable[[], None]) -> None:
        """Take so many steps, or fewer if that is the end.

        Args:
            steps: in all, those that are done included.
            stepped: called after every step.

        Raises:
            TuningError: a loss that is no finite number.
        """
        while self.done < min(steps, self.total) and not self._over:
            rows = next(self._batches)
            seed = self.config.seed
            gradient = _gradient(self.student, self.lessons, self._units, rows, seed, self.done)
            self.student.step(gradient)
            self.done += 1
            stepped()
            if self.done % self._every == 0 or self.done == self.total:
                self._compare()

    def record(self) -> dict[str, Any]:
        """The fields of a `DistilResult`."""
        return {
            "before": fmean(self._before),
            "after": fmean(self._after),
            "floor": fmean(self._floors),
            "missed": self.missed,
            "rows": sum(map(len, self._tests)) + sum(map(len, self._trained)),
            "made": sum(lesson.made for lesson in self.lessons),
            "steps": self.done,
        }

    def _compare(self) -> None:
        """Keep the vectors if they are the best so far, and see whether it is over."""
        vectors = self.student.vectors if self.student.mean is None else self.student.mean
        found = self._look(vectors)
        value = self._mean(found)
        if value < self._value:
            self.best, self._stale = vectors.cpu().clone(), 0
            self._after, self._value = found, value
            self.student.keep()
        else:
            self._stale += 1
        close = max(self.missed) < self.config.enough
        self._over = close or self._stale == self.config.patience

    def _mean(self, losses: Sequence[float]) -> float:
        return fmean(_missed(losses, self._floors, self._units))

    @torch.no_grad()
    def _look(self, vectors: Tensor) -> list[float]:
        """Mean loss of each lesson on its held-back rows, in nats; finite."""
        found = []
        for own in self._tests:
            table, starts = self.student.tested(vectors, len(own))
            found.append(sum(float(x) for _, x in losses(self.lessons, own, table, starts)))
            found[-1] /= len(own)
        for value in found:
            if not math.isfinite(value):
                raise TuningError(
                    "loss",
                    expected="a finite number",
                    got=str(value),
                    fix="Lower the learning rate, or compute in float32",
                )
        return found


def _batches(trained: Sequence[Sequence[_Place]], config: DistillConfig) -> Iterator[list[_Place]]:
    """Batches without end, pass after pass."""
    for epoch in count(1):
        order = _in_turn(trained, config.seed * 100_003 + epoch)
        for first in range(0, len(order), config.batch_size):
            yield order[first : first + config.batch_size]


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
    parts = zip(losses, floors, units, strict=True)
    return [max(loss - floor, 0.0) / unit for loss, floor, unit in parts]


def _gradient(
    student: Student,
    lessons: Sequence[DistillTargets],
    units: Sequence[float],
    rows: Sequence[_Place],
    seed: int,
    step: int,
) -> Tensor:
    leaf = student.vectors.detach().requires_grad_(True)
    table, starts = student.taught(leaf, len(rows), seed, step)
    found = losses(lessons, rows, table, starts)
    total = torch.stack([loss / units[number] for number, loss in found]).sum() / len(rows)
    total.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


def losses(
    lessons: Sequence[DistillTargets], rows: Sequence[_Place], table: Tensor, starts: Sequence[int]
) -> Iterator[tuple[int, Tensor]]:
    """(Number of a lesson, sum of losses of some of its rows in nats, 0-dimensional) until all rows
    were asked, of all lessons together. Every lesson has an objective of its own."""
    queries = [
        PromptedQuestion(lessons[n].objective, lessons[n].questions[i], start)
        for (n, i), start in zip(rows, starts, strict=True)
    ]
    for scored in score_questions(lessons[0].objective.backbone, queries, table):
        number = rows[scored.places[0]][0]
        own = [rows[place][1] for place in scored.places]
        yield number, lessons[number].losses(scored.scores(), own).sum()
