"""Scoring prompts on tasks: many prompts, many tasks, one backbone, batches sorted by length.

`score_batches` is the only place where questions are put to a backbone. Tuning, distillation and
all that compares answers iterate over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TaskError
from promptport.objective import Objective, Prepared, Question
from promptport.progress import Progress, counted
from promptport.prompt import SoftPrompt
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import Score, Task, TaskLike, Template, as_task, bootstrap_score, hits

# Tokens per forward pass: beyond a few thousand, larger batches only cost memory.
BATCH_TOKENS = 8192
# Logits per forward pass: a large vocabulary at every token of long answers takes gigabytes.
MOST_LOGITS = 1 << 27
_EVEN_FROM = 20_000_000  # parameters from which padding costs more than one more pass
_BUSY_TOKENS = 512  # of a pass that keeps a processor busy
_MUCH_SHORTER = 0.85


# For some of the questions, by their numbers: a table (N, d), and where in it their prompts begin.
PromptsOf = Callable[[Sequence[int]], tuple[Tensor, Sequence[int]]]


@dataclass(frozen=True)
class PromptedQuestion:
    """One question put to the backbone behind one prompt.

    Attributes:
        objective: the task, template and backbone.
        question: the row.
        start: first row of its prompt in the table of all prompts.
    """

    objective: Objective
    question: Question
    start: int


@dataclass(frozen=True)
class ScoredQuestions:
    """What the backbone says to those questions of one forward pass that share an objective.

    Attributes:
        objective: the task, template and backbone.
        places: their numbers among all questions.
        questions: Q questions.
        logits: (I, m, V) at the scored positions of their inputs.
        table: (N, d) virtual tokens of the forward pass.
        starts: first row of each question's prompt in the table.
    """

    objective: Objective
    places: list[int]
    questions: list[Question]
    logits: Tensor
    table: Tensor
    starts: list[int]

    def losses(self) -> Tensor:
        """(Q,) as `Objective.losses`."""
        return self.objective.losses(self.logits, self.questions)

    def scores(self) -> Tensor:
        """(Q, C) as `Objective.scores`."""
        return self.objective.scores(self.logits, self.questions)

    def predictions(self) -> list[Any]:
        """As `Objective.predictions`; the texts that are written for text to text."""
        if self.objective.task.kind == "text2text":
            return list(self.objective.write(self.questions, self.table, self.starts))
        return self.objective.predictions(self.logits, self.questions)


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
        others: by their names, other metrics that were asked for.
    """

    score: Score
    loss: float
    skipped: int
    template: str
    predictions: tuple[Any, ...]
    right: tuple[bool, ...] | None
    others: Mapping[str, Score] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the predictions."""
        others = {name: score.to_dict() for name, score in self.others.items()}
        return {
            **self.score.to_dict(),
            **({"other_metrics": others} if others else {}),
            "loss": self.loss,
            "skipped": self.skipped,
            "template": self.template,
        }


def evaluate(
    backbone: BackboneLike,
    task: TaskLike,
    prompt: PromptLike | None = None,
    *,
    template: Template | None = None,
    split: str = "test",
    truncate: bool = False,
    metrics: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Score a soft prompt, or a plain template, on a task.

    Args:
        backbone: the frozen model, or its name or folder.
        task: the task, its name or its file.
        prompt: the soft prompt or its folder; None for a template without `{soft}` (default: the
            manual one).
        template: where the virtual tokens stand; default the one that the prompt was tuned with if
            it suits the task, else the task's.
        split: `train`, `dev` or `test`.
        truncate: cut texts that are too long instead of refusing them.
        metrics: others to compute next to the task's own.
        progress: called with the number of rows that are done, and of all.

    Raises:
        MismatchError: the prompt belongs to another backbone.
        TaskError: the template, the data or the label words do not fit; a metric that does not
            suit the task, or whose package is missing.
    """
    backbone, task = as_backbone(backbone), as_task(task)
    for metric in metrics:
        task.check_also(metric)
    if prompt is not None:
        prompt = as_prompt(prompt)
        backbone.check_prompt(prompt)
    chosen = template or choose_template(task, prompt)
    length = 0 if prompt is None else prompt.length
    objective = Objective(backbone, task, chosen, length=length, truncate=truncate)
    prepared = objective.prepare(task.load(split))
    vectors = torch.zeros(1, backbone.width) if prompt is None else prompt.vectors
    queries = prompted(objective, prepared.questions)
    outcome = evaluate_queries(backbone, queries, vectors, progress=progress)
    return evaluation_of(outcome, objective, prepared, metrics)


