"""What is on the disk: trees of files to compare, and what in them is neither old nor new."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

Tree = dict[str, str]  # path -> digest of what is in it

# Fields that are never twice the same: how long it took, when it was, how many there are by now.
_PASSING = frozenset(("seconds", "removed", "used", "mtime", "modified", "mtime_ns", "inode"))
_TRASHED = re.compile(r"\.trash/[^/]+")
_SCRATCH = (".promptport-index.sqlite", "used")
_TIMES = re.compile(rb"\b\d+(\.\d+)? ?(s|ms|seconds)\b")


def tree_of(place: Path, *, exact: bool = False) -> Tree:
    """Files and folders below a place.

    Args:
        place: a folder.
        exact: to the byte, in place of what a user would call the same.
    """
    found: Tree = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if not exact:
            name = _name(name, place)
        found[name] = _digest(path, exact) if path.is_file() else "folder"
    return found


def _name(name: str, place: Path) -> str:
    """The name of a file, in the trash by what was removed."""
    match = _TRASHED.search(name)
    if match is None:
        return name
    record = place / name[: match.end()] / "record.json"
    called = "unknown"
    with contextlib.suppress(OSError, ValueError, KeyError):
        called = json.loads(record.read_text())["name"]
    return name[: match.start()] + f".trash/of {called}" + name[match.end() :]


def _digest(path: Path, exact: bool) -> str:
    data = path.read_bytes()
    if not exact:
        if path.name in _SCRATCH or path.name.endswith((".lock", ".making")):
            return "some"
        if path.suffix in (".json", ".jsonl"):
            data = _plain(data)
        elif path.suffix in (".html", ".md"):
            data = _TIMES.sub(b"", data)
    return hashlib.sha256(data).hexdigest()[:16]


def _plain(data: bytes) -> bytes:
    """JSON without what passes."""
    try:
        try:
            value = json.loads(data)
        except ValueError:
            value = [json.loads(line) for line in data.splitlines()]
            return json.dumps(sorted(json.dumps(_kept(v), sort_keys=True) for v in value)).encode()
    except ValueError:
        return data
    return json.dumps(_kept(value), sort_keys=True).encode()


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _kept(v) for k, v in value.items() if k not in _PASSING}
    return [_kept(v) for v in value] if isinstance(value, list) else value


def not_whole(place: Path, old: Tree, new: Tree, parts: bool, grows: Collection[str]) -> list[str]:
    """What anybody would see below a place that is neither as before nor as it is to be.

    Args:
        place: a folder after a kill.
        old: it before.
        new: it after an undisturbed run.
        parts: files of a folder belong together.
        grows: names of files that are added to line by line.
    """
    now = tree_of(place)
    if not parts:
        return [
            name
            for name, digest in now.items()
            if not _is_hidden(name)
            and digest not in (old.get(name, digest if _unseen(name) else ""), new.get(name, ""))
            and Path(name).name not in grows
            and digest != "folder"
        ]
    before, after, present = _folders(old), _folders(new), _folders(now)
    return [
        folder
        for folder, files in present.items()
        if files and files not in (before.get(folder), after.get(folder))
    ]


def _unseen(name: str) -> bool:
    return name.startswith(("cache/", "tmp/"))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts) or _unseen(name)


def _folders(tree: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The files of every folder that is not hidden."""
    found: dict[str, dict[str, str]] = {}
    for name, digest in tree.items():
        if digest != "folder" and not _is_hidden(name):
            parent = Path(name).parent.as_posix()
            found.setdefault(parent, {})[Path(name).name] = digest
    return found


def things_of(library: Path) -> Counter[str]:
    """The weights of all that is in a library or in its trash, by digest."""
    return Counter(
        _digest(path, True)
        for path in library.rglob("*.safetensors")
        if not any(
            part.startswith(".") and part != ".trash" for part in path.relative_to(library).parts
        )
    )


def lost_things(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """What was in a library and is not any more."""
    return [digest for digest, count in before.items() if now.get(digest, 0) < count]
