"""Is a task fit for use? Every split is read; what is wrong and what is doubtful is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from promptport.errors import TaskError
from promptport.tasks.data import MemorySource, Row, RowReader
from promptport.tasks.task import Task

_MOST_SHOWN = 5  # problems of one split that are told one by one
_FEW_ROWS = 16  # of a label to train on: fewer are doubtful
_USES = {
    "train": "'promptport tune' learns from it",
    "dev": "'promptport tune' chooses the best epoch by it",
    "test": "'promptport eval' scores it",
}
TokenCounts = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True)
class SplitCheck:
    """What a split holds.

    Attributes:
        rows: that could be read.
        bad: rows that could not.
        answers: rows per label of a classification; otherwise empty.
        repeated: rows whose texts stand in the split before them.
    """

    rows: int
    bad: int
    answers: Mapping[str, int]
    repeated: int


@dataclass(frozen=True)
class TaskCheck:
    """What was found.

    Attributes:
        task: its name.
        kind: `probe`, `classification` or `text2text`.
        splits: split -> what it holds.
        problems: what makes the task unfit for some use, one sentence each.
        warnings: what is likely a slip, or makes scores doubtful.
    """

    task: str
    kind: str
    splits: Mapping[str, SplitCheck]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "task": self.task,
            "kind": self.kind,
            "ok": self.ok,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }


@dataclass
class _Notes:
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_task(
    task: Task, tokens: TokenCounts | None = None, backbone: str = "the backbone"
) -> TaskCheck:
    """Read every row of a task and tell what is wrong with it.

    Args:
        task: from `open_task` or `load_task`, which refuse what is wrong in the file itself.
        tokens: number of tokens of each answer in a backbone, 0 for one that it cannot write;
            None: label words and objects are not looked at.
        backbone: its name, for the sentences.

    Returns:
        What was found; nothing is raised for rows that cannot be used.
    """
    notes = _Notes()
    rows: dict[str, tuple[Row, ...]] = {}
    splits: dict[str, SplitCheck] = {}
    for split in task.splits:
        rows[split], bad = _read(task, split, notes)
        answers = _answers(task, rows[split])
        texts = Counter(tuple(row.fields.items()) for row in rows[split])
        repeated = sum(texts.values()) - len(texts)
        if repeated:
            notes.warnings.append(f"{split}: {_count(repeated)} repeat the texts of another row.")
        splits[split] = SplitCheck(len(rows[split]), bad, answers, repeated)
    for split, use in _USES.items():
        if split not in splits:
            notes.warnings.append(f"There is no split '{split}': {use}.")
    if not task.template.has_soft:
        notes.problems.append(
            f"The template {task.template.text!r} has no {{soft}}: no prompt can be tuned for it."
        )
    _check_answers(task, splits, notes)
    _check_overlap(rows, notes)
    if tokens is not None:
        _check_tokens(task, rows, tokens, backbone, notes)
    return TaskCheck(task.name, task.kind, splits, tuple(notes.problems), tuple(notes.warnings))


def _read(task: Task, split: str, notes: _Notes) -> tuple[tuple[Row, ...], int]:
    """Rows that can be used, and the number of those that cannot; their problems are noted."""
    if isinstance(task.source, MemorySource):
        return task.load(split), 0
    source = task.source
    reader = RowReader(source.columns, source.label_names, task.spec)
    rows: list[Row] = []
    wrong: list[str] = []
    try:
        for where, record in source.records(split):
            try:
                rows.append(reader.read(where, record))
            except TaskError as error:
                wrong.append(str(error))
    except TaskError as error:  # the file itself
        wrong.append(str(error))
    notes.problems += wrong[:_MOST_SHOWN]
    if len(wrong) > _MOST_SHOWN:
        notes.problems.append(
            f"{source.place(split)}: {len(wrong) - _MOST_SHOWN:,} more rows cannot be used."
        )
    if not rows and not wrong:
        notes.problems.append(f"{source.place(split)}: the file holds no rows.")
    return tuple(rows), len(wrong)


def _answers(task: Task, rows: Sequence[Row]) -> dict[str, int]:
    if task.kind != "classification" or task.is_regression:
        return {}
    counts = Counter(row.answer for row in rows)
    return {label: counts[label] for label in task.label_names}


def _check_answers(task: Task, splits: Mapping[str, SplitCheck], notes: _Notes) -> None:
    """Labels without rows, and with few."""
    for name, split in splits.items():
        absent = [label for label, count in split.answers.items() if not count]
        if absent and split.rows:
            notes.warnings.append(f"{name}: no row has the label {', '.join(absent)}.")
    few = {
        label: count
        for label, count in (splits["train"].answers if "train" in splits else {}).items()
        if 0 < count < _FEW_ROWS
    }
    if few:
        shown = ", ".join(f"{label} {count}" for label, count in list(few.items())[:5])
        notes.warnings.append(f"train: some labels have few rows ({shown}).")


def _check_overlap(rows: Mapping[str, Sequence[Row]], notes: _Notes) -> None:
    """Texts that stand in two splits: a score on them is too good."""
    texts = {split: {tuple(row.fields.items()) for row in own} for split, own in rows.items()}
    for first, second in combinations(texts, 2):
        shared = sum(tuple(row.fields.items()) in texts[first] for row in rows[second])
        if shared:
            notes.warnings.append(
                f"{_count(shared)} of {second} stand in {first} as well: scores on {second} will "
                "be too good. Remove them from one of the two."
            )


def _check_tokens(
    task: Task,
    rows: Mapping[str, Sequence[Row]],
    tokens: TokenCounts,
    backbone: str,
    notes: _Notes,
) -> None:
    if task.kind == "probe":
        _check_objects(rows, tokens, backbone, notes)
    for label, words in (task.labels or {}).items():
        for word, count in zip(words, tokens(words), strict=True):
            if count == 0:
                notes.problems.append(
                    f"label {label!r}: {backbone} cannot write the word {word!r}. Choose another."
                )
            elif count > 1:
                notes.warnings.append(
                    f"label {label!r}: the word {word!r} is {count} tokens of {backbone}; words "
                    "of one token work best."
                )


def _check_objects(
    rows: Mapping[str, Sequence[Row]], tokens: TokenCounts, backbone: str, notes: _Notes
) -> None:
    """A probe asks for single tokens; other rows are left out."""
    for split, own in rows.items():
        objects = list(dict.fromkeys(row.answer for row in own))
        single = {o for o, count in zip(objects, tokens(objects), strict=True) if count == 1}
        left = sum(row.answer not in single for row in own)
        if own and left == len(own):
            notes.problems.append(f"{split}: no object is a single token of {backbone}.")
        elif left:
            notes.warnings.append(
                f"{split}: {_count(left)} of {len(own):,} will be left out, because their object "
                f"is not a single token of {backbone}."
            )


def _count(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"
