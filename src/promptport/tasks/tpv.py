"""The data sets of "Task Prompt Vectors" (Belanec et al., arXiv 2408.01119), by name.

`tpv:mnli` chooses among the labels, as all classifications here. `tpv:mnli:t5` and
`tpv:mnli:instruct` are the authors' two ways to the letter: the answer is written, and only the
exact text counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks.task import Task
from promptport.tasks.template import Template
from promptport.tasks.tpv_source import DataSet, TpvSource
from promptport.tasks.writing import WritingConfig

PLAIN = "plain"
FORMS = ("t5", "instruct")  # beside the plain one, which has no name
_TABLE = Path(__file__).parent / "builtin" / "tpv.yaml"
_LABEL_TOKENS = 16  # of a written label
_DATA_KEYS = (
    *("hub", "rule", "splits", "texts", "config", "revision", "held", "label", "stratify"),
)


def tpv_names() -> tuple[str, ...]:
    """Names of the 19 data sets, as they stand after `tpv:`."""
    return tuple(_table())


def tpv_forms(name: str) -> tuple[str, ...]:
    """The authors' ways to ask a data set: `t5` and `instruct`, or one of them."""
    return tuple(form for form in FORMS if form in _table()[name])


def open_tpv(name: str, data: Path | None = None) -> Task:
    """One of the tasks.

    Args:
        name: `mnli`, or with one of the authors' forms `mnli:t5` or `mnli:instruct`.
        data: a folder with the data set, in the shape of the `nlu:` tasks (`mnli/train.jsonl`) or
            as the Hub has it (`nyu-mll/glue/`); None: from the Hub, when rows are asked for.

    Raises:
        UnknownNameError: no such data set or form.
        TaskError: the folder has neither.
    """
    plain_name, _, form = name.partition(":")
    _check_name(plain_name, form, name)
    entry = _table()[plain_name]
    form = form or PLAIN
    free = _is_free(entry, form)
    labels = _labels(entry, form)
    source = _source(plain_name, entry, labels, form, data)
    return Task(
        name=f"tpv:{name}",
        kind="text2text" if free else "classification",
        template=_template(entry, form, labels, soft=True),
        metric=_metric(entry, form, free),
        manual=_template(entry, form, labels, soft=False),
        labels=None if free else {label: (label,) for label in labels},
        description=entry["description"],
        source=source,
        writing=WritingConfig(entry.get("tokens", _LABEL_TOKENS)) if free else WritingConfig(),
        sentinel=False,
    )


@lru_cache(1)
def _table() -> Mapping[str, Any]:
    import yaml

    table: Mapping[str, Any] = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return table


def _check_name(name: str, form: str, given: str) -> None:
    from promptport.tasks.catalog import suggest  # which opens these tasks

    known = tpv_names()
    if name not in known:
        raise UnknownNameError(
            f"task 'tpv:{given}'",
            expected=f"one of {', '.join(known)}",
            got=repr(name),
            fix=f"{suggest(name, known)}For data of your own write a task file (.yaml)",
        )
    if given != name and form not in tpv_forms(name):
        ways = ", ".join(f"tpv:{name}:{other}" for other in tpv_forms(name))
        raise UnknownNameError(
            f"task 'tpv:{given}'",
            expected=f"tpv:{name}, or a form that its authors ask it in ({ways})",
            got=repr(form),
            fix="Choose one of these",
        )


def _labels(entry: Mapping[str, Any], form: str) -> tuple[str, ...]:
    key = "instruct_labels" if form == "instruct" and "instruct_labels" in entry else "labels"
    return tuple(entry.get(key, ()))


def _is_free(entry: Mapping[str, Any], form: str) -> bool:
    """Whether answers are written; a similarity is always chosen, since it is no exact text."""
    return "target" in entry or (form != PLAIN and entry.get("metric") != "pearson")


def _metric(entry: Mapping[str, Any], form: str, free: bool) -> str:
    given = entry.get("metric", "exact-match" if free else "accuracy")
    return str(given[form] if isinstance(given, Mapping) else given)


def _template(
    entry: Mapping[str, Any], form: str, labels: tuple[str, ...], *, soft: bool
) -> Template:
    """The text in front of the answer, with or without virtual tokens.

    Without them a plain task is asked with the authors' instructions, where they have some: what
    they call zero-shot.
    """
    zero_shot = not soft and form == PLAIN and "target" not in entry
    told = "instruct" in entry and (form == "instruct" or zero_shot)
    if told:
        text = entry["instruct"].replace("LABELS", ", ".join(labels))
        text += " {answer}" if "target" in entry else "\nlabel: {answer}"
    elif form == "t5":
        text = entry["t5"] + " {answer}"
    elif "plain" in entry:
        text = entry["plain"] + " {answer}"
    else:
        text = entry["t5"] + " label: {answer}"
    if form == "instruct":
        text = "{chat} " + text
    return Template.parse("{soft} " + text if soft else text)


def _source(
    name: str,
    entry: Mapping[str, Any],
    labels: tuple[str, ...],
    form: str,
    data: Path | None,
) -> TpvSource:
    own = DataSet(**{key: entry[key] for key in _DATA_KEYS if key in entry})
    if form == "instruct" and "instruct_texts" in entry:
        own = replace(own, texts=entry["instruct_texts"])
    folder, root = None, None
    if data is not None:
        if (data / name / "train.jsonl").is_file() or (data / name / "test.jsonl").is_file():
            folder = data / name
        elif (data / own.hub).is_dir():
            root = data
        else:
            raise TaskError(
                f"task 'tpv:{name}'",
                expected=f"{data / name} with train.jsonl, dev.jsonl and test.jsonl, or "
                f"{data / own.hub} as the Hub has it",
                got="neither" if data.is_dir() else "no folder at this path",
                fix="Correct --data, or leave it out to load from the Hub",
            )
    return TpvSource(
        own,
        "target" if _is_free(entry, form) else "label",
        labels,
        _renamed(entry, labels),
        entry.get("target", {}).get(form, ""),
        folder,
        root,
    )


def _renamed(entry: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, str]:
    """Other words for the labels -> the labels: those of a folder, and those of the other form."""
    plain = tuple(entry.get("labels", ()))
    by_plain = dict(zip(plain, labels, strict=True))
    folder = {theirs: by_plain[ours] for theirs, ours in entry.get("folder", {}).items()}
    return {**folder, **{old: new for old, new in by_plain.items() if old != new}}
