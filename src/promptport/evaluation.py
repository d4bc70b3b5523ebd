"""Scoring prompts on tasks: many prompts, many tasks, one backbone, batches sorted by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TaskError
from promptport.objective import Objective, Prepared, Question
from promptport.prompt import SoftPrompt
from promptport.tasks import Score, Task, Template, bootstrap_score, hits

# Tokens per forward pass: beyond a few thousand, larger batches only cost memory.
BATCH_TOKENS = 8192


@dataclass(frozen=True)
class PromptedQuestion:
    """One question put to the backbone behind one prompt.

    Attributes:
        objective: the task, template and backbone.
        question: the row.
        start: first row of its prompt among all prompts of the batch.
    """

    objective: Objective
    question: Question
    start: int


@dataclass(frozen=True)
class Evaluation:
    """Result of one prompt (or template) on one split.

    Attributes:
        score: metric with its bootstrap interval.
        loss: mean negative log-likelihood of the right answers.
        skipped: rows that could not be asked (probes whose object is several tokens).
        template: the template that was used.
        predictions: per row, see `Objective.predictions`; texts for text to text.
        right: per row whether it is right, where the score is the share of these rows; else None.
    """

    score: Score
    loss: float
    skipped: int
    template: str
    predictions: tuple[Any, ...]
    right: tuple[bool, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the predictions."""
        return {
            **self.score.to_dict(),
            "loss": self.loss,
            "skipped": self.skipped,
            "template": self.template,
        }


def evaluate(
    backbone: Backbone,
    task: Task,
    prompt: SoftPrompt | None = None,
    *,
    template: Template | None = None,
    split: str = "test",
    truncate: bool = False,
) -> Evaluation:
    """Score a soft prompt, or a plain template, on a task.

    Args:
        backbone: the frozen model.
        task: the task.
        prompt: the soft prompt; None for a template without `{soft}` (default: the manual one).
        template: where the virtual tokens stand; default the one that the prompt was tuned with if
            it suits the task, else the task's.
        split: `train`, `dev` or `test`.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        MismatchError: the prompt belongs to another backbone.
        TaskError: the template, the data or the label words do not fit.
    """
    if prompt is not None:
        backbone.check_prompt(prompt)
    chosen = template or choose_template(task, prompt)
    length = 0 if prompt is None else prompt.length
    objective = Objective(backbone, task, chosen, length=length, truncate=truncate)
    prepared = objective.prepare(task.load(split))
    vectors = torch.zeros(1, backbone.width) if prompt is None else prompt.vectors
    asks = [PromptedQuestion(objective, question, 0) for question in prepared.questions]
    return evaluation_of(run(backbone, asks, vectors), asks[0], prepared, chosen.text)


def score_prompts(
    backbone: Backbone,
    prompts: Sequence[SoftPrompt],
    tasks: Sequence[Task],
    *,
    split: str = "test",
    rows: int = 0,
    truncate: bool = False,
) -> list[list[Evaluation]]:
    """Score every prompt on every task, all in the same batches.

    Args:
        backbone: the frozen model of all prompts.
        prompts: (n_i, d) each, one or more; lengths may differ.
        tasks: one or more; templates are chosen as in `evaluate`.
        split: `train`, `dev` or `test`.
        rows: use only so many rows of each task (the first ones); 0 for all.
        truncate: cut texts that are too long instead of refusing them.

    Returns:
        Per prompt, one evaluation per task.

    Raises:
        MismatchError: a prompt belongs to another backbone.
        TaskError: no prompts or tasks; a template, data or label words that do not fit.
    """
    if not prompts or not tasks:
        raise TaskError(
            "scoring",
            expected="one prompt or more, and one task or more",
            got=f"{len(prompts)} prompts, {len(tasks)} tasks",
            fix="Name them",
        )
    loaded = [task.load(split)[: rows or None] for task in tasks]
    prepared: dict[tuple[int, str, int], tuple[Objective, Prepared]] = {}
    asks: list[PromptedQuestion] = []
    parts: list[tuple[range, Prepared, str]] = []
    start = 0
    for prompt in prompts:
        backbone.check_prompt(prompt)
        for place, task in enumerate(tasks):
            template = choose_template(task, prompt)
            key = (place, template.text, prompt.length)
            if key not in prepared:
                objective = Objective(
                    backbone, task, template, length=prompt.length, truncate=truncate
                )
                prepared[key] = (objective, objective.prepare(loaded[place]))
            objective, questions = prepared[key]
            first = len(asks)
            asks += [
                PromptedQuestion(objective, question, start) for question in questions.questions
            ]
            parts.append((range(first, len(asks)), questions, template.text))
        start += prompt.length
    outcome = run(backbone, asks, torch.cat([prompt.vectors for prompt in prompts]))
    found = [evaluation_of(outcome.part(places), asks[places[0]], q, t) for places, q, t in parts]
    return [found[i : i + len(tasks)] for i in range(0, len(found), len(tasks))]


