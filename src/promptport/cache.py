"""What is kept on disk between runs: where it lies, how much it may be, who is using it.

Everything here can be made again, so anybody may delete it at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from promptport.errors import PromptPortError, StorageError
from promptport.files import json_bytes, read_json, storage_error, write_atomic
from promptport.scratch import MARK, sweep

FOLDER_VARIABLE = "PROMPTPORT_CACHE"
LIMIT_VARIABLE = "PROMPTPORT_CACHE_GB"
_DEFAULT_GIGABYTES = 20.0
_GIGABYTE = 1_000_000_000
_MODELS = "gguf"
_WORDS = "words"
_FETCHED = "models"
_INDEXES = "indexes"
_RECORD = "entry.json"
_USED = "used"


def cache_folder() -> Path:
    """`$PROMPTPORT_CACHE`, else `promptport` in the platform's folder for such things.

    Without a home it is a path at which nothing can be: what needs no cache works, and what needs
    one is told to name it.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "promptport"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user that the system does not know
        return Path(os.devnull)


def cache_limit() -> int:
    """Bytes that converted models may take, `$PROMPTPORT_CACHE_GB` (default 20).

    Raises:
        PromptPortError: the variable is no number of gigabytes.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(_DEFAULT_GIGABYTES)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 1e9:
        raise PromptPortError(
            LIMIT_VARIABLE, expected="gigabytes, 0 or more", got=repr(text), fix="Set it to 20"
        )
    return int(limit * _GIGABYTE)


@dataclass(frozen=True)
class CacheEntry:
    """One thing that is kept.

    Attributes:
        what: for people.
        place: file or folder.
        size: bytes.
        used: when it was last used, seconds since the epoch.
    """

    what: str
    place: Path
    size: int
    used: float


def fetched_folder() -> Path:
    """Where files of pretrained models lie that were fetched, which need not exist."""
    return cache_folder() / _FETCHED


def index_folder() -> Path:
    """Where indexes of libraries lie whose own folder cannot be written; it need not exist."""
    return cache_folder() / _INDEXES


def model_entry(key: str) -> Path:
    """The folder of a converted model, which need not exist."""
    return cache_folder() / _MODELS / key


def cache_entries() -> list[CacheEntry]:
    """What is kept, last used first: converted models, fetched files; the word tables are one
    entry, and so are the indexes of libraries."""
    found = [_model(place) for place in _model_folders()]
    found += [
        CacheEntry(f"{file.name}, fetched", file, stat.st_size, max(stat.st_atime, stat.st_mtime))
        for file in sorted(fetched_folder().glob("[!.]*.gguf"))
        if (stat := file.stat())
    ]
    for name, kind, what in (
        (_WORDS, "*.json", "words of tokenizers"),
        (_INDEXES, "*.sqlite", "indexes of libraries"),
    ):
        place = cache_folder() / name
        tables = [file for file in place.glob(kind) if file.is_file()]
        if tables:
            used = max(file.stat().st_mtime for file in tables)
            found.append(CacheEntry(f"{what} ({len(tables)})", place, _size(place), used))
    return sorted(found, key=lambda entry: -entry.used)


def _model_folders() -> list[Path]:
    folder = cache_folder() / _MODELS
    if not folder.is_dir():
        return []
    return [place for place in sorted(folder.iterdir()) if place.is_dir() and place.name[0] != "."]


def _model(place: Path) -> CacheEntry:
    try:
        what = str(read_json(place / _RECORD).get("what", place.name))
    except PromptPortError:  # still being made, or broken off
        what = f"{place.name} (unfinished)"
    used = place / _USED
    when = (used if used.is_file() else place).stat().st_mtime
    return CacheEntry(what, place, _size(place), when)


def _size(place: Path) -> int:
    total = 0
    for file in place.rglob("*"):
        with contextlib.suppress(OSError):  # another process may remove it meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def describe_entry(place: Path, record: dict[str, Any]) -> None:
    """Write what an entry is, with the field `what` for people.

    Raises:
        StorageError: the cache cannot be written.
    """
    try:
        write_atomic(place / _RECORD, json_bytes(record))
    except StorageError as error:
        raise unwritable(error) from error


def unwritable(error: StorageError) -> StorageError:
    """The same failure, with what to do about the cache."""
    return StorageError(
        str(cache_folder()),
        expected="a cache folder that can be written, with enough room",
        got=str(error.__cause__ or error),
        fix=f"Set {FOLDER_VARIABLE} to such a folder, or see `promptport cache`",
    )


def mark_used(place: Path) -> None:
    """Note that an entry was used now."""
    with contextlib.suppress(OSError):  # a cache that cannot be written can be read
        (place / _USED).touch()


def clear_cache() -> list[CacheEntry]:
    """Remove everything that no other process is using: what was removed."""
    for folder in (cache_folder() / _MODELS, fetched_folder(), *_model_folders()):
        sweep(folder)
    removed = [entry for entry in cache_entries() if _remove(entry)]
    for file in (cache_folder() / _MODELS).glob(".*"):
        _remove_lock(file)
    with contextlib.suppress(OSError):
        shutil.rmtree(cache_folder() / "hashes", ignore_errors=True)
    return removed


def trim_cache(keep: Path) -> list[CacheEntry]:
    """Remove converted models that were not used for longest until the rest is small enough.

    Args:
        keep: the entry that is needed now; it stays even if it is larger than the limit.

    Returns:
        What was removed.
    """
    entries = [entry for entry in cache_entries() if entry.place.parent.name == _MODELS]
    total, limit = sum(entry.size for entry in entries), cache_limit()
    removed = []
    for entry in reversed(entries):
        if total <= limit:
            break
        if entry.place != keep and _remove(entry):
            total -= entry.size
            removed.append(entry)
    return removed


def _remove(entry: CacheEntry) -> bool:
    """Whether it could be removed: nobody is using it, and it may be written."""
    if entry.place.name in (_WORDS, _INDEXES):
        shutil.rmtree(entry.place, ignore_errors=True)
        return not entry.place.exists()
    if entry.place.is_file():
        with contextlib.suppress(OSError):
            entry.place.unlink()
        return not entry.place.exists()
    with _flock(_lock_file(entry.place), shared=False, wait=False) as got:
        if not got:
            return False
        # Renamed first: nobody shall find half an entry.
        gone = entry.place.with_name(f".gone-{os.getpid()}-{time.time_ns()}{MARK}")
        try:
            os.replace(entry.place, gone)
        except OSError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        _lock_file(entry.place).unlink(missing_ok=True)
    return True


def _remove_lock(file: Path) -> None:
    """Remove the lock of an entry that is not there, if nobody holds it."""
    if file.suffix not in (".lock", ".making") or file.with_name(file.stem[1:]).exists():
        return
    with _flock(file, shared=False, wait=False) as got:
        if got and not file.with_name(file.stem[1:]).exists():
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


@contextlib.contextmanager
def in_use(place: Path) -> Iterator[None]:
    """While an entry is read: no process removes it."""
    with _flock(_lock_file(place), shared=True):
        yield


@contextlib.contextmanager
def being_made(place: Path) -> Iterator[None]:
    """While an entry is made: another process that wants to make it waits.

    Raises:
        StorageError: the cache cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent)
    except OSError as error:
        raise unwritable(storage_error(place, error, "a folder")) from error
    with in_use(place), _flock(place.with_name(f".{place.name}.making"), shared=False):
        yield


def _lock_file(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


@contextlib.contextmanager
def _flock(file: Path, *, shared: bool, wait: bool = True) -> Iterator[bool]:
    """Hold a lock, if this platform and folder have such; False if it is taken (not `wait`)."""
    stream: IO[bytes] | None = None
    got = True
    try:
        import fcntl

        stream = file.open("ab")
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(stream, mode if wait else mode | fcntl.LOCK_NB)
    except BlockingIOError:
        got = False
    except (ImportError, OSError):  # no locks here: renames alone keep entries whole
        pass
    try:
        yield got
    finally:
        if stream is not None:
            stream.close()
