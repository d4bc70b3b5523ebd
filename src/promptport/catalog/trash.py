"""The trash of a library: what was removed, each with a record that tells where it was.

.trash/<time>-<process>/  `record.json` and `content`, the folder or file as it was. The record is
written first and the folder is renamed last, so that after a crash a thing is either where it was
or in the trash, never in both and never in neither. What is deleted for good is renamed first
(`.emptying` at its end), so that nothing half-deleted can be restored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from promptport.errors import PromptPortError, StorageError
from promptport.files import json_bytes, storage_error, write_atomic
from promptport.records import Field, RecordFormat
from promptport.registry import unknown_name
from promptport.scratch import sweep

TRASH = ".trash"
_RECORD, _CONTENT = "record.json", "content"
_MOST_DAYS = 100_000
_GOING = ".emptying"  # at the end of the name of what is being deleted
_TEXT = Field("a text", lambda value: isinstance(value, str))
_FORMAT = RecordFormat(
    1,
    "Move the folder `content` beside it back by hand",
    {"name": _TEXT, "place": _TEXT, "removed": _TEXT},
)


@dataclass(frozen=True)
class Removed:
    """Something in the trash.

    Attributes:
        name: that it had in the library.
        place: where it was, relative to the library.
        removed: when, in UTC, like 2026-03-31T12:00:00+00:00.
        content: where it is now.
    """

    name: str
    place: str
    removed: str
    content: Path


def in_trash(library: Path) -> list[Removed]:
    """What can be restored, the oldest first; records that cannot be read are left out."""
    found = []
    for folder in _folders(library):
        content = folder / _CONTENT
        with contextlib.suppress(PromptPortError):
            record = _FORMAT.read(folder / _RECORD)
            if os.path.lexists(content) and not folder.name.endswith(_GOING):
                found.append(Removed(record["name"], record["place"], record["removed"], content))
    return found


def _folders(library: Path) -> Iterator[Path]:
    """Folders of the trash, in the order in which they were made; links lead elsewhere."""
    trash = library / TRASH
    if trash.is_dir() and not trash.is_symlink():
        yield from (f for f in sorted(trash.iterdir()) if f.is_dir() and not f.is_symlink())


def emptied(
    library: Path, older_than: float = 0.0, *, dry_run: bool = False
) -> tuple[list[Removed], list[Path]]:
    """Delete what lies in the trash of a library, for good.

    Only what `to_trash` put there is deleted: a folder with a record that can be read. Where a link
    was removed, the link is deleted and not what it leads to.

    Args:
        library: its folder.
        older_than: days since it was removed; what was removed later stays.
        dry_run: delete nothing.

    Returns:
        What was deleted, or would be, and what stays because it is nothing that was removed.

    Raises:
        PromptPortError: days below 0.
        StorageError: something cannot be deleted; what was deleted before it is gone.
    """
    if not 0 <= older_than < _MOST_DAYS:
        raise PromptPortError(
            "--older-than",
            expected=f"days, 0 or more and less than {_MOST_DAYS:,}",
            got=f"{older_than:g}",
            fix="Write for instance 30",
        )
    latest = datetime.now(UTC) - timedelta(days=older_than)
    known = {each.content.parent: each for each in in_trash(library)}
    gone: list[Removed] = []
    foreign: list[Path] = []
    for folder in list(_folders(library)):
        each = known.get(folder)
        when = None if each is None else _time(each.removed)
        if folder.name.endswith(_GOING):  # of a run that was killed
            if not dry_run:
                _delete(folder)
        elif each is None or when is None:
            foreign.append(folder)
        elif not older_than or when <= latest:
            gone.append(each)
            if not dry_run:
                _delete(folder)
    return gone, foreign


def _time(text: str) -> datetime | None:
    """A time of a record, in UTC; None for a text that is none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _delete(folder: Path) -> None:
    going = folder
    try:
        if not folder.name.endswith(_GOING):
            going = folder.with_name(folder.name + _GOING)
            os.rename(folder, going)
        shutil.rmtree(going)
    except OSError as error:
        raise storage_error(going, error, "a folder of the trash that can be deleted") from error


def tidy_trash(library: Path) -> None:
    """Remove folders of the trash that hold nothing: a kill between two steps leaves such.

    Nobody else may be changing the library.
    """
    for folder in _folders(library):
        sweep(folder)
        if {path.name for path in folder.iterdir()} <= {_RECORD}:  # what is not ours stays
            shutil.rmtree(folder, ignore_errors=True)


def to_trash(library: Path, path: Path, name: str) -> Removed:
    """Move a folder or file of a library to its trash.

    Args:
        library: its folder.
        path: of what is removed, below `library`.
        name: that it has in the library.

    Raises:
        StorageError: it cannot be moved; it stays where it was.
    """
    if (library / TRASH).is_symlink():  # nothing would be found there again: links lead elsewhere
        raise StorageError(
            str(library / TRASH),
            expected="a folder",
            got="a link",
            fix="Put a folder in its place",
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    folder = library / TRASH / f"{_next_time(library)}-{os.getpid()}"
    removed = Removed(name, path.relative_to(library).as_posix(), now, folder / _CONTENT)
    values = {"name": name, "place": removed.place, "removed": now}
    try:
        folder.mkdir(parents=True)
        write_atomic(folder / _RECORD, json_bytes(_FORMAT.record(**values)))
        os.rename(path, removed.content)
    except BaseException as error:  # an interruption too
        if not os.path.lexists(removed.content):
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, StorageError) or not isinstance(error, OSError):
            raise
        raise storage_error(path, error, "a folder that can be moved to the trash") from error
    return removed


def _next_time(library: Path) -> int:
    """Nanoseconds since the epoch, later than of all that is in the trash: clocks are set back."""
    known = [folder.name.partition("-")[0] for folder in (library / TRASH).glob("*/")]
    return max([time.time_ns(), *(int(t) + 1 for t in known if t.isascii() and t.isdigit())])


def from_trash(library: Path, name: str) -> Path:
    """Move what was removed last under a name back to where it was.

    Returns:
        Where it is again.

    Raises:
        UnknownNameError: nothing of this name is in the trash.
        StorageError: nothing at all is, something else stands there by now, or it cannot be moved.
    """
    there = in_trash(library)
    named = [each for each in there if each.name == name]
    if not there:
        raise StorageError(
            str(library / TRASH),
            expected="something that was removed",
            got="an empty trash",
            fix="There is nothing to restore",
        )
    if not named:
        raise unknown_name("trash", name, {each.name for each in there})
    last = named[-1]
    target = library / last.place
    # A record of others shall not write outside of the library.
    inside = (
        not os.path.isabs(last.place)
        and ".." not in Path(last.place).parts
        and target.parent.resolve().is_relative_to(library.resolve())  # links lead elsewhere
    )
    if not inside or os.path.lexists(target):
        raise StorageError(
            str(target),
            expected="a free place in the library",
            got="something else that stands there by now" if inside else "one outside of it",
            fix=f"Move that one away first, or take the removed one from {last.content}",
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(last.content, target)
    except OSError as error:
        raise storage_error(target, error, "a place that can be written") from error
    shutil.rmtree(last.content.parent, ignore_errors=True)
    return target
