"""Answers of a prompt to texts of one's own: no labels, no data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TaskError
from promptport.evaluation import (
    ScoredQuestions,
    choose_template,
    prompted,
    score_questions,
)
from promptport.objective import Objective, Question, blind_rows
from promptport.progress import Progress
from promptport.prompt import SoftPrompt
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import Row, Task, TaskLike, Template, as_task

Texts = Sequence[str | Mapping[str, str] | Row]


@dataclass(frozen=True)
class Prediction:
    """The answer to one text.

    Attributes:
        fields: the text, or the texts by field.
        answer: label (classification), word (probe), text (text to text), or the expected number
            of a regression, as text.
        probabilities: label -> probability over all labels, the best first; of a probe word ->
            probability among all tokens, the best few; None for text to text.
        truncated: whether the text was too long for the backbone, and only its beginning was read.
    """

    fields: Mapping[str, str]
    answer: str
    probabilities: Mapping[str, float] | None
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        shares = None if self.probabilities is None else dict(self.probabilities)
        return {
            **{"fields": dict(self.fields), "answer": self.answer, "probabilities": shares},
            "truncated": self.truncated,
        }


def predict(
    prompt: PromptLike | None,
    texts: Texts,
    *,
    backbone: BackboneLike | None = None,
    task: TaskLike | None = None,
    template: Template | None = None,
    top: int = 5,
    progress: Progress | None = None,
) -> list[Prediction]:
    """Answer texts with a prompt. Texts that are too long are cut, and marked so.

    Args:
        prompt: the soft prompt or its folder; None for a template without `{soft}` (default: the
            manual one of the task).
        texts: one or more; a string fills the only field, a mapping names the fields, and of a row
            the answer is not read.
        backbone: the frozen model, or its name or folder; None: the one that the prompt names.
        task: kind, label words and template; its data is not read. None: the task that the prompt
            remembers.
        template: where the virtual tokens stand; chosen as in `evaluate` if None.
        top: words to give of a probe.
        progress: called with the number of answered texts and of all.

    Returns:
        One prediction per text, in their order.

    Raises:
        MismatchError: the prompt belongs to another backbone.
        TaskError: no texts, a field that is missing or empty, a template or label words that do
            not fit; neither a task nor a prompt that remembers one.
        UnknownNameError: the prompt remembers the name of a task that does not come with
            promptport.
    """
    loaded = None if prompt is None else as_prompt(prompt)
    made = None if loaded is None else loaded.provenance
    asked = as_task(_known("task", task, made.task if made else None))
    model = as_backbone(_known("backbone", backbone, made.backbone if made else None))
    if loaded is not None:
        model.check_prompt(loaded)
    own = AskedTask(model, asked, loaded, template)
    laid_out = own.lay_out(texts)
    table = torch.zeros(1, model.width) if loaded is None else loaded.vectors
    answers: list[tuple[str, dict[str, float] | None]] = [("", None)] * len(laid_out.rows)
    done = 0
    with torch.no_grad():
        queries = prompted(own.objective, laid_out.questions)
        for part in score_questions(model, queries, table):
            for place, answer in zip(part.places, answers_of(part, top), strict=True):
                answers[place] = answer
            done += len(part.places)
            if progress is not None:
                progress(done, len(answers))
    return [
        Prediction(row.fields, answer, shares, is_cut)
        for row, (answer, shares), is_cut in zip(laid_out.rows, answers, laid_out.cut, strict=True)
    ]


@dataclass(frozen=True)
class LaidOutTexts:
    """Texts as a task asks them.

    Attributes:
        rows: their fields, without an answer.
        questions: what the backbone is asked, in the same order.
        cut: whether only the beginning of a text is asked.
    """

    rows: Sequence[Row]
    questions: Sequence[Question]
    cut: Sequence[bool]


class AskedTask:
    """A task that is asked with texts of one's own, behind one prompt.

    Args:
        backbone: the frozen model.
        task: kind, label words and template; its data is not read.
        prompt: the soft prompt; None for a template without `{soft}`.
        template: where the virtual tokens stand; chosen as in `evaluate` if None.

    Attributes:
        objective: what is asked; texts that are too long are cut.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        prompt: SoftPrompt | None = None,
        template: Template | None = None,
    ) -> None:
        chosen = template or choose_template(task, prompt)
        length = 0 if prompt is None else prompt.length
        self.objective = Objective(backbone, task, chosen, length=length, truncate=True)
        self._whole = Objective(backbone, task, chosen, length=length)

    @property
    def writes(self) -> bool:
        """Whether answers are written, not chosen."""
        return self.objective.task.kind == "text2text"

    def lay_out(self, texts: Texts, numbers: Sequence[int] | None = None) -> LaidOutTexts:
        """Texts as questions.

        Args:
            texts: see `predict`.
            numbers: what messages call them by; None for 1, 2, ...

        Raises:
            TaskError: no texts, or a field that is missing or empty.
        """
        named = numbers or range(1, len(texts) + 1)
        rows = _rows(texts, named, self.objective.template, self.objective.task)
        questions = self.objective.prepare(blind_rows(rows, self.objective)).questions
        limit = self.objective.backbone.max_tokens
        if limit is None:
            return LaidOutTexts(rows, questions, [False] * len(rows))
        # Cut to the last word that fits, so nearly full: most rows need no second look.
        cut = [q.tokens > limit // 2 and not self._fits(q.row) for q in questions]
        return LaidOutTexts(rows, questions, cut)

    def _fits(self, row: Row) -> bool:
        try:
            self._whole.prepare([row])
        except TaskError:  # the same row could be laid out when it was cut
            return False
        return True


def _known(name: str, given: Any, remembered: str | None) -> Any:
    if given is None and remembered is None:
        raise TaskError(
            name, expected="one, since no prompt names it", got="none", fix=f"Give {name}=..."
        )
    return remembered if given is None else given


def _rows(texts: Texts, numbers: Sequence[int], template: Template, task: Task) -> list[Row]:
    """Texts as rows with the fields that the template asks for."""
    if not texts:
        raise TaskError("texts", expected="one or more", got="none", fix="Give a text to answer")
    needed = template.fields
    rows = []
    for i, text in zip(numbers, texts, strict=True):
        if isinstance(text, str) and len(needed) != 1:
            raise TaskError(
                f"text {i}",
                expected=f"the fields {', '.join(needed)} of task {task.name!r}",
                got="one text",
                fix="Give the fields by name",
            )
        if isinstance(text, str):
            fields = {needed[0]: text}
        else:
            fields = dict(text.fields if isinstance(text, Row) else text)
        missing = [name for name in needed if not fields.get(name, "").strip()]
        if missing:
            raise TaskError(
                f"text {i}",
                expected=f"a text in {missing[0]!r}",
                got="an empty one" if missing[0] in fields else f"only {', '.join(fields)}",
                fix="Leave the text out, or complete it",
            )
        rows.append(Row({name: fields[name].strip() for name in needed}, ""))
    return rows


def answers_of(part: ScoredQuestions, top: int) -> list[tuple[str, dict[str, float] | None]]:
    """Answer and probabilities of each question of a part of a forward pass.

    Args:
        part: of a forward pass without gradients.
        top: words to give of a probe.
    """
    task = part.objective.task
    if task.kind == "text2text":
        return [(str(text), None) for text in part.predictions()]
    shares = part.scores().softmax(1).cpu()  # (Q, C) or (Q, V)
    if task.kind == "probe":
        return [_best_words(part.objective.backbone, row, top) for row in shares]
    return [_label_answer(task, row.tolist()) for row in shares]


def _best_words(backbone: Backbone, shares: torch.Tensor, top: int) -> tuple[str, dict[str, float]]:
    """The likeliest tokens of (V,) probabilities, written as words."""
    values, ids = shares.topk(min(top, len(shares)))
    words: dict[str, float] = {}
    for token, value in zip(ids.tolist(), values.tolist(), strict=True):
        word = backbone.tokenizer.decode([token]).strip() or repr(backbone.tokenizer.decode(token))
        words[word] = words.get(word, 0.0) + value  # "Paris" may be two tokens
    return next(iter(words)), words


def _label_answer(task: Task, shares: list[float]) -> tuple[str, dict[str, float]]:
    named = dict(zip(task.label_names, shares, strict=True))
    ordered = dict(sorted(named.items(), key=lambda item: -item[1]))
    if task.is_regression:
        return f"{task.label_mean(shares):.3g}", ordered
    return next(iter(ordered)), ordered
