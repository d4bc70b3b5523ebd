"""A table of texts with labels or free answers becomes a task: splits, task file, label words."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.errors import TaskError
from promptport.files import atomic_folder
from promptport.seeds import check_seed
from promptport.tasks.columns import guess_columns
from promptport.tasks.data import SPLITS, Row
from promptport.tasks.reading import Record, in_utf8, read_delimited, read_records
from promptport.tasks.task import SCHEMA_VERSION, Task
from promptport.tasks.task_file import load_task

TASK_FILE = "task.yaml"
_DELIMITERS = (",", ";", "\t", "|")
_LEAST_ROWS = 3  # of a label: one for each split
_FEW_ROWS = 16  # of a label: fewer are noted
_MOST_LABELS = 100
_MUCH = 0.7  # share of the commonest label from which accuracy says little
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class ImportConfig:
    """How a table becomes a task.

    Attributes:
        text: column of the texts; None: guessed.
        label: column of the labels; None: guessed.
        text_b: column of second texts, for pairs of texts; None: there are none.
        target: column of free answers, which makes a task of text to text; None: there are labels.
        name: of the task; None: the name of the file.
        dev: share of the rows of each label that become the split `dev`, above 0.
        test: likewise.
        seed: of the choice.

    Raises:
        TaskError: shares that leave nothing to train on.
    """

    text: str | None = None
    label: str | None = None
    text_b: str | None = None
    name: str | None = None
    dev: float = 0.2
    test: float = 0.2
    seed: int = 0
    target: str | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.target is not None and self.label is not None:
            raise TaskError(
                "label and target",
                expected="one of them",
                got="both",
                fix="Name labels to choose from as label, free answers as target",
            )
        if not (self.dev > 0 and self.test > 0 and self.dev + self.test < 1):
            raise TaskError(
                "shares of dev and test",
                expected="numbers above 0 with a sum below 1",
                got=f"{self.dev:g} and {self.test:g}",
                fix="Leave them out for 0.2 and 0.2",
            )


@dataclass(frozen=True)
class ImportedTask:
    """What was made of a table.

    Attributes:
        file: the task file.
        task: the task.
        text: column that the texts were taken from.
        label: column that the labels, or the free answers, were taken from.
        rows: split -> number of rows.
        labels: label -> number of rows in all splits; empty for free answers.
        notes: what the user should know, one sentence each.
    """

    file: Path
    task: Task
    text: str
    label: str
    rows: Mapping[str, int]
    labels: Mapping[str, int]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "file": str(self.file),
            "task": self.task.name,
            "text_column": self.text,
            "label_column": self.label,
            "rows": dict(self.rows),
            "labels": dict(self.labels),
            "label_words": {name: list(words) for name, words in (self.task.labels or {}).items()},
            "notes": list(self.notes),
        }


def import_task(
    table: str | Path, folder: str | Path, config: ImportConfig | None = None
) -> ImportedTask:
    """Make a classification, or text to text, of a CSV, TSV, JSONL or Parquet file.

    The folder gets `task.yaml` and one JSONL file per split. Each label is divided among the
    splits on its own, so all splits have all labels. A text that stands in the table several
    times is taken once.

    Args:
        table: the file; its first line names the columns (JSONL: every line does).
        folder: to write; new, or one without a task file.
        config: columns, name, shares and seed.

    Returns:
        The task and what was noted on the way.

    Raises:
        TaskError: an unreadable table, columns that cannot be told, one label only, labels with
            fewer than three rows, or a folder that holds a task.
        StorageError: the folder cannot be written.
    """
    table, folder, config = Path(table), Path(folder), config or ImportConfig()
    if (folder / TASK_FILE).exists():
        raise TaskError(
            str(folder),
            expected="a folder without a task file",
            got=f"one with {TASK_FILE}",
            fix="Name a new folder: the label words in the old one may have been edited",
        )
    records = list(_records(table))
    free = config.target is not None
    option, answers = ("--target", config.target) if free else ("--label", config.label)
    columns = guess_columns(table, records, config.text, answers, config.text_b, option)
    gathered = _gather(records, columns)
    if free:
        _check_enough(table, gathered, columns["label"])
    else:
        _check_counts(table, gathered.counts, columns["label"])
    counts = {} if free else gathered.counts
    splits = _split(gathered.rows, config)
    with atomic_folder(folder) as staging:
        for split in SPLITS:
            _write_rows(staging / f"{split}.jsonl", splits[split], "target" if free else "label")
        name = config.name or _slug(table.stem)
        text = (
            _text_task_file(name, table.name, columns)
            if free
            else _task_file(name, table.name, counts, columns)
        )
        (staging / TASK_FILE).write_text(text, encoding="utf-8")
    return ImportedTask(
        folder / TASK_FILE,
        load_task(folder / TASK_FILE),
        columns["text"],
        columns["label"],
        {split: len(splits[split]) for split in SPLITS},
        counts,
        (*gathered.notes(), *(() if free else _notes(counts))),
    )


def _records(table: Path) -> Iterator[Record]:
    """Records of the table; CSV files may be divided by other signs than commas."""
    if table.suffix.lower() != ".csv" or not table.is_file():
        return read_records(table)
    with table.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    delimiter = max(_DELIMITERS, key=header.count)
    if delimiter == ",":  # also where there is none of them
        return read_records(table)
    return _delimited(table, delimiter)


def _delimited(table: Path, delimiter: str) -> Iterator[Record]:
    with in_utf8(table):
        yield from read_delimited(table, delimiter)


@dataclass
class _Gathered:
    """Rows of the table, each text once."""

    rows: list[Row] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)  # places of rows without a text or label
    repeated: int = 0  # rows whose text and label were there before
    torn: list[str] = field(default_factory=list)  # texts with several labels

    @property
    def counts(self) -> dict[str, int]:
        """Rows per label, numbers in their order, else by name."""
        counts = Counter(row.answer for row in self.rows)
        numbers = all(_NUMBER.fullmatch(label) for label in counts)
        return dict(sorted(counts.items(), key=lambda c: (float(c[0]) if numbers else 0, c[0])))

    def notes(self) -> list[str]:
        notes = []
        if self.empty:
            notes.append(
                f"Left out {_rows(len(self.empty))} without a text or a label "
                f"(the first: {self.empty[0]})."
            )
        if self.repeated:
            notes.append(f"Left out {_rows(self.repeated)} that stand in the file twice.")
        if self.torn:
            notes.append(
                f"{_rows(len(self.torn))} repeat a text under another label; the first label of "
                f"each text was taken (for instance {_short(self.torn[0])!r})."
            )
        return notes


def _gather(records: Sequence[Record], columns: Mapping[str, str]) -> _Gathered:
    gathered = _Gathered()
    labels: dict[tuple[str, ...], str] = {}
    for where, record in records:
        cells = {ours: _plain(record.get(theirs), where) for ours, theirs in columns.items()}
        label = cells.pop("label")
        texts = tuple(cells.values())
        if not label or not all(texts):
            gathered.empty.append(where)
        elif (same := tuple(map(_composed, texts))) not in labels:
            labels[same] = label
            gathered.rows.append(Row(cells, label))
        elif labels[same] == label:
            gathered.repeated += 1
        else:
            gathered.torn.append(texts[0])
    return gathered


def _composed(text: str) -> str:
    """The same for a letter with its accent, whether it is written as one sign or as two."""
    return unicodedata.normalize("NFC", text)


def _look(label: str) -> str:
    """The same for labels that look alike: in case, composition, width, or by signs unseen."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    return "".join(c for c in plain if unicodedata.category(c) != "Cf")


