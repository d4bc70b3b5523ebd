"""What a reader does besides reading: programs, connections, files outside of its folder.

Python tells of most of it (audit events); what compiled code does is seen by what it leaves.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "the-secret-that-lies-outside"
_PROGRAMS = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen"),
    *("pty.spawn", "webbrowser.open", "ctypes.dlopen", "os.fork", "os.forkpty"),
)
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request")
_CHANGES = (
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"),
    *("os.truncate", "shutil.copyfile", "shutil.move", "shutil.rmtree"),
)


@dataclass
class Outside:
    """A folder that no reader was told of, with a secret in it, and no canary as yet.

    Attributes:
        folder: it.
    """

    folder: Path

    @property
    def canary(self) -> Path:
        """What a hostile file would make if any of it ran."""
        return self.folder / "canary"

    @property
    def secret(self) -> Path:
        """What a hostile file would have read."""
        return self.folder / "secret.txt"


@dataclass
class Watch:
    """What was seen.

    Attributes:
        outside: of what.
        executed: programs and connections.
        reached: places outside that were opened or changed.
    """

    outside: Outside
    executed: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)


_watch: Watch | None = None
_installed = False


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch is None:
        return
    if event in _PROGRAMS or event in _NETWORK:
        _watch.executed.append(f"{event} {str(arguments)[:120]}")
    elif event == "open" or event in _CHANGES:
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike) and _is_outside(path):
                _watch.reached.append(f"{event} {os.fsdecode(path)[-120:]}")


def _is_outside(path: Any) -> bool:
    assert _watch is not None
    place, text = str(_watch.outside.folder), os.fsdecode(path)
    # Links are not followed: who may follow them is a question of each trial.
    return os.path.abspath(text).startswith((place + os.sep, os.path.realpath(place) + os.sep))


@contextlib.contextmanager
def watching(outside: Outside) -> Iterator[Watch]:
    """Watch what is done within, in this process."""
    global _watch, _installed
    if not _installed:  # a hook cannot be taken away again
        sys.addaudithook(_hear)
        _installed = True
    _watch = seen = Watch(outside)
    before = _names(outside)
    try:
        yield seen
    finally:
        _watch = None
        if outside.canary.exists():
            seen.executed.append("the canary is there")
            outside.canary.unlink()
        for name in sorted(_names(outside) ^ before):
            seen.reached.append(f"{name} appeared or is gone")


def _names(outside: Outside) -> set[str]:
    return {str(path) for path in outside.folder.rglob("*") if path != outside.canary}


def leaks(folder: Path) -> list[str]:
    """Files, and names of files, below a folder that hold the secret."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            continue
        if path.is_file() and SECRET.encode() in path.read_bytes():
            found.append(str(path.relative_to(folder)))
    return found
