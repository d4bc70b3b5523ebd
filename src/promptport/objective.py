"""What a task asks of a backbone: rows laid out, a loss per row, a prediction per row.

Three shapes of question:
- probe: which token of the whole vocabulary is the object (paper A, section 4: P@1);
- classification: which label's words are the most likely answer;
- text to text: how likely is the target, and what does the backbone write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, EncodedRow, Layout
from promptport.errors import TaskError
from promptport.progress import stage
from promptport.seeds import check_seed
from promptport.tasks import Answer, Row, Task, Template, require_metric

_LEAST_REST = 1e-6  # share of its probability that a word keeps beside longer ones


@dataclass(frozen=True)
class Question:
    """One row of a task, laid out.

    Attributes:
        inputs: the inputs that must be run to answer it (one, or one per group of label words).
        row: the row it comes from.
        gold: token id of the object (probe).
        goal: the distribution over labels that a perfect prompt gives (classification).
    """

    inputs: tuple[EncodedRow, ...]
    row: Row
    gold: int = -1
    goal: tuple[float, ...] = ()

    @property
    def answer_tokens(self) -> int:
        """Scored positions of the input that has most."""
        return max(len(i.scored) for i in self.inputs)

    @property
    def tokens(self) -> int:
        """Length of the longest input."""
        return max(len(i.ids) + len(i.decoder_ids) for i in self.inputs)


@dataclass(frozen=True)
class Prepared:
    """Questions of one split.

    Attributes:
        questions: those that the backbone can be asked.
        skipped: rows left out because their object is not a single token of the backbone.
    """

    questions: tuple[Question, ...]
    skipped: int


class Objective:
    """Asks one task of one backbone through one template.

    Args:
        backbone: the frozen model.
        task: the task.
        template: in place of the task's own; `{soft}` decides where virtual tokens stand.
        length: number of virtual tokens, 0 for templates without `{soft}`.
        truncate: cut texts that are too long instead of refusing them.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        template: Template | None = None,
        *,
        length: int = 0,
        truncate: bool = False,
    ) -> None:
        self.backbone = backbone
        self.task = task
        require_metric(task.metric)
        self.template = template or task.template
        if self.template.has_chat:
            _ = backbone.layout.chat  # refuses what knows no chats, before any data is read
        self.length = length
        self.truncate = truncate
        self._labels = task.label_names
        pairs = [(i, w) for i, name in enumerate(self._labels) for w in (task.labels or {})[name]]
        self._label_of_word = [i for i, _ in pairs]
        self._words = [word for _, word in pairs]

    def prepare(self, rows: Sequence[Row]) -> Prepared:
        """Lay out rows.

        Raises:
            TaskError: no row can be asked, a text does not fit, a label word is unknown.
        """
        with stage("laying out rows"):
            if self.task.kind == "probe":
                return self._prepare_probe(rows)
            if self.task.kind == "classification":
                return Prepared(self._prepare_labels(rows), 0)
            return Prepared(self._prepare_text(rows), 0)

    def can_ask(self, row: Row) -> bool:
        """Whether a row can be asked: the object of a probe must be a single token."""
        return self.task.kind != "probe" or len(self._object_ids(row.answer)) == 1

    @cached_property
    def stand_in(self) -> str:
        """An answer that every row can be asked with, where the right one is not known."""
        if self.task.kind == "classification":
            return self._labels[0]
        words = sorted(self.backbone.space.words)
        return next(w for w in words if self.task.kind != "probe" or len(self._object_ids(w)) == 1)

    def losses(self, logits: Tensor, questions: Sequence[Question]) -> Tensor:
        """Loss per question, to be minimised.

        Args:
            logits: (I, m, V) at the scored positions of all inputs, in the order of the questions.
            questions: Q questions.

        Returns:
            (Q,) negative log-likelihoods: of the object among all tokens, of the label among all
            labels, or the mean over the tokens of the target.
        """
        if self.task.kind == "text2text":
            return self._target_losses(logits, questions)
        scores = self.scores(logits, questions)
        gold: Tensor  # token ids, or distributions over labels
        if self.task.kind == "probe":
            gold = torch.tensor([q.gold for q in questions], device=scores.device)
        else:
            gold = torch.tensor([q.goal for q in questions], device=scores.device)
        return torch.nn.functional.cross_entropy(scores, gold, reduction="none")

    def scores(self, logits: Tensor, questions: Sequence[Question]) -> Tensor:
        """Unnormalised log-probability of every candidate.

        Args:
            logits: as in `losses`.
            questions: Q questions.

        Returns:
            (Q, V) for a probe, (Q, C) for a classification.
        """
        if self.task.kind == "probe":
            return logits[:, 0].float()  # (Q, V)
        per_question = len(self._plan.answers)
        grouped = logits.reshape(len(questions), per_question, *logits.shape[1:])
        return self._label_scores(grouped.float())

    def _prepare_probe(self, rows: Sequence[Row]) -> Prepared:
        ids = [self._object_ids(row.answer) for row in rows]
        kept = [(row, i) for row, i in zip(rows, ids, strict=True) if len(i) == 1]
        if not kept:
            raise TaskError(
                f"task {self.task.name!r}",
                expected=f"objects that are a single token of {self.backbone.name}",
                got=f"none among {len(rows)} rows (the first is {rows[0].answer!r})",
                fix="Choose another backbone or task",
            )
        encoded = self._encode([row for row, _ in kept], [i for _, i in kept])
        questions = tuple(
            Question((e,), row, gold=i[0]) for e, (row, i) in zip(encoded, kept, strict=True)
        )
        return Prepared(questions, len(rows) - len(kept))

    def _object_ids(self, word: str) -> tuple[int, ...]:
        try:
            return self._word_ids([word])[0]
        except TaskError:  # unknown to the tokenizer: counted among the skipped rows
            return ()

    def _prepare_labels(self, rows: Sequence[Row]) -> tuple[Question, ...]:
        variants = [self._encode(rows, [answer] * len(rows)) for answer in self._plan.answers]
        return tuple(
            Question(inputs, row, goal=self.task.label_targets(row.answer))
            for row, inputs in zip(rows, zip(*variants, strict=True), strict=True)
        )

    def _prepare_text(self, rows: Sequence[Row]) -> tuple[Question, ...]:
        targets = self.backbone.layout.answer_ids(
            [row.answer for row in rows],
            spaced=self.backbone.kind == "causal" and self._spaced,
            initial=self.backbone.kind == "seq2seq",
            chat=self.template.has_chat,
        )
        end = self.backbone.special.end
        if self.template.has_chat and self.backbone.layout.chat.end is not None:
            end = self.backbone.layout.chat.end
        tail = () if end is None else (end,)
        encoded = self._encode(rows, [(*ids, *tail) for ids in targets])
        return tuple(Question((e,), row) for e, row in zip(encoded, rows, strict=True))

    def _encode(self, rows: Sequence[Row], answers: Sequence[tuple[int, ...]]) -> list[EncodedRow]:
        return self.backbone.layout.encode(
            self.template,
            [row.fields for row in rows],
            answers,
            self.length,
            truncate=self.truncate,
            free_text=self.task.answers_alone,
        )

    def _word_ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Token ids of label words or objects, where they stand."""
        return word_ids(self.backbone.layout, self.task, self.template, words)

    @cached_property
    def _spaced(self) -> bool:
        return _begins_word(self.template)

    @cached_property
    def _plan(self) -> _LabelPlan:
        """Which inputs the label words need.

        Words of one token share one input. Longer words share one input per length in a masked
        model (as many masks as tokens), and have one each elsewhere (the word is read along).
        """
        ids = self._word_ids(self._words)
        _refuse_clashes(self._words, ids, self._label_of_word, self.backbone.name)
        keys = [len(i) if self.backbone.kind == "masked" or len(i) == 1 else i for i in ids]
        distinct = list(dict.fromkeys(keys))
        answers = [next(i for i, k in zip(ids, keys, strict=True) if k == key) for key in distinct]
        longer = _longer_words(ids, self._label_of_word)
        return _LabelPlan(ids, [distinct.index(key) for key in keys], answers, longer)

    def _label_scores(self, logits: Tensor) -> Tensor:
        """(Q, I, m, V) logits of the I inputs of each question -> (Q, C)."""
        plan = self._plan
        if len(plan.answers) == 1 and all(len(i) == 1 for i in plan.ids):
            columns = torch.tensor([i[0] for i in plan.ids], device=logits.device)
            words = logits[:, 0, 0].index_select(1, columns)  # (Q, W), up to a constant per row
        else:
            words = self._long_word_scores(logits.log_softmax(-1), plan)
        return pool_words(words, self._label_of_word, len(self._labels))

    def _long_word_scores(self, log_probs: Tensor, plan: _LabelPlan) -> Tensor:
        """Chain rule over a word's tokens; in a masked model their mean, since words of different
        lengths stand in different sentences there."""
        columns = []
        for ids, variant in zip(plan.ids, plan.variants, strict=True):
            steps = [log_probs[:, variant, j, token] for j, token in enumerate(ids)]
            total = torch.stack(steps).sum(0)  # (Q,)
            columns.append(total / len(ids) if self.backbone.kind == "masked" else total)
        if self.backbone.kind != "masked":
            columns = _without_longer(columns, plan.longer)
        return torch.stack(columns, dim=1)  # (Q, W)

    def _target_losses(self, logits: Tensor, questions: Sequence[Question]) -> Tensor:
        most = logits.shape[1]
        targets = torch.full((len(questions), most), -100, device=logits.device)
        for i, question in enumerate(questions):
            ids = question.inputs[0].targets
            targets[i, : len(ids)] = torch.tensor(ids, device=logits.device)
        loss = torch.nn.functional.cross_entropy(
            logits.float().transpose(1, 2), targets, reduction="none", ignore_index=-100
        )  # (Q, m)
        return loss.sum(1) / (targets != -100).sum(1)

    def predictions(self, logits: Tensor, questions: Sequence[Question]) -> list[Any]:
        """What the metric compares with the gold answers.

        Returns:
            Rank of the object (0 is best) for a probe, label name or expected number for a
            classification.
        """
        scores = self.scores(logits, questions)
        if self.task.kind == "probe":
            gold = torch.tensor([q.gold for q in questions], device=scores.device)
            right = scores.gather(1, gold[:, None])
            # Ties, which are common in bfloat16, go to the lower id, as in argmax.
            lower = torch.arange(scores.shape[1], device=scores.device) < gold[:, None]
            ahead = (scores > right) | ((scores == right) & lower)
            return [int(rank) for rank in ahead.sum(1)]
        if self.task.is_regression:
            numbers = torch.tensor(self.task.label_values, device=scores.device)
            return [float(v) for v in scores.softmax(1) @ numbers]
        return [self._labels[int(i)] for i in scores.argmax(1)]

    def gold(self, questions: Sequence[Question]) -> list[Any]:
        """The right answers in the form of `predictions`."""
        if self.task.kind == "probe":
            return [0] * len(questions)
        if self.task.is_regression:
            return [float(q.row.answer) for q in questions]
        return [q.row.answer for q in questions]

    def write(
        self, questions: Sequence[Question], vectors: Tensor, starts: Sequence[int]
    ) -> list[str]:
        """Let the backbone write the answers of text-to-text questions, as the task says."""
        rows = [question.inputs[0] for question in questions]
        texts = self.backbone.generate(rows, vectors, starts, self.task.writing)
        return [text.strip() for text in texts]


def word_ids(
    layout: Layout, task: Task, template: Template, words: Sequence[str]
) -> list[tuple[int, ...]]:
    """Token ids of label words or objects of a task, where they stand in a template.

    Raises:
        TaskError: a word that the tokenizer does not know.
    """
    alone = task.answers_alone and layout.kind == "seq2seq"
    return layout.answer_ids(
        words, spaced=_begins_word(template), initial=alone, chat=template.has_chat
    )


def _begins_word(template: Template) -> bool:
    """Whether the answer begins a new word, which only the template decides."""
    pieces = template.render(dict.fromkeys(template.fields, "x"))
    return next(piece.spaced for piece in pieces if isinstance(piece, Answer))


@dataclass(frozen=True)
class _LabelPlan:
    ids: list[tuple[int, ...]]  # per label word
    variants: list[int]  # per label word: which input holds its scored positions
    answers: list[tuple[int, ...]]  # per input: the answer that it is laid out for
    longer: list[list[int]]  # per label word: words of other labels that begin with it


def _refuse_clashes(
    words: Sequence[str], ids: Sequence[tuple[int, ...]], labels: Sequence[int], name: str
) -> None:
    seen: dict[tuple[int, ...], tuple[str, int]] = {}
    for word, key, label in zip(words, ids, labels, strict=True):
        other, other_label = seen.setdefault(key, (word, label))
        if other_label != label:
            raise TaskError(
                f"label words {other!r} and {word!r}",
                expected="different tokens for each label",
                got=f"the same tokens in {name}",
                fix="Choose other label words",
            )


def _longer_words(ids: Sequence[tuple[int, ...]], labels: Sequence[int]) -> list[list[int]]:
    """For each label word the words of other labels that begin with it, as `not` begins `not bad`;
    of those that begin with each other the shortest."""
    found = []
    for own, label in zip(ids, labels, strict=True):
        shortest: list[int] = []
        for j in sorted(range(len(ids)), key=lambda k: len(ids[k])):
            begins = [own, *(ids[k] for k in shortest)]
            known = [word for word in begins if ids[j][: len(word)] == word]
            if labels[j] != label and known == [own] and ids[j] != own:
                shortest.append(j)
        found.append(shortest)
    return found


def _without_longer(words: Sequence[Tensor], longer: Sequence[Sequence[int]]) -> list[Tensor]:
    """Log-probabilities (Q,) that a label word is read and none of the longer ones that begin with
    it: the longer one could never be the likelier of the two otherwise."""
    apart = []
    for word, others in zip(words, longer, strict=True):
        if others:
            share = torch.stack([words[j] - word for j in others]).logsumexp(0)
            word = word + torch.log1p(-share.clamp_max(-_LEAST_REST).exp())
        apart.append(word)
    return apart


def pool_words(words: Tensor, labels: Sequence[int], count: int) -> Tensor:
    """Log of the mean probability over the words of each label: (Q, W) -> (Q, C)."""
    if len(labels) == count:
        return words
    columns = []
    for label in range(count):
        own = [i for i, of in enumerate(labels) if of == label]
        mean = torch.logsumexp(words[:, own], dim=1) - torch.log(torch.tensor(float(len(own))))
        columns.append(mean)
    return torch.stack(columns, dim=1)


def blind_rows(rows: Sequence[Row], objective: Objective) -> list[Row]:
    """The rows with a stand-in for the answer, which only takes the answer's place."""
    return [replace(row, answer=objective.stand_in) for row in rows]


def pick_rows(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """A seeded choice of at most so many rows."""
    if most < 1:
        raise TaskError("rows", expected="1 or more", got=str(most), fix="Ask more rows")
    check_seed(seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return [rows[i] for i in order[:most].tolist()]