def _plain(value: Any, where: str) -> str:
    """A cell as text; whole numbers that a program wrote as 1.0 become 1."""
    if value is None or value != value:  # NaN is how tables write that nothing is there
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise TaskError(
        where,
        expected="a text or a number in every cell",
        got=type(value).__name__,
        fix="Name other columns with --text and --label, or mend the row",
    )


def _check_enough(table: Path, gathered: _Gathered, column: str) -> None:
    if len(gathered.rows) < _LEAST_ROWS:
        raise TaskError(
            f"{table}, column {column!r}",
            expected=f"at least {_LEAST_ROWS} rows with a text and an answer, one for each split",
            got=str(len(gathered.rows)),
            fix="Add rows, or name other columns with --text and --target",
        )


def _check_counts(table: Path, counts: Mapping[str, int], column: str) -> None:
    """Refuse labels that nothing can be learned from."""
    where = f"{table}, column {column!r}"
    if len(counts) < 2:
        raise TaskError(
            where,
            expected="at least two labels",
            got=f"only {next(iter(counts))!r}" if counts else "no row with a text and a label",
            fix="Name the column of the labels with --label, or add rows of another label",
        )
    if len(counts) > _MOST_LABELS:
        raise TaskError(
            where,
            expected=f"at most {_MOST_LABELS} labels",
            got=f"{len(counts):,} different values",
            fix="Name the column of the labels with --label",
        )
    if few := [label for label, count in counts.items() if count < _LEAST_ROWS]:
        raise TaskError(
            where,
            expected=f"at least {_LEAST_ROWS} rows of every label, one for each split",
            got=", ".join(f"{counts[label]} of {label!r}" for label in few[:5]),
            fix="Add rows of these labels, or remove them",
        )
    alike = Counter(map(_look, counts))
    if twice := [label for label in counts if alike[_look(label)] > 1]:
        cased = all(label.isascii() for label in twice)
        raise TaskError(
            where,
            expected="labels that differ in more than "
            + ("upper and lower case" if cased else "how their signs are written"),
            got=", ".join(map(repr if cased else ascii, twice[:4])),
            fix="Write each label in one way",
        )


