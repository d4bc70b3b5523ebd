"""Tasks by reference: task files, embedded tasks, LAMA and NLU folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks.data import SPLITS, FileSource
from promptport.tasks.reading import count_records, read_records
from promptport.tasks.task import Task
from promptport.tasks.task_file import load_task
from promptport.tasks.template import Template, escape
from promptport.tasks.tpv import open_tpv

_HERE = Path(__file__).parent
_POCKET = _HERE / "pocket"
_LAMA = _HERE / "builtin" / "lama.yaml"
_NLU = _HERE / "builtin" / "nlu"
_RELATIONS = "relations.jsonl"
_LAYOUTS = {
    "lama": f"{_RELATIONS} and one folder per relation",
    "nlu": "one folder per task, each with a task.json",
}


@dataclass(frozen=True)
class TaskEntry:
    """A line of the list of tasks.

    Attributes:
        reference: what `open_task` takes.
        kind: `probe`, `classification` or `text2text`.
        rows: split -> number of rows.
        description: one line.
    """

    reference: str
    kind: str
    rows: Mapping[str, int]
    description: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "reference": self.reference,
            "kind": self.kind,
            "rows": dict(self.rows),
            "description": self.description,
        }


def open_task(reference: str | Path, data: str | Path | None = None) -> Task:
    """Open a task. Its rows are read later, by `Task.load`.

    Args:
        reference: path of a task file (YAML); name of an embedded task (`country-capital` or
            `pocket:country-capital`); `lama:P36` or `nlu:sst2` with `data`; `tpv:mnli`, with
            `data` or from the Hub (`open_tpv`).
        data: folder of a LAMA or NLU collection; the other references need none.

    Raises:
        UnknownNameError: no task has this name.
        TaskError: a task file or folder that cannot be used.
    """
    reference = str(reference)
    if "*" in reference:
        raise UnknownNameError(
            f"task {reference!r}",
            expected="one task",
            got="a group",
            fix="Name one; expand_tasks() lists those of a group",
        )
    if reference.lower().endswith((".yaml", ".yml")):
        return load_task(Path(reference))
    family, colon, name = reference.partition(":")
    if not colon:
        return _open_pocket(reference)
    if family == "pocket":
        return _open_pocket(name)
    if family == "lama":
        return _open_lama(name, _folder(reference, data))
    if family == "tpv":
        return open_tpv(name, None if data is None else Path(data))
    if family == "nlu":
        _check_nlu_name(name)
        return _open_nlu(name, _folder(reference, data))
    raise UnknownNameError(
        "task",
        expected="a name that begins with pocket:, lama:, nlu: or tpv:",
        got=repr(reference),
        fix="Correct the name, or give the path of a task file ending in .yaml",
    )


def list_tasks(data: str | Path | None = None) -> tuple[TaskEntry, ...]:
    """Every embedded task, and those of a LAMA or NLU folder.

    Args:
        data: such a folder, or None.

    Raises:
        TaskError: the folder is of neither layout, or a task file is damaged.
    """
    entries = [_entry(f"pocket:{name}", _open_pocket(name)) for name in pocket_names()]
    if data is None:
        return tuple(entries)
    data = Path(data)
    if (data / _RELATIONS).is_file():
        relations = _relations(data)
        there = [n for n in relations if (data / n).is_dir()]
        opened = ((f"lama:{n}", _make_lama(relations[n], data)) for n in there)
    else:
        opened = ((f"nlu:{n}", _open_nlu(n, data)) for n in _nlu_names(data))
    return (*entries, *(_entry(reference, task) for reference, task in opened))


def _entry(reference: str, task: Task) -> TaskEntry:
    files = task.source.files if isinstance(task.source, FileSource) else {}
    rows = {split: count_records(Path(path)) for split, path in files.items()}
    return TaskEntry(reference, task.kind, rows, task.description)


def _folder(reference: str, data: str | Path | None) -> Path:
    family = reference.partition(":")[0]
    if data is None:
        raise TaskError(
            f"task {reference!r}",
            expected="the folder of its data",
            got="none",
            fix=f"Give --data FOLDER with {_LAYOUTS[family]}",
        )
    data = Path(data)
    if not data.is_dir():
        raise TaskError(
            str(data),
            expected=f"a folder with {_LAYOUTS[family]}",
            got="a file" if data.exists() else "nothing at this path",
            fix="Correct --data",
        )
    return data


def suggest(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str:
    """A question with the names that look alike, or an empty text.

    Args:
        name: what was asked for.
        known: names that there are.
        aliases: other words for some of them -> the name.
    """
    words = {other.lower(): other for other in known}
    words |= {alias.lower(): other for alias, other in (aliases or {}).items()}
    close = get_close_matches(name.lower(), words, n=3, cutoff=0.6)
    names = dict.fromkeys(repr(words[match]) for match in close)
    return f"Did you mean {' or '.join(names)}? " if names else ""


def lama_names(reference: str, data: str | Path | None) -> tuple[str, ...]:
    """Relations of a LAMA folder, in the order of its list, that have rows.

    Args:
        reference: for messages.
        data: the folder.

    Raises:
        TaskError: no folder, or none of this layout.
    """
    folder = _folder(reference, data)
    return tuple(name for name in _relations(folder) if (folder / name).is_dir())


def nlu_names(reference: str, data: str | Path | None) -> tuple[str, ...]:
    """Tasks of an NLU folder that we have a template for; arguments as `lama_names`."""
    return _nlu_names(_folder(reference, data))


def pocket_names() -> tuple[str, ...]:
    """Names of the embedded tasks."""
    return tuple(sorted(path.parent.name for path in _POCKET.glob("*/task.yaml")))


def _open_pocket(name: str) -> Task:
    names = pocket_names()
    if name in names:
        return load_task(_POCKET / name / "task.yaml")
    hint = suggest(
        name,
        [*names, *(f"nlu:{other}" for other in _builtin_nlu())],
        {other: f"nlu:{other}" for other in _builtin_nlu()},
    )
    raise UnknownNameError(
        "task",
        expected=f"an embedded task ({', '.join(names) or 'none installed'})",
        got=repr(name),
        fix=f"{hint}Give one of these, lama:RELATION, nlu:TASK, or the path of a .yaml file",
    )


def _relations(folder: Path) -> dict[str, dict[str, Any]]:
    """The lines of relations.jsonl by relation."""
    path = folder / _RELATIONS
    if not path.is_file():
        raise TaskError(
            str(folder),
            expected=f"a folder with {_LAYOUTS['lama']}",
            got=_contents(folder),
            fix=f"Give --data the folder that holds {_RELATIONS}",
        )
    relations: dict[str, dict[str, Any]] = {}
    for where, record in read_records(path):
        for key in ("relation", "label", "template"):
            if not isinstance(record.get(key), str):
                raise TaskError(
                    where,
                    expected="texts 'relation', 'label' and 'template'",
                    got=f"no {key!r}",
                    fix="Restore the file from its source",
                )
        relations[record["relation"]] = {**record, "where": where}
    return relations


def _contents(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"a folder with {shown}" if names else "an empty folder"


def _open_lama(name: str, folder: Path) -> Task:
    relations = _relations(folder)
    there = [relation for relation in relations if (folder / relation).is_dir()]
    if name in there:
        return _make_lama(relations[name], folder)
    hint = suggest(name, there, {relations[r]["label"]: r for r in there})
    raise TaskError(
        f"task 'lama:{name}'",
        expected=f"a relation of {folder} ({', '.join(there) or 'none'})",
        got=repr(name),
        fix=f"{hint}Name a relation that is there, or give another --data",
    )


def _make_lama(relation: Mapping[str, Any], folder: Path) -> Task:
    name, where = relation["relation"], relation["where"]
    task = load_task(_LAMA, folder=folder / name, name=f"lama:{name}")
    paraphrases = relation.get("paraphrases") or []
    if not isinstance(paraphrases, list):
        raise TaskError(
            where,
            expected="a list of paraphrases",
            got=type(paraphrases).__name__,
            fix="Restore the file from its source",
        )
    return replace(
        task,
        manual=_lama_template(relation["template"], where),
        paraphrases=tuple(_lama_template(text, where) for text in paraphrases),
        description=f"{task.description}: {relation['label']}",
    )


def _lama_template(text: Any, where: str) -> Template:
    """`[X] was born in [Y] .` as a template of ours."""
    if not isinstance(text, str) or text.count("[Y]") != 1 or "[X]" not in text:
        raise TaskError(
            where,
            expected="templates with [X] and one [Y]",
            got=repr(text),
            fix="Restore the file from its source",
        )
    return Template.parse(escape(text).replace("[X]", "{subject}").replace("[Y]", "{answer}"))


def _builtin_nlu() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _NLU.glob("*.yaml")))


def _check_nlu_name(name: str) -> None:
    known = _builtin_nlu()
    if name not in known:
        raise UnknownNameError(
            f"task 'nlu:{name}'",
            expected=f"one of {', '.join(known)}",
            got=repr(name),
            fix=f"{suggest(name, known)}For data of your own write a task file (.yaml)",
        )


def _nlu_names(folder: Path) -> tuple[str, ...]:
    """Tasks of an NLU folder that we have a template for."""
    there = sorted(path.parent.name for path in folder.glob("*/task.json"))
    if not there:
        raise TaskError(
            str(folder),
            expected=f"{_LAYOUTS['lama']}, or {_LAYOUTS['nlu']}",
            got=_contents(folder) if folder.is_dir() else "no folder at this path",
            fix="Correct --data",
        )
    return tuple(name for name in there if name in _builtin_nlu())


def _open_nlu(name: str, folder: Path) -> Task:
    there = _nlu_names(folder)
    if name not in there:
        raise TaskError(
            f"task 'nlu:{name}'",
            expected=f"a task of {folder} ({', '.join(there) or 'none'})",
            got=repr(name),
            fix=f"{suggest(name, there)}Name a task that is there, or give another --data",
        )
    task = load_task(_NLU / f"{name}.yaml", folder=folder / name, name=f"nlu:{name}")
    _check_card(task, folder / name / "task.json")
    files = {s: folder / name / f"{s}.jsonl" for s in SPLITS}
    return replace(task, source=FileSource({s: p for s, p in files.items() if p.is_file()}))


def _check_card(task: Task, path: Path) -> None:
    """Refuse a folder whose labels or columns are not those that our task file speaks of."""
    card = _read_card(path)
    labels = card.get("labels")
    if not task.is_regression and (
        not isinstance(labels, list) or set(map(str, labels)) != set(task.label_names)
    ):
        raise TaskError(
            str(path),
            expected=f"the labels {', '.join(task.label_names)}",
            got=repr(labels)[:200],
            fix="Restore the file, or write a task file (.yaml) for this data",
        )
    pair = "text_b" in task.template.fields
    if card.get("pair") is not pair:
        raise TaskError(
            str(path),
            expected=f"'pair' to be {str(pair).lower()}",
            got=repr(card.get("pair")),
            fix="Restore the file, or write a task file (.yaml) for this data",
        )


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError(
            str(path),
            expected="a JSON object with 'labels' and 'pair'",
            got=f"a file that cannot be read ({error})",
            fix="Restore the file from its source",
        ) from error
    if not isinstance(card, dict):
        raise TaskError(
            str(path),
            expected="a JSON object with 'labels' and 'pair'",
            got=type(card).__name__,
            fix="Restore the file from its source",
        )
    return card