def score_prompts(
    backbone: BackboneLike,
    prompts: Sequence[PromptLike],
    tasks: Sequence[TaskLike],
    *,
    split: str = "test",
    rows: int = 0,
    truncate: bool = False,
) -> list[list[Evaluation]]:
    """Score every prompt on every task, all in the same batches.

    Args:
        backbone: the frozen model of all prompts, or its name or folder.
        prompts: (n_i, d) each or their folders, one or more; lengths may differ.
        tasks: one or more, or their names or files; templates are chosen as in `evaluate`.
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
    backbone = as_backbone(backbone)
    opened, asked = [as_prompt(p) for p in prompts], [as_task(t) for t in tasks]
    loaded = [task.load(split)[: rows or None] for task in asked]
    known: dict[tuple[int, str, int], tuple[Objective, Prepared]] = {}
    queries: list[PromptedQuestion] = []
    parts: list[tuple[range, Objective, Prepared]] = []
    start = 0
    for prompt in opened:
        backbone.check_prompt(prompt)
        for number, task in enumerate(asked):
            template = choose_template(task, prompt)
            key = (number, template.text, prompt.length)
            if key not in known:
                objective = Objective(
                    backbone, task, template, length=prompt.length, truncate=truncate
                )
                known[key] = (objective, objective.prepare(loaded[number]))
            objective, prepared = known[key]
            first = len(queries)
            queries += prompted(objective, prepared.questions, start)
            parts.append((range(first, len(queries)), objective, prepared))
        start += prompt.length
    outcome = evaluate_queries(backbone, queries, torch.cat([p.vectors for p in opened]))
    scored = [evaluation_of(outcome.part(places), own, rows) for places, own, rows in parts]
    return [scored[i : i + len(asked)] for i in range(0, len(scored), len(asked))]


def evaluation_of(
    outcome: Outcome, objective: Objective, prepared: Prepared, metrics: Sequence[str] = ()
) -> Evaluation:
    """The evaluation of one task and template from what came out for all its questions."""
    metric = objective.task.metric
    return Evaluation(
        outcome.score(metric),
        outcome.mean_loss,
        prepared.skipped,
        objective.template.text,
        tuple(outcome.predictions),
        hits(metric, outcome.gold, outcome.predictions),
        {name: outcome.score(name) for name in metrics if name != metric},
    )


def choose_template(task: Task, prompt: SoftPrompt | None) -> Template:
    """The template of a prompt if its fields are the task's, else the task's own.

    A prompt that was put together of several tasks' has one for each of these.

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
    made = prompt.provenance
    for text in (made.template, (made.templates or {}).get(task.name)):
        if text is not None:
            own = Template.parse(text)
            if set(own.fields) <= set(task.template.fields):
                return own
    return task.template


