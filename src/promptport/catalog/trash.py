"""The trash of a library: what was removed, each with a record that tells where it was.

.trash/<time>-<process>/  `record.json` and `content`, the folder or file as it was. The record is
written first and the folder is renamed last, so that after a crash a thing is either where it was
or in the trash, never in both and never in neither.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from promptport.errors import PromptPortError, StorageError
from promptport.files import json_bytes, storage_error, write_atomic
from promptport.records import Field, RecordFormat
from promptport.registry import unknown_name

TRASH = ".trash"
_RECORD, _CONTENT = "record.json", "content"
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
    for folder in sorted((library / TRASH).glob("*/")):
        content = folder / _CONTENT
        with contextlib.suppress(PromptPortError):
            record = _FORMAT.read(folder / _RECORD)
            if os.path.lexists(content):
                found.append(Removed(record["name"], record["place"], record["removed"], content))
    return found


def tidy_trash(library: Path) -> None:
    """Remove folders of the trash that hold nothing: a kill between two steps leaves such.

    Nobody else may be changing the library.
    """
    for folder in sorted((library / TRASH).glob("*/")):
        if not os.path.lexists(folder / _CONTENT) and not folder.is_symlink():
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
    inside = not os.path.isabs(last.place) and ".." not in Path(last.place).parts
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
