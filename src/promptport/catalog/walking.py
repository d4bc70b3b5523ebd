"""Finding what stands in a library: every folder once, what it is read from, what is known of it.

A folder is looked at by `stat` alone where an index knows it: its own times change with the names
in it, those of its files with what stands in them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from promptport.catalog.facts import Facts, read_folder_facts, read_portable_facts
from promptport.catalog.index import Index, Row
from promptport.catalog.layout import FILES, MARKS, PORTABLE_SUFFIX
from promptport.errors import FileFormatError, PromptPortError
from promptport.progress import Stage, stage

# What was changed so lately may change again without another time on it: file systems count in
# steps of up to two seconds. It is read again the next time.
_SETTLED = 2_000_000_000  # nanoseconds
_DEEPEST = 64  # folders within each other
_AGAIN = 8  # times that a folder is read that others move about
_TELL = 100  # things between two words of progress
_FORGED = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass
class Found:
    """What stands in the places of a library.

    Attributes:
        things: path as it was written -> facts, or what is wrong with it.
        again: path -> the path of the same folder that came before.
    """

    things: dict[str, Facts | str] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    seen: dict[tuple[int, int], str] = field(default_factory=dict)  # by device and number


def walk(places: Sequence[str | Path], *, index: bool = True) -> tuple[Found, list[str]]:
    """Look through the places of a library; hidden folders and files are left out.

    Args:
        places: prompt, vector or attention folders, portable files, or folders of such.
        index: use the index of each folder, and bring it up to date.

    Returns:
        What stands there, and the places that hold nothing.
    """
    found, empty = Found(), []
    with stage("reading the library") as told, _undisturbed():
        for place in places:
            before = len(found.things) + len(found.again)
            _Walk(Path(place), found, told).run(index=index)
            if len(found.things) + len(found.again) == before and not _holds_seen(place, found):
                empty.append(str(place))
    return found, empty


def _holds_seen(place: str | Path, found: Found) -> bool:
    """Whether a place was looked through before, and something stood there."""
    try:
        status = os.stat(place)
    except OSError:
        return False
    first = found.seen.get((status.st_dev, status.st_ino))
    within = f"{first}{os.sep}" if first != os.curdir else ""
    return first is not None and any(
        path == first or path.startswith(within) for path in found.things
    )


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the garbage collector, which would go through all facts again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Walk:
    """One place on its way."""

    def __init__(self, place: Path, found: Found, told: Stage) -> None:
        self.place, self.found, self.told = place, found, told
        self.known: Mapping[str, Row] = {}
        self.fresh: dict[str, Row] = {}
        self.visited: set[str] = set()
        self.began = time.time_ns()

    def run(self, *, index: bool) -> None:
        """Look through it, and keep what was read."""
        path = str(self.place)
        if not self.place.is_dir():
            if self.place.is_file():
                self._portable(path, "", needed=True)
            return
        # A single prompt needs no index, and gets none among its files.
        index = index and not any((self.place / mark).is_file() for mark in MARKS)
        own = Index(self.place)
        if index:
            self.known = own.load()
        prefix = "" if path == os.curdir else path + os.sep * (not path.endswith(os.sep))
        self._folder(path, prefix, "", 0)
        gone = self.known.keys() - self.visited
        if index and (self.fresh or gone):
            own.save(self.fresh, gone)

    def _folder(self, path: str, prefix: str, place: str, depth: int) -> None:
        """A folder and what is in it.

        Args:
            path: as it is shown.
            prefix: of the paths in it.
            place: relative to the library, with a slash at its end; empty for the library itself.
            depth: below the library.
        """
        try:
            status = os.stat(path)
            if not S_ISDIR(status.st_mode) or depth > _DEEPEST:
                return
            identity = (status.st_dev, status.st_ino)
            if identity in self.found.seen:
                first = self.found.seen[identity]
                if first in self.found.things:
                    self.found.again[path] = first
                return
            self.found.seen[identity] = path
            stamp = hash((status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
            row = self.known.get(place)
            if row is not None and row.own == stamp:
                children, files = row.children, row.files
            else:
                children, files = _names_in(path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.found.things[path] = _unreadable(path, error)
            return
        changed = status.st_ctime_ns
        self._look(path, prefix, place, (stamp, changed, children, files), row)
        for name in children:
            self._folder(prefix + name, f"{prefix}{name}{os.sep}", f"{place}{name}/", depth + 1)

    def _look(
        self,
        path: str,
        prefix: str,
        place: str,
        own: tuple[int, int, tuple[str, ...], tuple[str, ...]],
        row: Row | None,
    ) -> None:
        """What a folder holds itself."""
        stamp, changed, children, files = own
        parts: Sequence[str] = files
        if not FILES.issuperset(files):
            parts = [name for name in files if name in FILES]
            for name in files:
                if name not in FILES:
                    self._portable(prefix + name, place + name)
        if row is not None and row.own == stamp and not parts:
            self.visited.add(place)
            return
        status, newest, there = _stamp(prefix, parts)
        facts: Facts | None = None
        if row is not None and (row.own, row.stamp) == (stamp, status):
            self.visited.add(place)
            if row.facts is not None:
                self._add(path, row.facts)
            return
        if any(mark in there for mark in MARKS):
            made = _read_whole(path)
            if isinstance(made, str):  # told anew each time, with the path as it is written then
                if os.path.isdir(path):
                    self._add(path, made)
                return
            facts = made
            self._add(path, facts)
        if place and max(changed, newest) < self.began - _SETTLED:
            self._keep(place, Row(stamp, children, files, status, facts))

    def _portable(self, path: str, place: str, *, needed: bool = False) -> None:
        """A file that may be a portable prompt.

        Args:
            path: as it is shown.
            place: relative to the library.
            needed: it was named, so another kind of file is told of.
        """
        status, newest, there = _stamp("", [path])
        row = self.known.get(place)
        if row is not None and row.stamp == status:
            self.visited.add(place)
            if row.facts is not None:
                self._add(path, row.facts)
            return
        if not there:
            return
        try:
            facts = read_portable_facts(Path(path))
        except _FORGED as error:
            if needed or path.endswith(PORTABLE_SUFFIX):
                self._add(path, _unreadable(path, error))
            return
        if facts is not None:
            self._add(path, facts)
        if newest < self.began - _SETTLED:
            self._keep(place, Row(0, (), (), status, facts))

    def _add(self, path: str, made: Facts | str) -> None:
        self.found.things[path] = made
        if len(self.found.things) % _TELL == 0:
            self.told.at(len(self.found.things), 0)

    def _keep(self, place: str, row: Row) -> None:
        self.visited.add(place)
        self.fresh[place] = row


def _names_in(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the folders, and of the files from which anything is told, in their order."""
    children, files = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                children.append(name)
            elif name in FILES or name.endswith((PORTABLE_SUFFIX, ".safetensors")):
                files.append(name)
            elif entry.is_symlink():  # to a folder, now or some day
                children.append(name)
    return tuple(sorted(children)), tuple(sorted(files))


