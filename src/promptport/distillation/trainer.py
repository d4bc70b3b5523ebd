"""The training loop of distillation: a prompt on its way to other prompts' answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import KeptTexts
from promptport.distillation.config import DistillConfig
from promptport.distillation.targets import DistillTargets, entropy
from promptport.distillation.variants import Itself, Variants
from promptport.errors import TuningError
from promptport.evaluation import PromptedQuestion, PromptsOf, ScoredQuestions, score_questions
from promptport.parameters.parametrisation import Parametrisation
from promptport.progress import stage
from promptport.tuning.checkpoint import StateFile
from promptport.tuning.trainer import backward

# Of an unfinished run, beside tensors.
_KEPT = ("done", "_stale", "_over", "_before", "_after", "_falling")


TargetRow = tuple[int, int]  # number of the task, and of its question


class Distillation:
    """A prompt on its way to answers that on held-back rows get no closer, or are close enough.

    What is trained, its optimiser and the gradient are those of `tuning.Trainer`. The rest differs:
    one prompt learns from all tasks in batches that they share, and not labels; what is held back
    is looked at after so many steps, before the first one too, and what is kept may be a mean.

    Several tasks count alike, however many questions they have and however sure the answers to
    learn are: batches draw from them in turn, shorter ones are read again, and each loss is divided
    by the task's `unit`. An epoch is a pass over the longest.

    Attributes:
        best: vectors (n, d) with the lowest loss on the held-back rows so far.
        done: steps.
        total: most steps.
        first: steps until the first look at the held-back rows.

    Args:
        parameters: what is trained, and makes one prompt (n, d).
        targets: one or more, each with an objective of its own.
        config: budget.
        rate: learning rate.
        variants: of the prompt that rows are asked behind; None for itself.
        average: what is looked at and kept is the running mean of the vectors, weighed by
            (1 - 1 / `average`) to the power of how many steps ago they were; 0 for the latest.
    """

    def __init__(
        self,
        parameters: Parametrisation,
        targets: Sequence[DistillTargets],
        config: DistillConfig,
        *,
        rate: float,
        variants: Variants | None = None,
        average: int = 0,
    ) -> None:
        self.parameters, self.targets, self.config = parameters, targets, config
        self._variants, self._average = variants or Itself(), average
        self._backbone, self._kept = targets[0].objective.backbone, KeptTexts()
        held = [own.held_back(config) for own in targets]
        self._held_back = [[(n, i) for i in range(k)] for n, k in enumerate(held)]
        asked = [len(own.questions) for own in targets]
        self._trained = [[(n, i) for i in range(k, asked[n])] for n, k in enumerate(held)]
        self._floors = [entropy(own.answers[:k]) for own, k in zip(targets, held, strict=True)]
        self._commonest = [own.commonest(k) for own, k in zip(targets, held, strict=True)]
        self._own_units = [own.unit for own in targets]
        # A single loss need not be weighed against others, and Adam does not see its scale.
        self._units = self._own_units if len(targets) > 1 else [1.0]
        per_epoch = math.ceil(len(targets) * max(map(len, self._trained)) / config.batch_size)
        limits = [per_epoch * config.epochs, config.steps * len(targets)]
        self.total = min(limit for limit in limits if limit)
        self._every = config.check * len(targets) or per_epoch
        self.first = min(self._every, self.total)
        self._batches = _batches(self._trained, config)
        self.done = self._stale = 0
        self._over = False
        self._same: list[float] = []  # of each task, as the last look found it
        self._falling = 0.0  # share of what was missed that the last look found gone
        vectors = self.vectors
        self._rates = torch.full((len(vectors), 1), rate, dtype=torch.float64)
        self._active = torch.ones(len(vectors), 1, dtype=torch.bool)
        self.mean = vectors.clone() if average else None
        self._before = self._look(vectors)
        self._keep(vectors, self._before)

    @property
    def vectors(self) -> Tensor:
        """(n, d), after the latest step."""
        return self.parameters.tables()[0]

    @property
    def missed(self) -> list[float]:
        """Of each task, how far the best vectors' answers are from those to learn, in its unit."""
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
            self.step(next(self._batches))
            if self.done % self._every == 0 or self.done == self.total:
                self._compare()
            stepped()

    def step(self, rows: Sequence[TargetRow]) -> None:
        """One update."""
        tables = self.parameters.forward()
        gradient = self._gradient(tables[0], rows)
        self.parameters.step(tables, [gradient], self._rates, self._active)
        if self.mean is not None:
            self.mean.lerp_(self.vectors, 1 / self._average)
        self.done += 1

    def file(self, path: Path) -> StateFile:
        """The file of this very run: of its backbone, questions, answers, start and budget."""
        digest = hashlib.sha256(self._backbone.space.fingerprint.encode())
        for own in self.targets:
            digest.update(repr([question.row for question in own.questions]).encode())
            digest.update(own.objective.template.text.encode())
            digest.update(own.answers.numpy().tobytes())
        digest.update(self.best.numpy().tobytes())
        identity = {"asked": digest.hexdigest(), "config": asdict(self.config)}
        return StateFile(path, identity | {"promptport": __version__})

    def save(self, file: StateFile) -> None:
        """Keep everything that the rest of the run depends on."""
        told = {name: getattr(self, name) for name in _KEPT}
        file.write(self._state(), [told])

    def restore(self, file: StateFile) -> None:
        """Go on from a saved state, if there is one; before the first step.

        Raises:
            FileFormatError: the file is damaged.
            TuningError: it belongs to another run.
        """
        saved = file.read()
        if saved is None:
            return
        tensors, (told,) = saved
        for name, tensor in self._state().items():
            tensor.copy_(tensors[name])
        for name in _KEPT:
            setattr(self, name, told.get(name, getattr(self, name)))
        for _ in range(self.done):
            next(self._batches)

    def _state(self) -> dict[str, Tensor]:
        """Everything in tensors by name, changed in place."""
        mean = {} if self.mean is None else {"mean": self.mean}
        own = {name: part.detach() for name, part in self.parameters.state().items()}
        return {"best": self.best, **mean, **own}

    def _gradient(self, prompt: Tensor, rows: Sequence[TargetRow]) -> Tensor:
        leaf = prompt.detach().requires_grad_(True)
        prompts = self._variants.for_step(leaf, len(rows), self.config.seed, self.done)

        def losses(scored: ScoredQuestions) -> Tensor:
            number, loss = losses_of(scored, self.targets, rows)
            return loss / self._units[number] / len(rows)

        with self._backbone.keeping_texts(self._kept):
            backward(self._backbone, queries(self.targets, rows), prompts, losses)
        assert leaf.grad is not None
        return leaf.grad

    def record(self) -> dict[str, Any]:
        """The fields of a `DistillResult`."""
        return {
            "before": fmean(self._before),
            "after": fmean(self._after),
            "floor": fmean(self._floors),
            "missed": self.missed,
            "rows": sum(own.read + own.made for own in self.targets),
            "made": sum(own.made for own in self.targets),
            "labelled": sum(own.labelled for own in self.targets),
            "steps": self.done,
            "falling": self._falling if self.done == self.total else 0.0,
        }

    def _compare(self) -> None:
        """Keep the vectors if they are the best so far, and see whether it is over."""
        vectors = self.vectors if self.mean is None else self.mean
        losses = self._look(vectors)
        known, new = self._value(self._after), self._value(losses)
        self._falling = max(known - new, 0.0) / known if known else 0.0
        if new < known:
            self._stale = 0
            self._keep(vectors, losses)
        else:
            self._stale += 1
        close = max(self.missed) < self.config.enough
        slow = self._alike or self._falling < self.config.least_gain
        done = 2 * self.done >= self.total and slow
        self._over = close or done or self._stale == self.config.patience

    @property
    def _alike(self) -> bool:
        """Whether the last look found enough equal answers of every task, and not by chance."""
        enough = self.config.enough_same
        pairs = zip(self._same, self._commonest, strict=True)
        return enough > 0 and all(
            same >= enough and same - common >= (1 - common) / 2 for same, common in pairs
        )

    def _keep(self, vectors: Tensor, losses: list[float]) -> None:
        self.best, self._after = vectors.cpu().clone(), losses
        self.parameters.keep(slice(0, len(vectors)))

    def _value(self, losses: Sequence[float]) -> float:
        """What is compared: lower is better."""
        return fmean(_missed(losses, self._floors, self._units))

    @torch.no_grad()
    def _look(self, vectors: Tensor) -> list[float]:
        """Mean loss of each task on its held-back rows, in nats; finite. Notes equal answers."""
        told = []
        with stage("scoring held-back rows"), self._backbone.keeping_texts(self._kept):
            for own in self._held_back:
                prompts = self._variants.for_check(vectors, len(own))
                told.append(_means(self.targets, own, prompts))
        means, self._same = [loss for loss, _ in told], [same for _, same in told]
        for value in means:
            if not math.isfinite(value):
                raise TuningError(
                    "loss",
                    expected="a finite number",
                    got=str(value),
                    fix="Lower the learning rate, or compute in float32",
                )
        return means


