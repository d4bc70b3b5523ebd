"""What distillation learns: questions without labels, and the answers of teachers to them.

The questions are texts of the task, or made up of random words where there are none. A teacher is
a prompt in the backbone that it was tuned on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.questions import (
    answers_of_labels,
    blind_row,
    compares_words,
    filling_rows,
    held_back_of,
    shared_words,
    unlabelled_rows,
    with_written_texts,
)
from promptport.distillation.synthetic_text import spread
from promptport.distillation.teacher_answers import answers_of, answers_of_template, columns_of
from promptport.evaluation import choose_template, prompted, score_questions
from promptport.objective import Objective, Question
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import Row, Task, TaskLike, Template, as_task
from promptport.tuning.label_prior import has_prior

_LEAST_UNIT = 0.05  # nats; teachers that tell less must not outweigh all others


@dataclass(frozen=True)
class Agreement:
    """How far two prompts answer alike on unlabelled text.

    Attributes:
        divergence: mean Kullback-Leibler divergence from the teachers' answers, 0 or more, in nats.
        same: share of the rows with the same first answer, 0 to 1.
        rows: rows read.
    """

    divergence: float
    same: float
    rows: int


@torch.no_grad()
def agreement(
    prompt: PromptLike,
    backbone: BackboneLike,
    teachers: Sequence[Teacher],
    task: TaskLike,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    held_back: bool = False,
) -> Agreement:
    """How far a prompt answers like others, on unlabelled text; no label is read.

    Args:
        prompt: of `backbone`.
        backbone: for instance the target of a transfer.
        teachers: for instance the source's prompt on the source.
        task: gives the texts and the template.
        split: the split whose texts are read.
        config: `texts`, `rows`, `seed` and `truncate` count.
        held_back: ask only the rows that `align` and `fit_mixture` hold back with this
            configuration, so that what they learned from does not count.

    Raises:
        MismatchError: a prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
        AnchorError: a probe, and the backbones share no words to compare answers on.
    """
    prompt, backbone, task = as_prompt(prompt), as_backbone(backbone), as_task(task)
    backbone.check_prompt(prompt)
    config = replace(config or DistillConfig(), fill=0)  # made rows are only learned from
    targets = DistillTargets.make(backbone, prompt, teachers, task, split, config)
    count = targets.held_back(config) if held_back else None
    return targets.agreement(prompt.vectors.to(backbone.device), count)


@dataclass(frozen=True)
class DistillTargets:
    """Questions without labels and the teachers' answers to them.

    Attributes:
        objective: of the backbone whose prompt learns.
        questions: Q questions.
        answers: (Q, A) probabilities to learn, over labels or over shared words.
        columns: tokens of these words in that backbone, None for labels.
        made: how many of the questions were made beside the task's texts; they stand behind these.
        labelled: how many, the last ones, have their label for an answer, and no teacher's.
        told: (Q, A) probabilities of the teachers alone; None if these are `answers`.
    """

    objective: Objective
    questions: tuple[Question, ...]
    answers: Tensor
    columns: Tensor | None
    made: int = 0
    labelled: int = 0
    told: Tensor | None = None

    @property
    def read(self) -> int:
        """How many of the questions, the first ones, are texts that only the teachers answered."""
        return len(self.questions) - self.made - self.labelled

    @property
    def of_teachers(self) -> Tensor:
        """(Q, A) probabilities that the teachers give."""
        return self.answers if self.told is None else self.told

    @classmethod
    def make(
        cls,
        backbone: Backbone,
        prompt: SoftPrompt,
        teachers: Sequence[Teacher],
        task: Task,
        split: str,
        config: DistillConfig,
        kept: Path | None = None,
        labelled: Sequence[Row] = (),
    ) -> DistillTargets:
        """Ask the teachers.

        Args:
            backbone: whose prompt learns.
            prompt: that prompt, whose template and length the questions have.
            teachers: one or more; their weighted mean answers.
            task: gives texts and template.
            split: the split whose texts are read.
            config: `texts`, `rows`, `fill`, `seed` and `truncate` count.
            kept: file of their answers: read if it is there and of these very questions, else
                written.
            labelled: rows whose labels are learned beside their answers.
        """
        if config.texts == "write":
            task, config = with_written_texts(task, split, config, backbone, teachers)
        shared = shared_words(backbone, teachers) if compares_words(task, config) else ()
        rows = unlabelled_rows(task, split, config, shared)
        template = choose_template(task, prompt)
        objective = Objective(
            backbone, task, template, length=prompt.length, truncate=config.truncate
        )
        words = shared if task.kind == "probe" else None
        blind = tuple(blind_row(row, task, words) for row in rows)
        more = filling_rows(blind, objective, config)
        blind = (*blind, *more)
        answers = answers_of(teachers, task, blind, words, config, kept)
        if config.texts == "words" or config.written:
            chosen = spread(answers, config.rows)
            blind, answers = tuple(blind[i] for i in chosen), answers[chosen]
        told = answers
        if config.manual_weight and words is None and has_prior(task) and task.manual is not None:
            own = answers_of_template(backbone, task, blind, config)
            answers = (answers.clamp_min(1e-30).log() + config.manual_weight * own).softmax(1)
        gold, known = answers_of_labels(labelled, task, words)
        if known:
            answers, told = torch.cat([answers, gold]), torch.cat([told, gold])
            blind = (*blind, *(blind_row(row, task, words) for row in known))
        return cls(
            objective,
            objective.prepare(blind).questions,
            answers,
            columns_of(backbone, words),
            len(more),
            len(known),
            told,
        )

    def held_back(self, config: DistillConfig) -> int:
        """How many questions, the first ones, only decide when to stop: not all, and none made."""
        return held_back_of(self.read, config)

    @property
    def unit(self) -> float:
        """Mutual information of texts and answers in nats, `_LEAST_UNIT` or more.

        How far the teachers' answers depend on the text: about the divergence of one and the same
        answer to all of them.
        """
        answers = self.answers[: self.read]
        told = entropy(answers.mean(0, keepdim=True)) - entropy(answers)
        return max(told, _LEAST_UNIT)

    def asked_through(self, template: Template, length: int | None = None) -> DistillTargets:
        """The same questions in another template, or behind a prompt of another length."""
        own = self.objective
        objective = Objective(
            own.backbone, own.task, template, length=length or own.length, truncate=own.truncate
        )
        rows = [question.row for question in self.questions]
        return replace(self, objective=objective, questions=objective.prepare(rows).questions)

    @torch.no_grad()
    def agreement(self, vectors: Tensor, count: int | None = None) -> Agreement:
        """How far a prompt (n, d) answers as the teachers told, on the first `count` questions, all
        that only they answered without it."""
        return self.compare(vectors, count)[0]

    def compare(self, vectors: Tensor, count: int | None = None) -> tuple[Agreement, Tensor]:
        """The same, and the prompt's first answer to each question: (count,) columns."""
        count = count or self.read
        total = 0.0
        first = torch.zeros(count, dtype=torch.long)
        queries = prompted(self.objective, self.questions[:count])
        with stage(f"comparing answers on {self.objective.backbone.name}"):
            for scored in score_questions(self.objective.backbone, queries, vectors):
                scores = scored.scores()
                total += float(self.losses(scores, scored.places, self.of_teachers).sum())
                first[scored.places] = self.first(scores)
        same = float((first == self.of_teachers[:count].argmax(1)).double().mean())
        floor = entropy(self.of_teachers[:count])
        return Agreement(total / count - floor, same, count), first

    def commonest(self, count: int) -> float:
        """What one and the same answer to the first `count` questions would have equal, 0 to 1."""
        return float(torch.bincount(self.of_teachers[:count].argmax(1)).max()) / count

    def first(self, scores: Tensor) -> Tensor:
        """The first answer by scores (Q', V): (Q',) columns of the answers, on the CPU."""
        own = scores if self.columns is None else scores.index_select(1, self.columns)
        return own.argmax(1).cpu()

    def losses(
        self, scores: Tensor, places: Sequence[int], answers: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy to the answers to learn, or to others (Q, A): (Q',)."""
        log_probs = scores.log_softmax(1)
        if self.columns is not None:
            # Over the whole vocabulary, so that what teachers never say loses its weight too.
            log_probs = log_probs.index_select(1, self.columns)
        wanted = self.answers if answers is None else answers
        return -(wanted[list(places)].to(log_probs.device) * log_probs).sum(1)


def entropy(answers: Tensor) -> float:
    """Mean entropy of rows of probabilities (Q, A), in nats."""
    return float(-(answers * answers.clamp_min(1e-30).log()).sum(1).mean())
