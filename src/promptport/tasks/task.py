"""Task: a question to a language model, its template, label words, metric and data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from promptport.errors import TaskError
from promptport.tasks.data import (
    REQUIRED,
    Kind,
    MemorySource,
    Row,
    RowSpec,
    Source,
    kept_rows,
)
from promptport.tasks.metrics import METRICS, Score, check_metric, majority_score
from promptport.tasks.template import Template
from promptport.tasks.text_metrics import require_metric
from promptport.tasks.writing import WritingConfig

SCHEMA_VERSION = 1  # of task files


@dataclass(frozen=True)
class Task:
    """A task. Its source reads rows when they are first asked for, and keeps them.

    Attributes:
        name: as it is written in provenance, for instance `lama:P36`.
        kind: `probe`, `classification` or `text2text`.
        template: the text around the virtual tokens.
        metric: a name in `METRICS[kind]`.
        manual: a template written by hand, without virtual tokens.
        paraphrases: other such templates.
        labels: label -> label words; for Pearson and Spearman the labels are numbers.
            Only for a classification.
        description: one line.
        source: where the rows are.
        writing: how answers are written. Only for text to text.
        sentinel: seq2seq models fill a gap with label words and objects, as in pretraining (T5's
            `<extra_id_0>`); else they answer with a text of their own, as PEFT trains them.

    Raises:
        TaskError: the parts do not fit together.
    """

    name: str
    kind: Kind
    template: Template
    metric: str
    manual: Template | None = None
    paraphrases: tuple[Template, ...] = ()
    labels: Mapping[str, tuple[str, ...]] | None = None
    description: str = ""
    source: Source = field(default_factory=lambda: MemorySource({}))
    writing: WritingConfig = field(default_factory=WritingConfig)
    sentinel: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise TaskError(
                f"task {self.name!r}, kind",
                expected=f"one of {', '.join(get_args(Kind))}",
                got=repr(self.kind),
                fix="Correct the kind",
            )
        check_metric(self.metric, self.kind, f"task {self.name!r}, metric")
        for template in (self.manual, *self.paraphrases):
            if template is not None and template.has_soft:
                raise TaskError(
                    f"task {self.name!r}, manual template",
                    expected="no {soft}",
                    got=repr(template.text),
                    fix="Remove {soft}: manual templates are plain text",
                )
        _check_labels(self)
        if self.writing != WritingConfig():
            self.need_text2text("Leave the settings of writing out")

    @property
    def answers_alone(self) -> bool:
        """Whether seq2seq models answer with a text of its own, not with a word of a sentence."""
        return self.kind == "text2text" or not self.sentinel

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be loaded."""
        return self.source.splits

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the texts that a row has: those that its kind needs or a template names."""
        templates = [t for t in (self.template, self.manual, *self.paraphrases) if t is not None]
        named = (name for template in templates for name in template.fields)
        return tuple(dict.fromkeys((*REQUIRED[self.kind], *named)))

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers and a score is their probability-weighted mean."""
        return self.metric in _OF_NUMBERS

    @property
    def label_names(self) -> tuple[str, ...]:
        """Labels in the order of the task file; empty if the task has none."""
        return tuple(self.labels or ())

    @property
    def label_values(self) -> tuple[float, ...]:
        """Labels of a regression as numbers, in the same order; empty for all other tasks."""
        return tuple(float(name) for name in self.label_names) if self.is_regression else ()

    def load(self, split: str) -> tuple[Row, ...]:
        """All rows of `train`, `dev` or `test`.

        Raises:
            TaskError: see `load_rows`.
        """
        return kept_rows(self.source, split, self.spec)

    def texts(self, split: str) -> tuple[Row, ...]:
        """All rows of a split with empty answers: labels need not be there, and are not read.

        Raises:
            TaskError: see `load_rows`.
        """
        return kept_rows(self.source, split, replace(self.spec, answers=False))

    def with_template(self, text: str) -> Task:
        """The same task with another template.

        Raises:
            TaskError: it does not parse.
        """
        return replace(self, template=Template.parse(text))

    def with_chat(self) -> Task:
        """The same task with all its templates as messages of a user in a chat."""
        manual = None if self.manual is None else self.manual.in_chat()
        others = tuple(template.in_chat() for template in self.paraphrases)
        return replace(self, template=self.template.in_chat(), manual=manual, paraphrases=others)

    def with_writing(self, writing: WritingConfig) -> Task:
        """The same task with answers that are written in another way.

        Raises:
            TaskError: not a text-to-text task.
        """
        return replace(self, writing=writing)

    def with_rows(
        self,
        train: Sequence[Row] | None = None,
        dev: Sequence[Row] | None = None,
        test: Sequence[Row] | None = None,
    ) -> Task:
        """The same task with other rows.

        Args:
            train: rows as `load` gives them; None: the new task has no such split.
            dev: likewise.
            test: likewise.
        """
        splits = {"train": train, "dev": dev, "test": test}
        rows = {split: tuple(given) for split, given in splits.items() if given is not None}
        return replace(self, source=MemorySource(rows))

    def majority(self, split: str = "train") -> str:
        """The most frequent answer of a split, the first one among equals."""
        return Counter(row.answer for row in self.load(split)).most_common(1)[0][0]

    def refuse_text2text(self, fix: str) -> None:
        """Refuse free answers where answers are compared word by word or label by label.

        Raises:
            TaskError: text to text.
        """
        if self.kind == "text2text":
            raise TaskError(
                f"task {self.name!r}",
                expected="a probe or a classification",
                got="text to text",
                fix=fix,
            )

    def need_text2text(self, fix: str) -> None:
        """Refuse what only tasks with free answers know.

        Raises:
            TaskError: another kind of task.
        """
        if self.kind != "text2text":
            raise TaskError(
                f"task {self.name!r}",
                expected="a task of kind 'text2text', whose answers are written",
                got=f"one of kind {self.kind!r}",
                fix=fix,
            )

    def majority_score(self, split: str = "test") -> Score:
        """Score of always giving the most frequent answers of `train`."""
        return majority_score(
            self.metric,
            [row.answer for row in self.load("train")],
            [row.answer for row in self.load(split)],
        )

    def check_also(self, metric: str) -> None:
        """Refuse a metric that cannot be computed from the same answers as the task's own.

        Raises:
            TaskError: it suits another kind of task, or its package is missing.
        """
        check_metric(metric, self.kind)
        if self.kind == "classification" and (metric in _OF_NUMBERS) != self.is_regression:
            known = _OF_NUMBERS if self.is_regression else _PLAIN
            raise TaskError(
                "metric",
                expected=f"one of {', '.join(known)}, as the task's own {self.metric!r}",
                got=repr(metric),
                fix="Choose one of them",
            )
        require_metric(metric)

    def label_targets(self, answer: str) -> tuple[float, ...]:
        """The distribution over labels that a perfect prompt would give a row.

        Args:
            answer: `Row.answer`.

        Returns:
            One probability per label; for a regression the two labels around the number share
            it so that their mean is the number.
        """
        if not self.is_regression:
            return tuple(float(name == answer) for name in self.label_names)
        values, number = self.label_values, float(answer)
        below = max(v for v in values if v <= number)
        above = min(v for v in values if v >= number)
        share = (number - below) / (above - below) if above > below else 0.0
        return tuple((v == below) * (1 - share) + (v == above) * share for v in values)

    def label_mean(self, probabilities: Sequence[float]) -> float:
        """The number that a regression predicts: the mean of its labels under probabilities."""
        pairs = zip(self.label_values, probabilities, strict=True)
        return sum(value * float(probability) for value, probability in pairs)

    @property
    def spec(self) -> RowSpec:
        """What the rows of this task must look like."""
        values = self.label_values
        bounds = (min(values), max(values)) if values else None
        labels = self.label_names if self.labels is not None else None
        return RowSpec(self.kind, self.fields, labels, bounds)


