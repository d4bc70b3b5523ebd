"""Temporary files and folders whose maker may be killed: the next run removes what it left.

Each is locked by its maker as long as that lives, and its name ends in a mark of ours. What has the
mark and no lock belongs to nobody any more. Where the platform or the file system has no such
locks, nothing is known of a maker, and only what a run made itself is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

MARK = ".promptport-tmp"
_TRIES = 10  # another process may take what is new for left over, before it is locked
_swept: set[str] = set()


@contextlib.contextmanager
def scratch_folder(place: Path | None = None, name: str = "scratch") -> Iterator[Path]:
    """A temporary folder, gone when the block ends.

    Args:
        place: the folder that it is made in; None for that of the system.
        name: what its name begins with, behind a dot.

    Raises:
        OSError: the place cannot be written.
    """
    inside = Path(tempfile.gettempdir()) if place is None else place
    sweep(inside)
    path, handle = _made(
        lambda: tempfile.mkdtemp(prefix=f".{name}.", suffix=MARK, dir=inside),
        lambda made: _opened(Path(made)),
    )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def scratch_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A temporary file beside another one, open for writing; gone when the block ends.

    Args:
        target: whose place it shall take; its folder is there.

    Raises:
        OSError: the place cannot be written.
    """
    sweep(target.parent)
    handles: dict[str, int] = {}

    def make() -> str:
        handle, made = tempfile.mkstemp(prefix=f".{target.name}.", suffix=MARK, dir=target.parent)
        handles[made] = handle
        return made

    path, handle = _made(make, handles.__getitem__)
    try:
        assert handle is not None
        with open(handle, "w+b") as stream:
            yield stream, path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Remove a folder that is there or not, at once for whoever looks; failures are none."""
    sweep(path.parent)
    gone = path.with_name(f".{path.name}.{os.getpid()}{MARK}")
    with contextlib.suppress(OSError):
        os.replace(path, gone)
        path = gone
    shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder; each process looks at a folder once."""
    key = os.path.abspath(folder)
    if key in _swept:
        return
    _swept.add(key)
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if _is_ours(entry.name)]
    except OSError:
        return
    for path in found:
        _remove_left(path)


def _is_ours(name: str) -> bool:
    return name.startswith(".") and name.endswith(MARK)


def _made(make: Callable[[], str], open_it: Callable[[str], int | None]) -> tuple[Path, int | None]:
    """Something new with the lock on it; what was removed before it was locked is made again."""
    for _ in range(_TRIES):
        path = Path(make())
        handle = open_it(str(path))
        if handle is None or (_lock(handle, wait=True) is not False and _is_at(handle, path)):
            return path, handle
        os.close(handle)
    raise FileNotFoundError(2, "removed by another process as soon as it is made", str(path))


def _opened(path: Path) -> int | None:
    """A descriptor of a folder, where the platform gives one."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def _lock(handle: int, *, wait: bool) -> bool | None:
    """Whether it is locked now; False if another process has it, None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _remove_left(path: Path) -> None:
    """Remove something with our mark, if its maker does not live and we made it."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return
    try:
        about = os.fstat(handle)
        if about.st_uid != os.getuid() or not _lock(handle, wait=False):
            return
        if stat.S_ISDIR(about.st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    except AttributeError:  # no user ids on this platform
        return
    finally:
        os.close(handle)
