"""The SHA-256 of a large file, worked out once as long as the file stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from promptport.cache import cache_folder
from promptport.errors import PromptPortError
from promptport.files import json_bytes, read_json, storage_error, write_atomic

_BLOCK = 1 << 22
_FOLDER = "hashes"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    It is remembered by path, size, inode and times of change; a cache that cannot be written is no
    error.

    Raises:
        StorageError: the file cannot be read.
    """
    where = path.resolve()
    try:
        state = where.stat()
    except OSError as error:
        raise storage_error(path, error, "a readable file") from error
    seen: dict[str, object] = {"path": str(where), "size": state.st_size, "inode": state.st_ino}
    # The time of change can be set; that of the inode cannot.
    seen |= {"changed": state.st_mtime_ns, "noted": state.st_ctime_ns}
    name = hashlib.sha256(str(where).encode()).hexdigest()[:32]
    place = cache_folder() / _FOLDER / f"{name}.json"
    if (known := _remembered(place, seen)) is not None:
        return known
    found = _hash(where)
    with contextlib.suppress(PromptPortError):
        write_atomic(place, json_bytes({**seen, "sha256": found}))
    return found


def _remembered(place: Path, seen: dict[str, object]) -> str | None:
    if not os.path.isfile(place):  # also where it may not be looked for
        return None
    try:
        kept = read_json(place)
    except PromptPortError:
        return None
    found = kept.pop("sha256", None)
    return found if kept == seen and isinstance(found, str) else None


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise storage_error(path, error, "a readable file") from error
    return digest.hexdigest()
