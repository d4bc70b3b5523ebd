"""A library of prompts as one value: read from folders, searched, narrowed, put on its model."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone, with_origin
from promptport.catalog.searching import SearchHit, search_entries
from promptport.errors import PromptPortError, UnknownNameError
from promptport.library.backbones import (
    group_by_backbone,
    load_backbone_of,
    only_backbone,
    some_names,
)
from promptport.library.entry import LibraryEntry, TaskPrompt
from promptport.library.reading import read_library
from promptport.parameters.written_origins import OriginLike, origin_on
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

_SHOWN = 20  # lines of a repr
_FIRST_ORIGIN = "seed:0"  # that vectors are put on unless another one is named


class Library(Mapping[str, SoftPrompt]):
    """Prompts of many tasks, by name.

    A library is a mapping of names to prompts: `library["sst2"]`, `len(library)`, `for name in
    library`. Vector folders belong to it as well: they become prompts on an origin of their
    backbone, which is opened when the first one is asked for.

    Example:
        >>> from promptport import Library, open_task, rank
        >>> library = Library.open("prompts").filter(backbone="nano-bert")  # doctest: +SKIP
        >>> rank(library.backbone, library, open_task("sentiment")).best  # doctest: +SKIP

    Attributes:
        entries: prompts and vectors with all that is known of them.
        folders: every folder that was read, by name, those of equal prompts too.
        notes: what was left out or may surprise, one line each.
    """

    def __init__(
        self,
        entries: Sequence[LibraryEntry],
        *,
        folders: Mapping[str, Path] | None = None,
        notes: Sequence[str] = (),
        backbone: Backbone | str | None = None,
        origin: OriginLike | None = None,
    ) -> None:
        self.entries = tuple(entries)
        self.folders = dict(folders or {})
        self.notes = tuple(notes)
        self._by_name = {entry.name: entry for entry in self.entries}
        self._model = backbone if isinstance(backbone, Backbone) else None
        self._backbone_name = backbone if isinstance(backbone, str) else None
        self._origin = origin
        self._on_origin: dict[str, SoftPrompt] = {}

    @classmethod
    def open(
        cls,
        folders: str | Path | Sequence[str | Path],
        *,
        backbone: Backbone | str | None = None,
        origin: OriginLike | None = None,
        data: str | Path | None = None,
        tasks: Sequence[str | Path] = (),
        keep_equal: bool = False,
        skip_damaged: bool = False,
    ) -> Library:
        """Read prompt and vector folders.

        Args:
            folders: such folders, or folders of them, to any depth; hidden ones are left out.
            backbone: of the prompts that are wanted, if they belong to several; or where their
                backbone is now, if it is not where the folders say.
            origin: what vectors are put on: `seed:3` (random words), `normal`, `mixture`,
                `text:SOME WORDS`, a prompt folder or an `OriginSpec`; None for `seed:0`.
            data: folder of `lama:` and `nlu:` tasks.
            tasks: in place of what the folders name: each is that of the folders that name it, or
                else of one that names no other, in their order.
            keep_equal: keep prompts that are equal, which otherwise are read once.
            skip_damaged: leave damaged folders out, with a note, instead of refusing them.

        Raises:
            StorageError: a folder that is missing, or holds no prompt.
            FileFormatError: a damaged folder; of several, one line names them all.
            PromptPortError: an origin without vectors, or another number of tasks than of folders.
            UnknownNameError, TaskError: a task that cannot be opened.
        """
        read = read_library(
            [folders] if isinstance(folders, str | Path) else list(folders),
            data=data,
            tasks=tasks,
            keep_equal=keep_equal,
            skip_damaged=skip_damaged,
        )
        if origin is not None and not any(entry.kind == "vector" for entry in read.entries):
            raise PromptPortError(
                "origin",
                expected="a library with vectors to put on it",
                got="prompts alone",
                fix="Leave the origin out",
            )
        library = cls(read.entries, folders=read.folders, notes=read.notes, origin=origin)
        if isinstance(backbone, Backbone):
            return library.on(backbone)
        return library if backbone is None else library._naming(backbone)

    @classmethod
    def of(
        cls, prompts: Mapping[str, SoftPrompt], tasks: Mapping[str, Task] | None = None
    ) -> Library:
        """A library of prompts that are there already.

        Args:
            prompts: by name; a library comes back as it is.
            tasks: of those whose task is known, by the same names.
        """
        if isinstance(prompts, Library) and tasks is None:
            return prompts
        known = tasks or {}
        return cls([LibraryEntry(name, p, known.get(name)) for name, p in prompts.items()])

    def __getitem__(self, name: str) -> SoftPrompt:
        entry = self.entry(name)
        if isinstance(entry.content, SoftPrompt):
            return entry.content
        if name not in self._on_origin:
            vector, origin = entry.content, self._origin or _FIRST_ORIGIN
            start, made = origin_on(
                origin, vector.provenance, vector.length, backbone=self.backbone
            )
            self._on_origin[name] = vector.apply(start, made)
        return self._on_origin[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __repr__(self) -> str:
        if not self.entries:
            return "Library: empty"
        lines = [f"Library of {len(self)} on {', '.join(self.backbones)}"]
        width = max(len(entry.name) for entry in self.entries[:_SHOWN])
        for entry in self.entries[:_SHOWN]:
            facts = [entry.task_name or "task not known", entry.kind, f"{entry.length} tokens"]
            if entry.dev_score is not None:
                facts.append(f"dev {entry.dev_score:.3f}")
            lines.append(f"  {entry.name:<{width}}  {', '.join(facts)}")
        if len(self) > _SHOWN:
            lines.append(f"  and {len(self) - _SHOWN} more")
        return "\n".join(lines)

    def entry(self, name: str) -> LibraryEntry:
        """All that is known of one prompt.

        Raises:
            UnknownNameError: there is none of this name.
        """
        if name in self._by_name:
            return self._by_name[name]
        near = difflib.get_close_matches(str(name), self._by_name, 1, cutoff=0.4)
        raise UnknownNameError(
            "library",
            expected="the name of one of its prompts",
            got=repr(name),
            fix=f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(self) or 'none'}",
        )

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that are known, by the name of the prompt."""
        return {entry.name: entry.task for entry in self.entries if entry.task is not None}

    @property
    def backbones(self) -> dict[str, tuple[str, ...]]:
        """The models that the prompts belong to: name -> names of their prompts."""
        return group_by_backbone(self.entries)

    def filter(
        self, *, task: str | None = None, backbone: str | None = None, kind: str | None = None
    ) -> Library:
        """The prompts of one task, one backbone or one kind.

        Args:
            task: its name; a prompt of several tasks (`a + b`) belongs to each.
            backbone: as `backbones` names it.
            kind: `free`, `mixture` or `vector`.
        """
        own = () if backbone is None else self.backbones.get(backbone, ())
        kept = [
            entry
            for entry in self.entries
            if (task is None or task in entry.task_names)
            and (backbone is None or entry.name in own or entry.backbone == backbone)
            and (kind is None or entry.kind == kind)
        ]
        return self._with(kept)

    def search(self, words: str) -> tuple[SearchHit, ...]:
        """Prompts whose names, tasks, label words, mixture words or templates hold these words.

        Args:
            words: one or more, in any order and case.

        Returns:
            The best match first; prompts that hold none of the words are left out.

        Raises:
            PromptPortError: no word.
        """
        return search_entries(self.entries, words)

    def check_one_backbone(self) -> str:
        """The name of the one backbone of all prompts.

        Raises:
            PromptPortError: an empty library.
            MismatchError: there are several; one line says which prompts belong to which.
        """
        return only_backbone(self.backbones)

    @property
    def backbone(self) -> Backbone:
        """The model of all prompts, opened when it is first asked for; see `load_backbone`."""
        if self._model is None:
            self._model = self.load_backbone()
        return self._model

    def load_backbone(
        self, *, device: str = "auto", dtype: str = "auto", device_map: str | None = None
    ) -> Backbone:
        """Open the model of all prompts: the one that was named, else the one that they name.

        Args:
            device: as `Backbone.load`, like all that follows.
            dtype: of the weights.
            device_map: spreads a large model over devices.

        Raises:
            MismatchError: prompts of several backbones.
            BackboneError: it cannot be opened.
        """
        settings: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
        if self._backbone_name is not None:
            return Backbone.load(self._backbone_name, **settings)
        self.check_one_backbone()
        return load_backbone_of(self.entries[0], settings)

    def on(self, backbone: Backbone) -> Library:
        """The prompts of this model; vectors are put on their origin there.

        Args:
            backbone: opened. Of prompts that belong to several, its own are taken.

        Raises:
            MismatchError: none of several groups of prompts belongs to it.
        """
        if self._model is backbone:
            return self
        groups = self.backbones
        if len(groups) < 2:
            return self._with(self.entries, backbone)
        mark = backbone.space.fingerprint
        own = [
            entry
            for entry in self.entries
            if entry.provenance.fingerprint == mark
            or (entry.provenance.fingerprint is None and entry.backbone == backbone.name)
        ]
        if not own:
            self.check_one_backbone()
        return self._with(own, backbone)

    def task_prompts(self) -> dict[str, TaskPrompt]:
        """Every prompt with its task.

        Raises:
            PromptPortError: a prompt whose task is not known.
        """
        for entry in self.entries:
            if entry.task is None:
                named = entry.provenance.task
                raise PromptPortError(
                    f"task of {entry.name}",
                    expected="one that can be opened",
                    got="none" if named is None else f"only the recorded name {named!r}",
                    fix="Give the file of every task that does not come with promptport: "
                    "--task TASK.yaml",
                )
        return {name: TaskPrompt(self[name], task) for name, task in self.tasks.items()}

    def vectors(self) -> dict[str, TaskPromptVector]:
        """The task prompt vector of every prompt: what its tuning added to the origin.

        Raises:
            MismatchError: a prompt without origin.
        """
        vectors = {}
        for entry in self.entries:
            if isinstance(entry.content, TaskPromptVector):
                vectors[entry.name] = entry.content
            else:
                known = self._model or self._backbone_name
                vectors[entry.name] = TaskPromptVector.of(
                    with_origin(entry.content, known), entry.name
                )
        return vectors

    def _with(self, entries: Sequence[LibraryEntry], model: Backbone | None = None) -> Library:
        return Library(
            entries,
            folders=self.folders,
            notes=self.notes,
            backbone=model or self._model or self._backbone_name,
            origin=self._origin,
        )

    def _naming(self, backbone: str) -> Library:
        """Those that belong to the backbone of this name, where others do not."""
        own = self.filter(backbone=backbone)
        others = [name for name in self if name not in own]
        notes = list(self.notes)
        if own.entries and others:
            notes.append(f"left out, of another backbone than {backbone}: {some_names(others)}")
        return Library(
            own.entries or self.entries,
            folders=self.folders,
            notes=notes,
            backbone=backbone,
            origin=self._origin,
        )


def library_on(prompts: Mapping[str, SoftPrompt], backbone: Backbone) -> Library:
    """Prompts as a library on this model.

    Args:
        prompts: by name, or a library.
        backbone: the frozen model of all of them.

    Raises:
        PromptPortError: none.
        MismatchError: a prompt of another backbone.
    """
    library = prompts.on(backbone) if isinstance(prompts, Library) else Library.of(prompts)
    if not library.entries:
        raise PromptPortError(
            "library", expected="one prompt or more", got="none", fix="Name prompt folders"
        )
    for prompt in library.values():
        backbone.check_prompt(prompt)
    return library


def task_prompts_on(
    library: Library | Mapping[str, TaskPrompt], backbone: Backbone
) -> dict[str, TaskPrompt]:
    """Prompts with their tasks, of a library those on this model.

    Raises:
        PromptPortError: a prompt whose task is not known.
        MismatchError: none of several groups of prompts belongs to the model.
    """
    return library.on(backbone).task_prompts() if isinstance(library, Library) else dict(library)