def queries(targets: Sequence[DistillTargets], rows: Sequence[TargetRow]) -> list[PromptedQuestion]:
    """Questions of several tasks behind one prompt."""
    return [PromptedQuestion(targets[n].objective, targets[n].questions[i], 0) for n, i in rows]


def losses_of(
    scored: ScoredQuestions, targets: Sequence[DistillTargets], rows: Sequence[TargetRow]
) -> tuple[int, Tensor]:
    """Number of the task of scored questions, and their losses (Q',) in nats."""
    number = rows[scored.places[0]][0]
    own = [rows[place][1] for place in scored.places]
    return number, targets[number].losses(scored.scores(), own)


def _means(
    targets: Sequence[DistillTargets], rows: Sequence[TargetRow], prompts: Tensor | PromptsOf
) -> tuple[float, float]:
    """Mean loss of rows of one task, and the share whose first answer is the teachers'."""
    backbone, loss, same = targets[0].objective.backbone, 0.0, 0
    scored = score_questions(backbone, queries(targets, rows), prompts)
    for part in scored:
        number, losses = losses_of(part, targets, rows)
        own = targets[number]
        wanted = own.of_teachers[[rows[place][1] for place in part.places]].argmax(1)
        loss += float(losses.sum())
        same += int((own.first(part.scores()) == wanted).sum())
    return loss / len(rows), same / len(rows)


def _batches(
    trained: Sequence[Sequence[TargetRow]], config: DistillConfig
) -> Iterator[list[TargetRow]]:
    """Batches without end, pass after pass."""
    for epoch in count(1):
        order = _in_turn(trained, config.seed * 100_003 + epoch)
        for first in range(0, len(order), config.batch_size):
            yield order[first : first + config.batch_size]


def _in_turn(pools: Sequence[Sequence[TargetRow]], seed: int) -> list[TargetRow]:
    """All rows in a seeded order, one of each pool in turn; shorter pools begin again."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(map(len, pools))
    orders = []
    for pool in pools:
        order: list[int] = []
        while len(order) < longest:
            order += torch.randperm(len(pool), generator=generator).tolist()
        orders.append([pool[i] for i in order[:longest]])
    return [row for turn in zip(*orders, strict=True) for row in turn]


def _missed(
    losses: Sequence[float], floors: Sequence[float], units: Sequence[float]
) -> list[float]:
    """How far a prompt's answers are from those to learn, of each task in its unit."""
    parts = zip(losses, floors, units, strict=True)
    return [max(loss - floor, 0.0) / unit for loss, floor, unit in parts]