def evaluation_of(
    outcome: Outcome, ask: PromptedQuestion, prepared: Prepared, template: str
) -> Evaluation:
    """What came out for all questions of one task and template, one of which is `ask`."""
    return Evaluation(
        outcome.score([ask]),
        outcome.mean_loss,
        prepared.skipped,
        template,
        tuple(outcome.predictions),
        hits(ask.objective.task.metric, outcome.gold, outcome.predictions),
    )


def choose_template(task: Task, prompt: SoftPrompt | None) -> Template:
    """The template of a prompt if its fields are the task's, else the task's own.

    Raises:
        TaskError: no prompt is given and the task has no manual template.
    """
    if prompt is None:
        if task.manual is None:
            raise TaskError(
                f"task {task.name!r}",
                expected="a manual template",
                got="none",
                fix="Add 'manual:' to the task file, or give a prompt",
            )
        return task.manual
    if prompt.provenance.template is not None:
        own = Template.parse(prompt.provenance.template)
        if set(own.fields) <= set(task.template.fields):
            return own
    return task.template


@dataclass(frozen=True)
class Outcome:
    """What came out for a list of asks, in their order.

    Attributes:
        losses: (Q,) negative log-likelihoods, float32 on the CPU.
        predictions: Q predictions.
        gold: Q right answers in the same form.
    """

    losses: Tensor
    predictions: list[Any]
    gold: list[Any]

    @property
    def mean_loss(self) -> float:
        """Mean over all questions."""
        return float(self.losses.mean())

    def score(self, asks: Sequence[PromptedQuestion], *, resamples: int = 1000) -> Score:
        """The metric of the (one) task over all questions."""
        metric = asks[0].objective.task.metric
        return bootstrap_score(metric, self.gold, self.predictions, resamples=resamples)

    def part(self, indices: Sequence[int]) -> Outcome:
        """The outcome of some of the questions."""
        return replace(
            self,
            losses=self.losses[list(indices)],
            predictions=[self.predictions[i] for i in indices],
            gold=[self.gold[i] for i in indices],
        )


@torch.no_grad()
def run(
    backbone: Backbone,
    asks: Sequence[PromptedQuestion],
    vectors: Tensor,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Outcome:
    """Put questions to a backbone, whatever their tasks and prompts.

    Args:
        backbone: the frozen model.
        asks: Q questions.
        vectors: (N, d) virtual tokens of all prompts.
        batch_tokens: tokens per forward pass, padding included.
    """
    vectors = vectors.to(backbone.device)
    losses = torch.zeros(len(asks))
    predictions: list[Any] = [None] * len(asks)
    gold: list[Any] = [None] * len(asks)
    for batch in batches(asks, batch_tokens):
        for objective, members, logits in forward(backbone, [asks[i] for i in batch], vectors):
            places = [batch[m] for m in members]
            questions = [asks[i].question for i in places]
            losses[places] = objective.losses(logits, questions).float().cpu()
            if objective.task.kind == "text2text":
                starts = [asks[i].start for i in places]
                found: list[Any] = objective.write(questions, vectors, starts)
            else:
                found = objective.predictions(logits, questions)
            for i, value, right in zip(places, found, objective.gold(questions), strict=True):
                predictions[i], gold[i] = value, right
    return Outcome(losses, predictions, gold)


def forward(
    backbone: Backbone, asks: Sequence[PromptedQuestion], vectors: Tensor
) -> Iterator[tuple[Objective, list[int], Tensor]]:
    """One forward pass over questions of any tasks.

    Yields:
        For each objective: itself, the indices of its asks, their logits (I, m, V).
    """
    inputs = [row for ask in asks for row in ask.question.inputs]
    starts = [ask.start for ask in asks for _ in ask.question.inputs]
    logits = backbone.answer_logits(inputs, vectors, starts)
    owners = [i for i, ask in enumerate(asks) for _ in ask.question.inputs]
    groups: dict[int, list[int]] = {}
    for i, ask in enumerate(asks):
        groups.setdefault(id(ask.objective), []).append(i)
    if len(groups) == 1:
        yield asks[0].objective, list(range(len(asks))), logits
        return
    rows: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        rows.setdefault(id(asks[owner].objective), []).append(row)
    for key, members in groups.items():
        index = torch.tensor(rows[key], device=logits.device)
        yield asks[members[0]].objective, members, logits.index_select(0, index)


def batches(asks: Sequence[PromptedQuestion], batch_tokens: int) -> list[list[int]]:
    """Indices of asks in batches of similar length and at most `batch_tokens` padded tokens."""
    order = sorted(range(len(asks)), key=lambda i: -asks[i].question.tokens)
    found: list[list[int]] = []
    longest, inputs = 0, 0
    for i in order:
        question = asks[i].question
        inputs += len(question.inputs)
        if not found or inputs * longest > batch_tokens:
            found.append([])
            longest, inputs = question.tokens, len(question.inputs)
        found[-1].append(i)
    return found
