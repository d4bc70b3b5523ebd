"""Rows of the data sets of "Task Prompt Vectors" (arXiv 2408.01119), divided as there.

A folder in the shape of the `nlu:` tasks is read as it is divided. A data set of the Hub, or a copy
of one, is divided by `datasets` itself with the authors' seed, so that the rows are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import Any, Literal

from promptport.errors import TaskError
from promptport.tasks.data import SPLITS, RowsRead
from promptport.tasks.reading import Record, read_records

SEED = 42  # of the authors' splits and shuffles
DEV_ROWS = 1_000  # of a large data set's training rows
_SLOT = re.compile(r"\{(\w+)\}")
_BOXED = re.compile(r"\\boxed\s*\{")


@dataclass(frozen=True)
class DataSet:
    """Where a data set is, how it is divided, and how its columns become ours.

    Attributes:
        hub: id on the Hub.
        config: name of its configuration.
        revision: where the Hub keeps it in a form that can be read.
        rule: `large`: 1,000 of the training rows become `dev`; `small`: a held-out split is halved
            into `dev` and `test`.
        splits: our split -> theirs, of those that are not divided.
        held: the split that is halved.
        label: column of the labels.
        stratify: whether every label is divided alike.
        texts: our field -> their columns in braces.
    """

    hub: str
    rule: Literal["large", "small"]
    splits: Mapping[str, str]
    texts: Mapping[str, str]
    config: str | None = None
    revision: str | None = None
    held: str | None = None
    label: str = "label"
    stratify: bool = True


@dataclass(frozen=True)
class TpvSource:
    """A data set of the paper, in a folder or on the Hub. What was read of it is kept.

    Attributes:
        data: the data set.
        answer: our column of the answers: `label` or `target`.
        labels: the label of each number, as the answer is written; empty for free answers.
        renamed: label of a folder of `nlu:` tasks -> label here.
        target: how a record's free answer is made; empty for labels.
        folder: of this task in a folder of `nlu:` tasks; None: from the Hub.
        root: folder with copies of data sets of the Hub; None: from the Hub itself.
    """

    data: DataSet
    answer: str
    labels: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    folder: Path | None = None
    root: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict, init=False)
    label_names: tuple[str, ...] = field(default=(), init=False)
    _read: RowsRead = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that there are."""
        if self.folder is None:
            return SPLITS
        return tuple(split for split in SPLITS if (self.folder / f"{split}.jsonl").is_file())

    def place(self, split: str) -> str:
        """Name of a split in messages."""
        if self.folder is not None:
            return str(self.folder / f"{split}.jsonl")
        parts = (str(self._copy() or self.data.hub), self.data.config, self._theirs(split))
        return ":".join(part for part in parts if part)

    def records(self, split: str) -> Iterator[Record]:
        """Records of a split with our columns (see `load_rows`)."""
        if self.folder is not None:
            yield from self._of_folder(split)
            return
        where = self.place(split)
        for number, record in enumerate(self._of_hub(split)):
            texts = {ours: _filled(form, record) for ours, form in self.data.texts.items()}
            # some questions of QQP are empty: they are counted in the division, and not asked
            if all(texts.values()):
                yield f"{where}, row {number}", texts | {self.answer: self._answer(record)}

    def _of_folder(self, split: str) -> Iterator[Record]:
        for where, record in read_records(Path(self.place(split))):
            given = record.get(self.answer, record.get("label"))
            named = self.renamed.get(given, given) if isinstance(given, str) else given
            yield where, {**record, self.answer: named}

    def _answer(self, record: Mapping[str, Any]) -> Any:
        if self.target:
            return _TARGETS[self.target](record)
        value = record.get(self.data.label)
        if isinstance(value, int) and value in range(len(self.labels)):
            return self.labels[value]
        # a similarity, of which the authors keep one decimal
        return f"{value:.1f}" if isinstance(value, float) else value

    def _theirs(self, split: str) -> str:
        """Their split that ours is, or is a part of."""
        own = self.data.splits
        return own.get(split, self.data.held) or own["train"]

    def _copy(self) -> Path | None:
        return None if self.root is None else self.root / self.data.hub

    def _of_hub(self, split: str) -> Any:
        """The rows of a split, divided and shuffled with the authors' calls."""
        whole = self._load(self._theirs(split))
        column = self.data.label if self.data.stratify else None
        if column is not None:
            whole = self._with_classes(whole, column, split)
        if split in self.data.splits and not (split == "train" and self.data.rule == "large"):
            return whole.shuffle(seed=SEED)
        share = 0.5 if self.data.rule == "small" else self._dev_share(len(whole), split)
        # rounded as `datasets` rounds the authors' shares, by which QQP's `dev` has 999 rows
        first = floor(share * len(whole))
        second = min(ceil((1 - share) * len(whole)), len(whole) - first)
        parts = whole.train_test_split(
            train_size=first, test_size=second, seed=SEED, stratify_by_column=column
        )
        return parts["train" if split == "dev" else "test"]

    def _with_classes(self, whole: Any, column: str, split: str) -> Any:
        """The labelled rows, with a column of classes, which a stratified division needs."""
        if column not in whole.column_names:
            raise TaskError(
                self.place(split),
                expected=f"a column {column!r}",
                got=", ".join(whole.column_names),
                fix="Restore the data set from its source",
            )
        if not hasattr(whole.features[column], "names"):  # texts, or plain numbers
            whole = whole.class_encode_column(column)
        classes = whole[column]
        kept = [place for place, value in enumerate(classes) if value is not None and value >= 0]
        # pairs that nobody agreed on have no label in SNLI
        return whole if len(kept) == len(whole) else whole.select(kept)

    def _dev_share(self, rows: int, split: str) -> float:
        if rows <= DEV_ROWS:
            raise TaskError(
                self.place(split),
                expected=f"more than {DEV_ROWS:,} rows, of which so many become 'dev'",
                got=f"{rows:,}",
                fix="Restore the data set, or give a folder that is divided already",
            )
        return DEV_ROWS / rows

    def _load(self, theirs: str) -> Any:
        data, copy = self.data, self._copy()
        where = f"data set {data.hub!r}"
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise TaskError(
                where,
                expected="the package 'datasets'",
                got="none installed",
                fix="Run pip install 'promptport[datasets]', or give --data FOLDER with its rows",
            ) from error
        try:
            if copy is not None:
                return load_dataset(str(copy), data.config, split=theirs)
            return load_dataset(data.hub, data.config, split=theirs, revision=data.revision)
        except Exception as error:  # every backend of datasets has exceptions of its own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise TaskError(
                f"{where}, split {theirs!r}" if copy is None else f"{copy}, split {theirs!r}",
                expected="a data set that can be loaded",
                got=f"{type(error).__name__} ({reason.rstrip('.')})",
                fix=f"Where there is a network run {self._download()}, then give --data FOLDER",
            ) from error

    def _download(self) -> str:
        revision = f" --revision {self.data.revision}" if self.data.revision else ""
        return (
            f"'hf download {self.data.hub} --repo-type dataset{revision} "
            f"--local-dir FOLDER/{self.data.hub}'"
        )


