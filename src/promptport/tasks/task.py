"""Task: a question to a language model, its template, label words, metric and data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

from promptport.errors import TaskError
from promptport.tasks.data import (
    REQUIRED,
    SPLITS,
    FileSource,
    HubSource,
    Kind,
    MemorySource,
    Row,
    RowSpec,
    Source,
    kept_rows,
)
from promptport.tasks.metrics import METRICS, Score, check_metric, majority_score
from promptport.tasks.template import Template

SCHEMA_VERSION = 1
_NEEDED = ("schema", "name", "kind", "template", "metric", "data")
_KNOWN = (*_NEEDED, "description", "manual", "paraphrases", "labels", "columns")
_FILE_KEYS = (*SPLITS, "label_names")
_HUB_KEYS = ("hub", "config", "splits", "columns", "label_names")


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
        return self.metric in ("pearson", "spearman")

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

    def majority_score(self, split: str = "test") -> Score:
        """Score of always giving the most frequent answers of `train`."""
        return majority_score(
            self.metric,
            [row.answer for row in self.load("train")],
            [row.answer for row in self.load(split)],
        )

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


def load_task(
    path: str | Path, *, folder: str | Path | None = None, name: str | None = None
) -> Task:
    """Read a task file (YAML, schema 1).

    Args:
        path: the file.
        folder: where its data files are; default the folder of the file.
        name: name of the task in place of the one in the file.

    Raises:
        TaskError: unreadable, of a newer schema, with missing, unknown or ill-typed keys.
    """
    path = Path(path)
    where = str(path)
    values = _read_yaml(path)
    _check_schema(values, where)
    _check_keys(values, _NEEDED, _KNOWN, where)
    kind = cast(Kind, _choice(values, "kind", get_args(Kind), where))
    metric = _string(values, "metric", where)
    check_metric(metric, kind, f"{where}, key 'metric'")
    try:
        template, manual = (_template(values, key, where) for key in ("template", "manual"))
        return Task(
            name=name or _string(values, "name", where),
            kind=kind,
            template=cast(Template, template),
            metric=metric,
            manual=manual,
            paraphrases=_paraphrases(values, where),
            labels=_labels(values, where),
            description=_string(values, "description", where, default=""),
            source=_source(values, Path(folder or path.parent), where),
        )
    except TaskError as error:
        if not str(error).startswith(where):  # templates and label checks know no file
            error.args = (f"{where}, {error}",)
        raise


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise TaskError(
            str(path), expected="a task file", got="nothing at this path", fix="Check the path"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(
            str(path),
            expected="a readable task file",
            got=error.strerror or str(error),
            fix="Check the permissions",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TaskError(
            str(path),
            expected="YAML",
            got=f"text that does not parse ({reason})",
            fix="Mend the file; text with ':' or '{' needs quotes",
        ) from error
    if not isinstance(values, dict):
        raise TaskError(
            str(path),
            expected="a mapping of keys",
            got=type(values).__name__,
            fix=f"Write the keys {', '.join(_NEEDED)}",
        )
    return values


def _check_schema(values: dict[str, Any], where: str) -> None:
    schema = values.get("schema")
    if schema == SCHEMA_VERSION and type(schema) is int:
        return
    newer = type(schema) is int and schema > SCHEMA_VERSION
    got = "no 'schema'" if schema is None else f"schema {schema!r}"
    fix = "Update promptport" if newer else f"Write 'schema: {SCHEMA_VERSION}'"
    raise TaskError(where, expected=f"schema {SCHEMA_VERSION}", got=got, fix=fix)


def _check_keys(
    values: Mapping[str, Any], needed: Sequence[str], known: Sequence[str], where: str
) -> None:
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise TaskError(
            where,
            expected=f"the keys {', '.join(known)}",
            got=repr(unknown[0]),
            fix="Remove the key, or correct its spelling",
        )
    missing = [key for key in needed if values.get(key) is None]
    if missing:
        raise TaskError(
            where,
            expected=f"the keys {', '.join(needed)}",
            got=f"no {missing[0]!r}",
            fix=f"Add {missing[0]!r}",
        )


def _wrong_type(where: str, key: str, expected: str, value: Any) -> TaskError:
    got = f"{type(value).__name__} {value!r}"[:120]
    fix = "Put quotes around the word: YAML reads yes, no, on and off as true and false"
    return TaskError(
        f"{where}, key {key!r}",
        expected=expected,
        got=got,
        fix=fix if isinstance(value, bool) else "Correct the value",
    )


def _string(values: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = values.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise _wrong_type(where, key, "a text", value)
    return value.strip()


def _choice(values: Mapping[str, Any], key: str, known: Sequence[str], where: str) -> str:
    value = _string(values, key, where)
    if value not in known:
        raise TaskError(
            f"{where}, key {key!r}",
            expected=f"one of {', '.join(known)}",
            got=repr(value),
            fix="Correct the value",
        )
    return value


def _template(values: Mapping[str, Any], key: str, where: str) -> Template | None:
    if values.get(key) is None:
        return None
    return Template.parse(_string(values, key, where))


def _paraphrases(values: Mapping[str, Any], where: str) -> tuple[Template, ...]:
    texts = values.get("paraphrases") or []
    if not isinstance(texts, list):
        raise _wrong_type(where, "paraphrases", "a list of templates", texts)
    return tuple(Template.parse(_word(text, "paraphrases", where)) for text in texts)


def _labels(values: Mapping[str, Any], where: str) -> dict[str, tuple[str, ...]] | None:
    labels = values.get("labels")
    if labels is None:
        return None
    if not isinstance(labels, dict):
        raise _wrong_type(where, "labels", "a mapping from labels to label words", labels)
    pairs = ((_word(name, "labels", where), words) for name, words in labels.items())
    return {name: _words(words, where) for name, words in pairs}


def _words(words: Any, where: str) -> tuple[str, ...]:
    listed = words if isinstance(words, list) else [words]
    return tuple(_word(word, "labels", where) for word in listed)


def _word(value: Any, key: str, where: str) -> str:
    """A word; numbers are taken as written, `yes` and `no` are not guessed back."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise _wrong_type(where, key, "a text", value)
    return str(value).strip()


