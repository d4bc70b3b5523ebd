"""The prompts that a server has at hand, by name."""

from __future__ import annotations

import difflib
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from promptport.backbone import Backbone
from promptport.catalog.catalog import known_task
from promptport.errors import PromptPortError, StorageError, UnknownNameError
from promptport.library.folders import library_folders
from promptport.prediction import AskedTask
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt
from promptport.storage.prompt_folder import CONFIG_FILE
from promptport.tasks import Task, Template

MOST_LOADED = 256
_LOOK_AGAIN = 1.0  # seconds between two looks at the folders
_OF = "#"  # between the name of a prompt and one of several tasks that it answers
Known = dict[tuple[str, str, int], AskedTask]  # by task, template and length
BARE = "{soft}{text}{answer}"  # of a prompt that says neither task nor template


@dataclass(frozen=True)
class ServedPrompt:
    """A prompt with the task that it is asked.

    Attributes:
        name: on the shelf.
        prompt: (n, d) on the backbone.
        asked: lays out its texts.
        notes: what may surprise, one line each.
    """

    name: str
    prompt: SoftPrompt
    asked: AskedTask
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """What it is asked."""
        return self.asked.objective.task

    @property
    def writes(self) -> bool:
        """Whether its answers are written, not chosen."""
        return self.asked.writes

    @cached_property
    def vectors(self) -> Tensor:
        """(n, d) virtual tokens, where the backbone reads them."""
        return self.prompt.vectors.to(self.asked.objective.backbone.device)

    def to_dict(self) -> dict[str, Any]:
        """What it is, as plain JSON values."""
        task = self.task
        return {
            "name": self.name,
            "task": task.name,
            "kind": task.kind,
            "labels": list(task.label_names),
            "fields": list(self.asked.objective.template.fields),
            "template": self.asked.objective.template.text,
            "virtual_tokens": self.prompt.length,
            "notes": list(self.notes),
        }


class Shelf(Protocol):
    """Prompts by name. Of a prompt that answers several tasks, `NAME#TASK` asks one of them."""

    def names(self) -> list[str]:
        """All that can be asked now."""

    def get(self, name: str) -> ServedPrompt:
        """One of them.

        Raises:
            UnknownNameError: there is none of this name.
            PromptPortError: its folder is damaged, or it belongs to another backbone.
        """


class MemoryShelf:
    """Prompts that are there already.

    Args:
        backbone: the frozen model of all of them.
        prompts: by name.
        tasks: by the names that prompts remember.
    """

    def __init__(
        self, backbone: Backbone, prompts: Mapping[str, SoftPrompt], tasks: Mapping[str, Task]
    ) -> None:
        asked: Known = {}
        self._served: dict[str, ServedPrompt] = {}
        self._names = list(prompts)
        for name, prompt in prompts.items():
            self._served[name] = serve(backbone, name, prompt, tasks, asked)
            for about in tasks_of(prompt):
                if about in tasks:
                    full = name + _OF + about
                    one = serve(backbone, full, prompt, tasks, asked, about)
                    self._served.setdefault(full, one)

    def names(self) -> list[str]:
        """See `Shelf`."""
        return list(self._names)

    def get(self, name: str) -> ServedPrompt:
        """See `Shelf`."""
        if name not in self._served:
            raise _no_such(name, self._served)
        return self._served[name]


@dataclass(frozen=True)
class _Loaded:
    """A prompt in memory.

    Attributes:
        age: of its files.
        looked: when they were looked at, in seconds of the monotonic clock.
        served: what was read.
    """

    age: tuple[int, ...]
    looked: float
    served: ServedPrompt


class FolderShelf:
    """Prompt folders below some places. They may come, change and go at any time.

    A folder is read when its prompt is asked for. The least recently used prompts are let go.

    Args:
        backbone: the frozen model.
        places: prompt folders, or folders of them.
        tasks: by the names that prompts remember.
        data: folder of `lama:` and `nlu:` tasks.
        most: prompts that are kept in memory.

    Raises:
        StorageError: a place that does not exist, or holds no prompt.
    """

    def __init__(
        self,
        backbone: Backbone,
        places: Sequence[str | Path],
        tasks: Mapping[str, Task] | None = None,
        *,
        data: str | Path | None = None,
        most: int = MOST_LOADED,
    ) -> None:
        self._backbone = backbone
        self._places = [Path(place) for place in places]
        self._tasks, self._data, self._most = dict(tasks or {}), data, most
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._asked: Known = {}
        self._folders = self._found()
        self._looked = time.monotonic()

    def names(self) -> list[str]:
        """See `Shelf`."""
        self._look()
        return list(self._folders)

    def get(self, name: str) -> ServedPrompt:
        """See `Shelf`."""
        known = self._loaded.get(name)
        now = time.monotonic()
        if known is None or now - known.looked >= _LOOK_AGAIN:
            known = self._loaded[name] = self._as_it_is(name, known, now)
        self._loaded.move_to_end(name)
        while len(self._loaded) > self._most:
            self._loaded.popitem(last=False)
        return known.served

    def _folder_of(self, name: str) -> Path | None:
        """The folder of a prompt, asked by its name or as `NAME#TASK`."""
        return self._folders.get(name) or self._folders.get(name.rpartition(_OF)[0])

    def _as_it_is(self, name: str, known: _Loaded | None, now: float) -> _Loaded:
        """What is in a folder now: read, unless it is what is known."""
        folder = self._folder_of(name)
        if folder is None or not folder.is_dir():  # it may lie elsewhere in the library by now
            self._look()
            folder = self._folder_of(name)
        if folder is None:
            self._loaded.pop(name, None)
            raise _no_such(name, self._folders)
        try:
            age = _age(folder)
            if known is not None and known.age == age:
                return _Loaded(age, now, known.served)
            return _Loaded(age, now, self._read(name, folder))
        except OSError as error:
            self._loaded.pop(name, None)
            if isinstance(error, PromptPortError):
                raise _without_path(error, folder, name) from error
            raise _no_such(name, self._folders.keys() - {name}) from None
        except PromptPortError as error:
            raise _without_path(error, folder, name) from error

    def _read(self, name: str, folder: Path) -> ServedPrompt:
        prompt = load_prompt(folder)
        whole = name in self._folders
        named = prompt.provenance.task if whole else name.rpartition(_OF)[2]
        if named is not None and named not in self._tasks:
            known = known_task(named, self._data)
            if known is not None:
                self._tasks[named] = known
        about = None if whole else named
        return serve(self._backbone, name, prompt, self._tasks, self._asked, about)

    def _look(self) -> None:
        if time.monotonic() - self._looked < _LOOK_AGAIN:
            return
        try:
            self._folders = self._found()
        except StorageError:  # all are gone, for now
            self._folders = {}
        self._looked = time.monotonic()

    def _found(self) -> dict[str, Path]:
        folders, _ = library_folders(self._places)
        return {
            name: folder for name, folder in folders.items() if (folder / CONFIG_FILE).is_file()
        }