def _split(rows: Sequence[Row], config: ImportConfig) -> dict[str, list[Row]]:
    """Every label divided on its own, free answers together; rows stay in the table's order."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault("" if config.target else row.answer, []).append(place)
    chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
    generator = random.Random(config.seed)
    for label in sorted(places):
        own = places[label]
        generator.shuffle(own)
        most = (len(own) - 1) // 2  # so that one is left to train on
        dev, test = (min(most, max(1, round(len(own) * s))) for s in (config.dev, config.test))
        chosen["dev"] += own[:dev]
        chosen["test"] += own[dev : dev + test]
        chosen["train"] += own[dev + test :]
    return {split: [rows[place] for place in sorted(chosen[split])] for split in SPLITS}


def _write_rows(file: Path, rows: Sequence[Row], key: str) -> None:
    lines = [json.dumps({**row.fields, key: row.answer}, ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text_task_file(name: str, table: str, columns: Mapping[str, str]) -> str:
    import yaml

    texts = " ".join(f"{{{ours}}}" for ours in columns if ours != "label")
    body = {
        "schema": SCHEMA_VERSION,
        "name": name,
        "kind": "text2text",
        "description": f"free answers, from {table}",
        "template": f"{{soft}} {texts} {{answer}}",
        "manual": f"{texts} {{answer}}",
        "metric": "token-f1",
        "data": {split: f"{split}.jsonl" for split in SPLITS},
    }
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=100)


def _task_file(name: str, table: str, counts: Mapping[str, int], columns: Mapping[str, str]) -> str:
    """The task file, with a line before the label words that says what they are for."""
    import yaml

    texts = " ".join(f"{{{ours}}}" for ours in columns if ours != "label")
    head = {
        "schema": SCHEMA_VERSION,
        "name": name,
        "kind": "classification",
        "description": f"{len(counts)} labels, from {table}",
        "template": f"{{soft}} {texts} It was {{answer}} .",
        "manual": f"{texts} It was {{answer}} .",
        "metric": "accuracy",
    }
    words = {label: label_word(label) for label in counts}
    if len(set(words.values())) < len(words):  # "very good" beside "very_good"
        words = {label: label.lower() for label in counts}
    labels = {"labels": {label: [word] for label, word in words.items()}}
    data = {"data": {split: f"{split}.jsonl" for split in SPLITS}}
    head_text, label_text, data_text = (
        yaml.safe_dump(part, sort_keys=False, allow_unicode=True, width=100)
        for part in (head, labels, data)
    )
    return (
        f"{head_text}# For each label the words that the model answers with. Edit them: plain "
        "words that fit\n# behind the template do best, for instance great and terrible.\n"
        f"{label_text}{data_text}"
    )


def label_word(label: str) -> str:
    """The word of a label as long as nobody chooses a better one: its name in lower case."""
    return " ".join(re.sub(r"[_\s]+", " ", label).split()).lower() or label.lower()


def _notes(counts: Mapping[str, int]) -> list[str]:
    notes = []
    total = sum(counts.values())
    common, most = max(counts.items(), key=lambda c: c[1])
    if all(_NUMBER.fullmatch(label) for label in counts):
        notes.append(
            "The labels are numbers: write a word for each under 'labels' in the task file, for "
            "instance terrible and great."
        )
    if few := [label for label, count in counts.items() if count < _FEW_ROWS]:
        shown = ", ".join(f"{label} {counts[label]}" for label in few[:5])
        notes.append(f"Some labels have few rows ({shown}); scores will be uncertain.")
    if most > _MUCH * total:
        notes.append(
            f"{most / total:.0%} of the rows are {common!r}: 'metric: macro-f1' in the task file "
            "counts every label alike."
        )
    return notes


def _slug(stem: str) -> str:
    return re.sub(r"[^\w.]+", "-", stem.lower()).strip("-") or "task"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _short(text: str, width: int = 40) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