@dataclass(frozen=True)
class Outcome:
    """What came out for a list of questions, in their order.

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

    def score(self, metric: str, *, resamples: int = 1000) -> Score:
        """The metric over all questions, which must be of one task."""
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
def evaluate_queries(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    prompts: Tensor | PromptsOf,
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Outcome:
    """Losses and predictions of questions, whatever their tasks and prompts.

    Args:
        backbone: as in `score_batches`, like all that follows.
        queries: Q questions.
        prompts: (N, d), or what gives them.
        batch_tokens: tokens per forward pass.
        progress: called with the number of questions that are done, and of all.
    """
    losses = torch.zeros(len(queries))
    done = 0
    predictions: list[Any] = [None] * len(queries)
    gold: list[Any] = [None] * len(queries)
    for scored in score_questions(backbone, queries, prompts, batch_tokens=batch_tokens):
        losses[scored.places] = scored.losses().float().cpu()
        right = scored.objective.gold(scored.questions)
        for i, value, wanted in zip(scored.places, scored.predictions(), right, strict=True):
            predictions[i], gold[i] = value, wanted
        done += len(scored.places)
        if progress is not None:
            progress(done, len(queries))
    return Outcome(losses, predictions, gold)


@torch.no_grad()
def collect_scores(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    prompts: Tensor | PromptsOf,
    *,
    of_batch: Callable[[Tensor], Tensor],
) -> Tensor:
    """A row for each question, in their order; one number of candidates for all.

    Args:
        backbone: as in `score_batches`, like all that follows.
        queries: Q questions.
        prompts: (N, d), or what gives them.
        of_batch: makes the rows (Q', A) of a batch from its scores (Q', C).

    Returns:
        (Q, A)
    """
    rows: dict[int, Tensor] = {}
    for scored in score_questions(backbone, queries, prompts):
        rows |= dict(zip(scored.places, of_batch(scored.scores()), strict=True))
    return torch.stack([rows[i] for i in range(len(queries))])


def score_questions(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    prompts: Tensor | PromptsOf,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[ScoredQuestions]:
    """What `score_batches` yields, one after the other."""
    return chain.from_iterable(score_batches(backbone, queries, prompts, batch_tokens=batch_tokens))


def score_batches(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    prompts: Tensor | PromptsOf,
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[Iterator[ScoredQuestions]]:
    """Put questions of any tasks behind any prompts to a backbone. Gradients are kept.

    Args:
        backbone: the frozen model.
        queries: the questions.
        prompts: (N, d) virtual tokens of all prompts; or what gives those of a forward pass, where
            questions have prompts of their own: their `start` does not count then.
        batch_tokens: most tokens per forward pass, padding included.

    Yields:
        For each forward pass, the longest questions first, its questions objective by objective.
    """
    if isinstance(prompts, Tensor):
        prompts = prompts.to(backbone.device)
    even = backbone.parameters >= _EVEN_FROM
    passed = [_passed_tokens(backbone, query.question) for query in queries] if even else []
    batches = _batches(queries, batch_tokens, len(backbone.tokenizer), passed)
    costs = [_padded_tokens(queries, places) for places in batches]
    for places in counted(batches, [len(places) for places in batches], costs):
        if isinstance(prompts, Tensor):
            starts: Sequence[int] = [queries[i].start for i in places]
            yield _forward(backbone, queries, places, prompts, starts)
        else:
            table, starts = prompts(places)
            yield _forward(backbone, queries, places, table, starts)


def _forward(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    places: Sequence[int],
    table: Tensor,
    starts: Sequence[int],
) -> Iterator[ScoredQuestions]:
    """One forward pass over some of the questions."""
    start_of = dict(zip(places, starts, strict=True))
    owners = [i for i in places for _ in queries[i].question.inputs]
    inputs = [row for i in places for row in queries[i].question.inputs]
    logits = backbone.answer_logits(inputs, table, [start_of[i] for i in owners])
    groups: dict[int, list[int]] = {}
    for i in places:
        groups.setdefault(id(queries[i].objective), []).append(i)
    rows: dict[int, list[int]] = {}
    for row, owner in enumerate(owners):
        rows.setdefault(id(queries[owner].objective), []).append(row)
    for key, members in groups.items():
        own = logits
        if len(groups) > 1:
            own = logits.index_select(0, torch.tensor(rows[key], device=logits.device))
        yield ScoredQuestions(
            queries[members[0]].objective,
            members,
            [queries[i].question for i in members],
            own,
            table,
            [start_of[i] for i in members],
        )


def _batches(
    queries: Sequence[PromptedQuestion],
    batch_tokens: int,
    vocabulary: int,
    passed: Sequence[int] = (),
) -> list[list[int]]:
    """Numbers of questions in batches of similar length, bounded in padded tokens and in logits.

    Given the tokens that each question passes through the model, batches also end where these get
    much fewer, once they are long enough to keep a processor busy: on a large model padding costs
    more than one more pass.
    """
    order = sorted(range(len(queries)), key=lambda i: -queries[i].question.tokens)
    batches: list[list[int]] = []
    longest, most, scored, inputs = 0, 0, 0, 0
    for i in order:
        question = queries[i].question
        inputs += len(question.inputs)
        scored = max(scored, question.answer_tokens)
        full = inputs * longest > batch_tokens or inputs * scored * vocabulary > MOST_LOGITS
        shorter = bool(passed) and (
            (inputs - len(question.inputs)) * most >= _BUSY_TOKENS
            and passed[i] < _MUCH_SHORTER * most
        )
        if not batches or full or shorter:
            batches.append([])
            longest, most, scored = question.tokens, 0, question.answer_tokens
            inputs = len(question.inputs)
        if passed:
            most = max(most, passed[i])
        batches[-1].append(i)
    return batches


def _passed_tokens(backbone: Backbone, question: Question) -> int:
    """Of the longest input: what is not kept already."""
    return max(backbone.tokens_to_pass(row) for row in question.inputs)


def _padded_tokens(queries: Sequence[PromptedQuestion], places: Sequence[int]) -> int:
    """Of a batch: what its forward pass takes time for."""
    own = [queries[i].question for i in places]
    return sum(len(q.inputs) for q in own) * max(q.tokens for q in own)


def prompted(
    objective: Objective, questions: Sequence[Question], start: int = 0
) -> list[PromptedQuestion]:
    """Questions behind one prompt.

    Args:
        objective: of all questions.
        questions: Q questions.
        start: first row of the prompt in the table of all prompts.
    """
    return [PromptedQuestion(objective, question, start) for question in questions]