def _check_labels(task: Task) -> None:
    where = f"task {task.name!r}, labels"
    if task.kind != "classification":
        if task.labels is not None:
            raise TaskError(
                where,
                expected="none",
                got=f"some for a task of kind {task.kind!r}",
                fix="Remove the labels, or choose the kind 'classification'",
            )
        return
    if task.labels is None or len(task.labels) < 2:
        raise TaskError(
            where,
            expected="at least two labels with their words",
            got=", ".join(task.labels or ()) or "none",
            fix="Write for instance 'labels: {negative: [bad], positive: [great]}'",
        )
    _check_label_words(task.labels, where)
    if task.is_regression:
        _check_numbers(task.labels, where)


def _check_label_words(labels: Mapping[str, tuple[str, ...]], where: str) -> None:
    owners: dict[str, str] = {}
    for label, words in labels.items():
        if not words or not all(word.strip() for word in words):
            raise TaskError(
                where,
                expected=f"at least one word for {label!r}",
                got="none",
                fix="Add a label word",
            )
        for word in words:
            if owners.setdefault(word, label) != label:
                raise TaskError(
                    where,
                    expected="different words for different labels",
                    got=f"{word!r} for {owners[word]!r} and {label!r}",
                    fix="Change one of them",
                )


def _check_numbers(labels: Mapping[str, Any], where: str) -> None:
    for name in labels:
        try:
            finite = math.isfinite(float(name))
        except ValueError:
            finite = False
        if not finite:
            raise TaskError(
                where,
                expected="numbers as labels of a regression",
                got=repr(name),
                fix=f"Name the labels by numbers, or choose one of {', '.join(_PLAIN)}",
            )


_OF_NUMBERS = ("pearson", "spearman")
_PLAIN = tuple(m for m in METRICS["classification"] if m not in _OF_NUMBERS)