def _stamp(prefix: str, names: Sequence[str]) -> tuple[int, int, set[str]]:
    """A number that changes with the files, when they last changed, and which there are.

    A hash of whole numbers is the same in every process; another Python that had another would
    only read the files again.
    """
    told: list[tuple[int, ...]] = []
    newest, there = 0, set()
    for name in names:
        try:
            status = os.stat(prefix + name)
        except OSError:
            told.append(())
            continue
        if S_ISREG(status.st_mode):
            there.add(name)
        changed = status.st_ctime_ns
        told.append((status.st_size, status.st_mtime_ns, changed, status.st_ino))
        if changed > newest:
            newest = changed
    return hash(tuple(told)), newest, there


def _read_whole(path: str) -> Facts | str:
    """As `_read`; a folder that was moved away or replaced meanwhile is read again."""
    made: Facts | str = ""
    before: object = None
    for _ in range(_AGAIN):
        made = _read(path)
        if not isinstance(made, str):
            return made
        try:
            status = os.stat(path)
        except OSError:
            return made
        now = (status.st_ino, status.st_ctime_ns, status.st_mtime_ns)
        if now == before:
            return made
        before = now
    return made


def _read(path: str) -> Facts | str:
    """Facts of a folder, or what is wrong with it in a line."""
    try:
        return read_folder_facts(Path(path))
    except (*_FORGED, StopIteration) as error:
        return _unreadable(path, error)


def _unreadable(path: str, error: Exception) -> str:
    """What is wrong, in a line; of files that others made, nothing is taken for granted."""
    if isinstance(error, PromptPortError):
        return str(error)
    return str(
        FileFormatError(
            path,
            expected="a prompt, vector, attention or portable file that can be read",
            got=f"{type(error).__name__}: {error}",
            fix="Restore it from its source, or take it out of the library",
        )
    )