def _source(values: Mapping[str, Any], folder: Path, where: str) -> Source:
    data = values["data"]
    if not isinstance(data, dict):
        raise _wrong_type(where, "data", "a mapping of splits, or of a Hub data set", data)
    columns = _mapping(values, "columns", where)
    names = data.get("label_names") or []
    if not isinstance(names, list):
        raise _wrong_type(where, "label_names", "a list of labels", names)
    label_names = tuple(_word(name, "label_names", where) for name in names)
    if "hub" not in data:
        _check_keys(data, (), _FILE_KEYS, f"{where}, key 'data'")
        files = {s: folder / _string(data, s, where) for s in SPLITS if data.get(s) is not None}
        _check_splits(files, where)
        return FileSource(files, columns, label_names)
    _check_keys(data, ("hub", "splits"), _HUB_KEYS, f"{where}, key 'data'")
    splits = _mapping(data, "splits", where)
    _check_keys(splits, (), SPLITS, f"{where}, key 'splits'")
    _check_splits(splits, where)
    config = _string(data, "config", where) if data.get("config") is not None else None
    columns |= _mapping(data, "columns", where)
    return HubSource(_string(data, "hub", where), config, splits, columns, label_names)


def _mapping(values: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    mapping = values.get(key) or {}
    if not isinstance(mapping, dict):
        raise _wrong_type(where, key, "a mapping of names", mapping)
    return {_word(k, key, where): _word(v, key, where) for k, v in mapping.items()}


def _check_splits(splits: Mapping[str, Any], where: str) -> None:
    if not splits:
        raise TaskError(
            f"{where}, key 'data'",
            expected=f"at least one of {', '.join(SPLITS)}",
            got="none",
            fix="Name a file or a data set's split for each",
        )


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


_PLAIN = tuple(m for m in METRICS["classification"] if m not in ("pearson", "spearman"))
