"""A library looked at without torch: everything in it, filtered, sorted, searched."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.catalog.backbones import Identity, grouped
from promptport.catalog.entry import CatalogEntry
from promptport.catalog.facts import KINDS
from promptport.catalog.names import names_apart
from promptport.catalog.searching import SearchHit, search_entries
from promptport.catalog.walking import walk
from promptport.errors import PromptPortError, StorageError, UnknownNameError
from promptport.files import what_is_at
from promptport.registry import unknown_name

if TYPE_CHECKING:
    from promptport.tasks import Task

_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_SHOWN = 8  # names in an error


# Order -> what is compared; what is unknown comes last, either way.
SORTS: Mapping[str, Callable[[CatalogEntry], Any]] = {
    "name": lambda entry: entry.name,
    "task": lambda entry: entry.task,
    "score": lambda entry: entry.dev_score,
    "date": lambda entry: None if entry.facts is None else entry.facts.written,
    "length": lambda entry: entry.length,
}
_FALLING = ("score", "date")  # the best, and the newest, stand first


@dataclass(frozen=True)
class Catalog:
    """What stands in a library, read from records and headers; no values are loaded.

    Example:
        >>> from promptport import Catalog
        >>> catalog = Catalog.open("prompts")  # doctest: +SKIP
        >>> catalog.filter(task="sentiment", min_score=0.8).entries  # doctest: +SKIP

    Attributes:
        entries: prompts, vectors, attentions and portable files that can be read.
        damaged: those that cannot, each with its `problem`.
        notes: what was left out or may surprise, one line each.
        places: that were read.
    """

    entries: tuple[CatalogEntry, ...]
    damaged: tuple[CatalogEntry, ...] = ()
    notes: tuple[str, ...] = ()
    places: tuple[Path, ...] = ()

    @classmethod
    def open(cls, places: str | Path | Sequence[str | Path], *, index: bool = True) -> Catalog:
        """Read a library.

        Args:
            places: prompt, vector or attention folders, portable files, or folders of such, which
                are looked through to any depth; hidden folders are left out.
            index: use `.promptport-index.sqlite` in each folder, and bring it up to date. The
                result is the same without; it only takes longer.

        Raises:
            PromptPortError: no place.
            StorageError: a place that is missing, or holds nothing.
        """
        given = [places] if isinstance(places, str | Path) else list(places)
        if not given:
            raise PromptPortError(
                "library", expected="a folder of prompts", got="none", fix="Name one folder or more"
            )
        found, empty = walk(given, index=index)
        for place in empty:
            raise StorageError(
                place,
                expected="a prompt or vector folder, or a folder of such",
                got=what_is_at(Path(place), "neither"),
                fix="Check the path",
            )
        names = dict(zip(found.things, names_apart(list(found.things)), strict=True))
        whole, damaged = [], []
        notes = []
        for path, made in found.things.items():
            if isinstance(made, str):
                damaged.append(CatalogEntry(names[path], path, None, made))
                notes.append(f"left out, damaged: {made}")
                continue
            whole.append(CatalogEntry(names[path], path, made))
            if made.warning is not None:
                notes.append(f"the tags of {path} cannot be read: {made.warning}")
        if found.again:
            again = ", ".join(f"{path} (as {names[first]})" for path, first in found.again.items())
            notes.append(f"the same prompts again are left out: {again}")
        return cls(tuple(whole), tuple(damaged), tuple(notes), tuple(map(Path, given)))

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        damaged = f", {len(self.damaged)} damaged" if self.damaged else ""
        return f"Catalog of {len(self)} on {', '.join(self.backbones) or 'no model'}{damaged}"

    @property
    def backbones(self) -> dict[str, tuple[str, ...]]:
        """The models that prompts belong to: name -> names of their prompts."""
        return grouped(
            (e.name, Identity(e.backbone, e.revision, e.fingerprint, e.width)) for e in self.entries
        )

    def filter(
        self,
        *,
        task: str | None = None,
        backbone: str | None = None,
        kind: str | None = None,
        tags: Sequence[str] = (),
        min_score: float | None = None,
        since: str | None = None,
    ) -> Catalog:
        """Those that fit all of this.

        Args:
            task: its name; a prompt of several tasks (`a + b`) belongs to each.
            backbone: as `backbones` names it, or as it is recorded.
            kind: `free`, `mixture`, `vector`, `attention` or `portable`.
            tags: all of which it must have.
            min_score: of the dev score; prompts without one are left out.
            since: first day on which it may have been written, like 2026-03-31, in UTC.

        Raises:
            UnknownNameError: there is no such kind.
            PromptPortError: no such day.
        """
        if kind is not None and kind not in KINDS:
            raise unknown_name("kind", kind, KINDS)
        if since is not None and not _DAY.fullmatch(since):
            raise PromptPortError(
                "since", expected="a day", got=repr(since), fix="Write for instance 2026-03-31"
            )
        own = () if backbone is None else frozenset(self.backbones.get(backbone, ()))
        wanted = set(tags)
        kept = tuple(
            e
            for e in self.entries
            if (task is None or task in e.task_names)
            and (backbone is None or e.name in own or e.backbone == backbone)
            and (kind is None or e.kind == kind)
            and (not wanted or wanted <= set(e.tags))
            and (min_score is None or (e.dev_score is not None and e.dev_score >= min_score))
            and (since is None or (e.written or "") >= since)
        )
        return Catalog(kept, self.damaged, self.notes, self.places)

    def sort(self, by: str, *, reverse: bool = False, limit: int | None = None) -> Catalog:
        """The same in another order.

        Args:
            by: `name`, `task`, `score` (the best first), `date` (the newest first) or `length`.
            reverse: the other way round; what is unknown stays last.
            limit: keep so many.

        Raises:
            UnknownNameError: there is no such order.
        """
        if by not in SORTS:
            raise unknown_name("sort", by, SORTS)
        value = SORTS[by]
        known = [entry for entry in self.entries if value(entry) is not None]
        others = [entry for entry in self.entries if value(entry) is None]
        known.sort(key=value, reverse=(by in _FALLING) != reverse)
        kept = tuple([*known, *others][:limit])
        return Catalog(kept, self.damaged, self.notes, self.places)

    def first(self, limit: int | None) -> Catalog:
        """The first ones, or all."""
        return Catalog(self.entries[:limit], self.damaged, self.notes, self.places)

    def show(self, name: str) -> CatalogEntry:
        """All that is known of one; a damaged one has only its `problem`.

        Args:
            name: in the library, or the path of its folder.

        Raises:
            UnknownNameError: there is none of this name.
        """
        known = {entry.name: entry for entry in (*self.damaged, *self.entries)}
        if name in known:
            return known[name]
        place = str(Path(name))
        for entry in known.values():
            if entry.path == place:
                return entry
        close = get_close_matches(name, known, 1, cutoff=0.4)
        some = ", ".join([*known][:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise UnknownNameError(
            "library",
            expected="the name of one of its prompts",
            got=repr(name),
            fix=f"Did you mean {close[0]!r}?" if close else f"It has {some or 'none'}",
        )

    def search(
        self,
        words: str,
        *,
        data: str | Path | None = None,
        near: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[SearchHit, ...]:
        """Prompts whose names, tasks, labels, mixture words, templates or tags hold these words.

        Args:
            words: one or more, in any order and case.
            data: folder of `lama:` and `nlu:` tasks, whose labels are searched as well.
            near: by the name of a prompt, the words next to its virtual tokens
                (`library.near_words`), to be searched as well.

        Returns:
            The best match first; prompts that hold none of the words are left out.

        Raises:
            PromptPortError: no word.
        """
        tasks = {name: known_task(name, data) for name in {e.task for e in self.entries} if name}
        near = near or {}
        searched = [
            _Searched(e, tasks.get(e.task or ""), tuple(near.get(e.name, ()))) for e in self.entries
        ]
        return search_entries(searched, words)


@dataclass(frozen=True)
class _Searched:
    """An entry with its task."""

    entry: CatalogEntry
    task: Task | None
    near: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.entry.name

    def words(self) -> Mapping[str, Sequence[str]]:
        words = self.entry.words(self.task)
        return {**words, "near words": self.near} if self.near else words


def known_task(name: str | None, data: str | Path | None) -> Task | None:
    """The task that a folder names; None if it cannot be opened."""
    from promptport.tasks import open_task

    try:
        return None if name is None else open_task(name, data)
    except PromptPortError:
        return None
