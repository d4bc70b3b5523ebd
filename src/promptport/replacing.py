"""A folder takes the place of another one, at once where the system can."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

_HERE = -100  # AT_FDCWD: paths are relative to the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def replace_folder(staging: Path, target: Path, stale: Collection[str] = ()) -> None:
    """Put the files of a folder into another one; other files there stay.

    Whoever looks, and whoever looks after a kill, finds the old files or the new ones and no
    mixture: the new folder gets hard links of what stays, and the two change places in one step.
    Where that is not possible (no such step, no hard links, a folder in which somebody stands) the
    files are replaced one by one; an error then brings all back, but a kill in between may leave
    some of either.

    Args:
        staging: the new files, on the same file system. It is empty or holds what was replaced
            afterwards.
        target: the folder, which need not exist.
        stale: names of files that are removed unless there are new ones.

    Raises:
        OSError: it cannot be done; the target is as it was.
    """
    if not os.path.lexists(target):
        try:
            os.rename(staging, target)
            return
        except OSError:
            if not target.is_dir():  # else another process was quicker
                raise
    names = {file.name for file in staging.iterdir()}
    for name in names:
        if (target / name).is_dir():
            raise IsADirectoryError(21, "a folder is in the way", str(target / name))
    gone = names | {name for name in stale if (target / name).is_file()}
    if not _exchanged(staging, target, gone):
        _one_by_one(staging, target, sorted(names), gone - names)


def _exchanged(staging: Path, target: Path, gone: Collection[str]) -> bool:
    """Whether the two could change places, what stays in the target being in both."""
    if _stands_in(target) or os.path.ismount(target):
        return False
    carried: list[Path] = []
    try:
        with os.scandir(target) as entries:
            stays = [Path(entry.path) for entry in entries if entry.name not in gone]
        for path in stays:
            carried.append(staging / path.name)
            _link(path, staging / path.name)
        _like(target, staging)
        if _swap(staging, target):
            return True
    except OSError:
        pass
    for path in carried:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return False


def _stands_in(folder: Path) -> bool:
    """Whether the working folder lies in it: it would be gone under the feet of a shell."""
    try:
        return Path.cwd().is_relative_to(folder.resolve())
    except OSError:
        return True


def _link(source: Path, target: Path) -> None:
    """The same file under another name; folders are made anew, with links in them."""
    if not source.is_dir() or source.is_symlink():
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, by its own process
            os.link(source, target, follow_symlinks=False)
        return
    target.mkdir()
    for path in source.iterdir():
        _link(path, target / path.name)
    _like(source, target)


def _like(source: Path, target: Path) -> None:
    """Give a folder the rights and, if we may, the owner of another one."""
    about = source.stat()
    os.chmod(target, stat.S_IMODE(about.st_mode))
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(target, about.st_uid, about.st_gid)


def _swap(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, if the system can."""
    import ctypes

    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            done = library.renamex_np(os.fsencode(one), os.fsencode(other), _EXCHANGE)
        else:
            paths = (_HERE, os.fsencode(one), _HERE, os.fsencode(other))
            done = library.renameat2(*paths, _EXCHANGE)
    except (AttributeError, OSError, TypeError):
        return False
    return bool(done == 0)


def _one_by_one(
    staging: Path, target: Path, names: Collection[str], stale: Collection[str]
) -> None:
    """All files or, after an error, none: those that were there come back."""
    old = Path(tempfile.mkdtemp(dir=staging))
    moved: list[str] = []
    try:
        for name in names:
            moved.append(name)
            if os.path.lexists(target / name):
                os.replace(target / name, old / name)
            os.replace(staging / name, target / name)
        for name in stale:
            moved.append(name)
            os.replace(target / name, old / name)
    except BaseException:  # an interruption too
        for name in moved:
            if os.path.lexists(old / name):
                os.replace(old / name, target / name)
            elif name in names and not os.path.lexists(staging / name):
                (target / name).unlink(missing_ok=True)
        raise