def _filled(form: str, record: Mapping[str, Any]) -> str:
    """Columns in a text; empty when all of them are."""
    cells = {name: record.get(name) for name in _SLOT.findall(form)}
    if not any(str(cell or "").strip() for cell in cells.values()):
        return ""
    return _SLOT.sub(lambda match: str(cells[match[1]] or "").strip(), form).strip()


def _first_answer(record: Mapping[str, Any]) -> str:
    texts = record["answers"]["text"]
    return str(texts[0]) if texts else "unanswerable"


def _answers_literal(record: Mapping[str, Any]) -> str:
    """As Python writes the mapping, which is what the authors train on."""
    answers = record["answers"]
    return str({"text": list(answers["text"]), "answer_start": list(answers["answer_start"])})


def _boxed_result(record: Mapping[str, Any]) -> str:
    r"""What stands in the last \boxed{...}; the whole solution where there is none."""
    solution = str(record["solution"])
    found = list(_BOXED.finditer(solution))
    if not found:
        return solution
    depth, start = 1, found[-1].end()
    for place in range(start, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[start:place]
    return solution


def _solution(record: Mapping[str, Any]) -> str:
    return str(record["solution"])


_TARGETS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "first_answer": _first_answer,
    "answers_literal": _answers_literal,
    "boxed_result": _boxed_result,
    "solution": _solution,
}
