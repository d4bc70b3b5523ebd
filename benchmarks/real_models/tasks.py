"""The tasks of the laboratory, a part of their rows, and where virtual tokens stand in them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks._inputs import limited

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks import Task, open_task, rightly_labelled

NLU = ("sst2", "ag_news", "trec", "subj", "dbpedia", "rte", "yelp")
# The relations whose manual template says most on training facts: see `relations`.
LAMA = ("P103", "P1412", "P37", "P1001")
MADE = "benchmarks.real_models.made_tasks"  # text-to-text tasks: `made_tasks()` gives them


@dataclass(frozen=True)
class Limits:
    """How much of each task is used.

    Attributes:
        train: most training rows.
        dev: most dev rows.
        test: most test rows.
        words: most words of a text that are read: some 128 tokens.
    """

    train: int = 640
    dev: int = 160
    test: int = 500
    words: int = 96


def known_tasks() -> tuple[str, ...]:
    """Names of the tasks, as cells and figures have them."""
    return (*NLU, *LAMA, *(short_name(task) for task in made_tasks()))


def laboratory_tasks(data: Path | None, limits: Limits, names: Sequence[str] = ()) -> list[Task]:
    """The tasks, with a seeded choice of their rows, texts cut to their first words.

    Args:
        data: folder with nlu/ and lama/.
        limits: how much of each is used.
        names: take only these; none for all.

    Raises:
        UnknownNameError: no task has such a name.
        TaskError: the data is not there.
    """
    known = known_tasks()
    if unknown := sorted(set(names) - set(known)):
        raise UnknownNameError(
            "task", expected=f"one of {', '.join(known)}", got=repr(unknown[0]), fix="Correct it"
        )
    wanted = [name for name in known if not names or name in names]
    found = {short_name(task): task for task in made_tasks()}
    from_data = [name for name in wanted if name not in found]
    if from_data:
        found |= _of_data(_checked(data), from_data)
    rows = {"train": limits.train, "dev": limits.dev, "test": limits.test}
    return [limited(found[name], rows, limits.words) for name in wanted]


def made_tasks() -> list[Task]:
    """Text-to-text tasks of rows that are made here; none without their module."""
    if importlib.util.find_spec(MADE) is None:
        return []
    made: list[Task] = importlib.import_module(MADE).made_tasks()
    return made


def short_name(task: Task) -> str:
    """`sst2` of `nlu:sst2`."""
    return task.name.rpartition(":")[2]


def _checked(data: Path | None) -> Path:
    if data is None or not (data / "nlu").is_dir() or not (data / "lama").is_dir():
        raise TaskError(
            "--data",
            expected="a folder with nlu/ and lama/",
            got="none" if data is None else str(data),
            fix="Give --data FOLDER, or --part generation, whose rows are made here",
        )
    return data


def _of_data(data: Path, names: Sequence[str]) -> dict[str, Task]:
    return {
        name: _labelled(open_task(f"nlu:{name}", data / "nlu"))
        if name in NLU
        else open_task(f"lama:{name}", data / "lama")
        for name in names
    }


def _labelled(task: Task) -> Task:
    return rightly_labelled(task) if short_name(task) == "dbpedia" else task
