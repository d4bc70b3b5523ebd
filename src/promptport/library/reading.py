"""Reading a library: folders become entries, with notes on what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptport.catalog.catalog import known_task
from promptport.errors import PromptPortError
from promptport.library.entry import LibraryEntry
from promptport.library.folders import Content, equal_ones, library_folders, read_folders
from promptport.tasks import Task, open_task


@dataclass(frozen=True)
class ReadLibrary:
    """What is in the folders of a library.

    Attributes:
        entries: prompts and vectors, without those that are left out.
        folders: every folder, by name.
        notes: what was left out or may surprise, one line each.
    """

    entries: tuple[LibraryEntry, ...]
    folders: Mapping[str, Path]
    notes: tuple[str, ...]


def read_library(
    places: Sequence[str | Path],
    *,
    data: str | Path | None,
    tasks: Sequence[str | Path],
    keep_equal: bool,
    skip_damaged: bool,
) -> ReadLibrary:
    """Read prompt and vector folders; arguments and errors as those of `Library.open`."""
    folders, again = library_folders(places)
    contents, damaged = read_folders(folders, skip_damaged=skip_damaged)
    twins = {} if keep_equal else equal_ones(contents)
    again += [f"{name} (as {twin})" for name, twin in twins.items()]
    notes = [f"left out, damaged: {line}" for line in damaged]
    if again:
        notes.append(f"the same prompts again are left out: {', '.join(again)}")
    given = _given_tasks(folders, contents, tasks, data)
    entries = []
    for name, folder in folders.items():
        if name not in contents or name in twins:
            continue
        content = contents[name]
        task = given.get(name) or known_task(content.provenance.task, data)
        entries.append(LibraryEntry(name, content, task, folder))
        if name in given:
            notes += _other_task(entries[-1])
    return ReadLibrary(tuple(entries), folders, tuple(notes))


def _given_tasks(
    folders: Mapping[str, Path],
    contents: Mapping[str, Content],
    tasks: Sequence[str | Path],
    data: str | Path | None,
) -> dict[str, Task]:
    """The task of each folder: the one that it names, else what is left over, in order."""
    opened = [open_task(task, data) for task in tasks]
    by_name = {task.name: task for task in opened}
    named: dict[str, Task] = {}
    if len(by_name) == len(opened):
        made = {name: content.provenance.task for name, content in contents.items()}
        named = {name: by_name[task] for name, task in made.items() if task in by_name}
    used = {task.name for task in named.values()}
    left = [task for task in opened if task.name not in used]
    others = [name for name in folders if name not in named]
    if left and len(left) != len(others):
        raise PromptPortError(
            "--task",
            expected=f"the tasks that the prompts name, or one per folder ({len(folders)})",
            got=", ".join(task.name for task in opened),
            fix=f"Repeat it for every folder, in their order: {', '.join(folders)}",
        )
    return named | dict(zip(others, left, strict=False))


def _other_task(entry: LibraryEntry) -> list[str]:
    """A note where a prompt is asked another task than it was made for: a slip, most likely."""
    made = entry.provenance.task
    if made is None or entry.task is None or entry.task.name in entry.task_names:
        return []
    return [f"{entry.name} was made for {made}, its task is given as {entry.task.name}"]
