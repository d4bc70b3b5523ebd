"""Tags of a prompt: words that people give it, in a file of their own in its folder.

`tags.json` is none of the files that PEFT or `save_prompt` write, so both leave it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from promptport.catalog.layout import TAGS_FILE, TAGS_FORMAT
from promptport.errors import PromptPortError
from promptport.files import json_bytes, storage_error, write_atomic

_LONGEST = 64  # characters of a tag


def read_tags(folder: Path) -> tuple[str, ...]:
    """The tags of a folder, in the order of the alphabet; none if it has no such file.

    Raises:
        StorageError: the file cannot be read.
        FileFormatError: it is damaged, or of a newer schema.
    """
    file = folder / TAGS_FILE
    if not file.is_file():
        return ()
    tags = TAGS_FORMAT.read(file)["tags"]
    for tag in tags:
        if not _is_tag(tag):
            raise TAGS_FORMAT.damaged(file, _EXPECTED, repr(tag)[:80])
    return tuple(sorted(set(tags)))


def write_tags(folder: Path, tags: Iterable[str]) -> None:
    """Write the tags of a folder, whole or not at all; without any, its file is removed.

    Raises:
        StorageError: the place cannot be written.
    """
    file, kept = folder / TAGS_FILE, sorted(set(tags))
    if kept:
        write_atomic(file, json_bytes(TAGS_FORMAT.record(tags=kept)))
        return
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(file, error, "a file that can be removed") from error


def checked_tags(tags: Iterable[str], option: str) -> tuple[str, ...]:
    """Tags as a user gives them, without spaces around.

    Args:
        tags: any.
        option: for errors: `--add`.

    Raises:
        PromptPortError: one that is empty, too long, or has a comma or a control character.
    """
    stripped = tuple(tag.strip() for tag in tags)
    for tag in stripped:
        if not _is_tag(tag):
            fix = "Write for instance reviews, and repeat the option for another"
            raise PromptPortError(option, expected=_EXPECTED, got=repr(tag)[:80], fix=fix)
    return stripped


_EXPECTED = f"a tag of 1 to {_LONGEST} printable characters, without a comma"


def _is_tag(tag: str) -> bool:
    fits = 0 < len(tag) <= _LONGEST and tag.isprintable() and tag == tag.strip()
    return fits and "," not in tag
