"""How far a moved prompt answers like its source, and what that number is to be compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.distillation import DistillConfig, Teacher, Texts
from promptport.distillation.targets import DistillTargets
from promptport.objective import Objective, blind_rows
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.tuning import random_prompt
from promptport.tuning.label_prior import has_prior, label_scores, without_prior

Verdict = Literal["at chance", "weak", "good"]
CHECK_ROWS = 64
GOOD = 0.5  # share of equal first answers from which a moved prompt is called good
_HARDLY_NEEDED = 0.9  # share of equal answers that says so, where it is at chance
FEWEST_ROWS = 10  # fewer tell nothing
_SURE = 2.0  # standard errors that lie between chance and more than that
_ASKED = {
    "words": "random-word questions",
    "write": "texts that a model wrote",
    "task": "unlabelled texts of the task",
}
# Measured (benchmarks/LOG.md, "Agreement and score"): random words do not tell prompts that keep
# little from those that keep much; the task's own texts do, and nothing lies from 43% to 65%.
WORDS_SAY_LITTLE = (
    "random words say little about real texts (measured: prompts that keep 0.07 to 0.45 of their "
    "score agree on 8% to 20% of them, those that keep 0.80 and more on 9% to 25%; of the task's "
    "own texts it is 8% to 43%, and 65% to 96%)"
)


@dataclass(frozen=True)
class AnswerCheck:
    """Agreement of a moved prompt with its source, without labels.

    Attributes:
        same: share of the rows with the same first answer, 0 to 1.
        divergence: mean Kullback-Leibler divergence from the source's answers, in nats, 0 or more.
        rows: rows asked.
        answers: how many answers are possible.
        commonest: what one and the same answer to all rows would reach, 0 to 1.
        random: what random words in place of the prompt reach on the target, 0 to 1.
        texts: what was asked, `task`, `write` or `words`.
        labels: of a classification, label -> its share of the source's and of the prompt's first
            answers.
        manual: share of equal answers of the task's manual template on the target, its label prior
            taken off; None where there is none, or no texts of the task were asked.
    """

    same: float
    divergence: float
    rows: int
    answers: int
    commonest: float
    random: float
    texts: Texts
    labels: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    manual: float | None = None

    @property
    def chance(self) -> float:
        """Share of equal answers that no prompt is needed for, 0 to 1."""
        return max(1 / self.answers, self.commonest, self.random)

    @property
    def verdict(self) -> Verdict | None:
        """`at chance`: not above `chance` by two standard errors; `good`: half or more alike.

        None: fewer than 10 rows; or above chance, but on random words, which decide no more.
        """
        if self.rows < FEWEST_ROWS:
            return None
        error = math.sqrt(self.chance * (1 - self.chance) / self.rows)
        if self.same <= self.chance + _SURE * error:
            return "at chance"
        if self.texts == "words":
            return None
        return "good" if self.same >= GOOD else "weak"

    @property
    def lines(self) -> tuple[str, ...]:
        """The numbers in words: what they are, what to compare them with, what they mean."""
        asked = _ASKED[self.texts]
        told = f"it answers like its source on {self.same:.0%} of {self.rows} {asked}"
        compare = (
            f"of {self.answers:,} possible answers, random guessing gets {1 / self.answers:.1%}, "
            f"the commonest one {self.commonest:.0%}, random words in place of the prompt "
            f"{self.random:.0%}"
        )
        if self.manual is not None:
            compare += f", the manual template with its label prior off {self.manual:.0%}"
        means = {
            "at chance": self._at_chance,
            "weak": f"this is weak (good: {GOOD:.0%} or more): score it before any use",
            "good": f"this is good ({GOOD:.0%} or more)",
            None: f"more than chance, but {WORDS_SAY_LITTLE}",
        }
        if self.rows < FEWEST_ROWS:
            return told, compare, f"{self.rows} rows tell nothing: give more unlabelled texts"
        return told, compare, means[self.verdict]

    @property
    def _at_chance(self) -> str:
        if self.same >= _HARDLY_NEEDED:
            return f"the task hardly needs a prompt: without one it is {self.chance:.0%} as well"
        return f"this is at chance: what needs no prompt does about as well ({self.chance:.0%})"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        labels = {label: list(shares) for label, shares in self.labels.items()}
        return {**vars(self), "labels": labels, "verdict": self.verdict}


@torch.no_grad()
def check_answers(
    prompt: SoftPrompt,
    target: Backbone,
    sources: Sequence[Teacher],
    task: Task,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    held_back: bool = False,
    targets: DistillTargets | None = None,
) -> AnswerCheck:
    """Ask source and target the same questions, and a prompt of random words as well.

    Args:
        prompt: of `target`.
        target: the backbone it was moved to.
        sources: the prompts that it came from.
        task: gives the texts and, where the prompt has none, the template.
        split: the split whose texts are read; no label is.
        config: `texts`, `rows`, `seed` and `truncate` count; None for 64 rows of random words.
        held_back: ask only the rows that alignment with this configuration held back.
        targets: the questions and the sources' answers, where they were asked before.

    Raises:
        MismatchError: a prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
        AnchorError: a probe, and the backbones share no words to compare answers on.
    """
    target.check_prompt(prompt)
    config = replace(config or DistillConfig(texts="words", rows=CHECK_ROWS, truncate=True), fill=0)
    if targets is None:
        targets = DistillTargets.make(target, prompt, sources, task, split, config)
    count = targets.held_back(config) if held_back else targets.read
    first = targets.of_teachers[:count].argmax(1)
    own, answered = targets.compare(prompt.vectors.to(target.device), count)
    other = random_prompt(target, prompt.length, config.seed).vectors.to(target.device)
    return AnswerCheck(
        same=own.same,
        divergence=own.divergence,
        rows=count,
        answers=targets.answers.shape[1],
        commonest=targets.commonest(count),
        random=targets.agreement(other, count).same,
        texts=config.texts,
        labels=_label_shares(task, first, answered),
        manual=None if config.texts == "words" else _manual(target, task, targets, first, config),
    )


def _label_shares(task: Task, first: Tensor, answered: Tensor) -> dict[str, tuple[float, float]]:
    names = task.label_names if task.kind == "classification" else ()
    return {
        name: (float((first == i).double().mean()), float((answered == i).double().mean()))
        for i, name in enumerate(names)
    }


def _manual(
    target: Backbone, task: Task, targets: DistillTargets, first: Tensor, config: DistillConfig
) -> float | None:
    """How far the manual template answers like the source, on the same rows."""
    if task.manual is None or not has_prior(task):
        return None
    objective = Objective(target, task, task.manual, truncate=config.truncate)
    rows = [question.row for question in targets.questions[: len(first)]]
    with stage(f"asking the manual template of {target.name}"):
        scores = label_scores(objective, blind_rows(rows, objective))
    freed = without_prior(scores, scores.softmax(1).mean(0)).argmax(1)
    return float((freed == first).double().mean())