def serve(
    backbone: Backbone,
    name: str,
    prompt: SoftPrompt,
    tasks: Mapping[str, Task],
    asked: Known,
    about: str | None = None,
) -> ServedPrompt:
    """A prompt with the task that it remembers; without one its answers are written.

    Args:
        backbone: the frozen model.
        name: on the shelf.
        prompt: the prompt.
        tasks: by the names that prompts remember.
        asked: tasks that are asked already, which prompts of one task, template and length share;
            this one is added.
        about: of a prompt that answers several tasks, the one that it is asked.

    Raises:
        MismatchError: it belongs to another backbone.
        UnknownNameError: it does not answer the task that it is asked about.
        PromptPortError: its template or label words do not fit, or a masked backbone would write.
    """
    backbone.check_prompt(prompt)
    made = prompt.provenance
    if about is not None and about not in tasks_of(prompt):
        raise _no_such(name, [name.rpartition(_OF)[0] + _OF + each for each in tasks_of(prompt)])
    named = about or made.task
    task = None if named is None else tasks.get(named)
    notes: tuple[str, ...] = ()
    if task is None:
        several = () if about else tasks_of(prompt)
        notes = (_ask_one(name, several) if several else _unknown_task(named),)
        text = (made.templates or {}).get(about or "") or made.template or BARE
        task = Task(named or name, "text2text", Template.parse(text), "exact-match")
    got = None if not notes else notes[0]
    refuse_masked_writer(backbone, task, f"prompt {name}", got)
    made_so = AskedTask(backbone, task, prompt)
    if notes:  # its task is a stand-in, which may have the name of another one
        return ServedPrompt(name, prompt, made_so, notes)
    key = (task.name, made_so.objective.template.text, prompt.length)
    return ServedPrompt(name, prompt, asked.setdefault(key, made_so))


def refuse_masked_writer(backbone: Backbone, task: Task, what: str, got: str | None = None) -> None:
    """Refuse a task whose answers a masked backbone would have to write.

    Args:
        backbone: the frozen model.
        task: what it is asked.
        what: who asks, for the message.
        got: why its answers are written; None: the task is such a one.

    Raises:
        PromptPortError: it would have to write.
    """
    if task.kind == "text2text" and backbone.kind == "masked":
        raise PromptPortError(
            what,
            expected="a task whose answers are chosen, since a masked model cannot write",
            got=got or "text to text",
            fix="Start the server with the file of its task (--task FILE)"
            if got
            else "Name labels, or a prompt with some",
        )


def tasks_of(prompt: SoftPrompt) -> tuple[str, ...]:
    """Tasks that a prompt answers which was put together from prompts of several; else none."""
    return tuple(prompt.provenance.templates or ())


def _ask_one(name: str, tasks: Sequence[str]) -> str:
    ways = " or ".join(f"{name}{_OF}{task}" for task in tasks)
    return f"it answers several tasks: ask for {ways}; under this name its answers are written"


def _unknown_task(named: str | None) -> str:
    if named is None:
        return "it remembers no task: its answers are written"
    return f"its task {named!r} is not at hand: its answers are written, not chosen among labels"


def _without_path(error: PromptPortError, folder: Path, name: str) -> PromptPortError:
    """The same line for clients, who are not told where folders lie."""
    return type(error).of_line(str(error).replace(str(folder), name), name)


def _age(folder: Path) -> tuple[int, ...]:
    """Changes when a file of the folder is written anew."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file())
    return tuple(file.stat().st_mtime_ns for file in files)


def _no_such(name: str, names: Iterable[str]) -> UnknownNameError:
    near = difflib.get_close_matches(name, list(names), 1, cutoff=0.4)
    return UnknownNameError(
        "prompt",
        expected="the name of a prompt of this server",
        got=repr(name),
        fix=f"Did you mean {near[0]!r}?" if near else "GET /v1/models lists them",
    )


def tasks_by_name(tasks: Iterable[Task]) -> dict[str, Task]:
    """Tasks by the names that prompts remember."""
    return {task.name: task for task in tasks}
