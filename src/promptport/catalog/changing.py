"""Changing a library: one writer at a time, and nothing half-done that a reader could see."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptport.catalog.catalog import Catalog
from promptport.catalog.entry import CatalogEntry
from promptport.catalog.facts import read_folder_facts, read_portable_facts
from promptport.catalog.headers import read_header
from promptport.catalog.layout import (
    ATTENTION_FILE,
    DELTA_FILE,
    FILES,
    LEGACY_WEIGHTS_FILE,
    MARKS,
    MIXTURE_FILE,
    ORIGIN_FILE,
    TAGS_FILE,
    WEIGHTS_FILE,
)
from promptport.catalog.tags import checked_tags, read_tags, write_tags
from promptport.catalog.trash import Removed, emptied, from_trash, tidy_trash, to_trash
from promptport.errors import MismatchError, PromptPortError, StorageError
from promptport.files import storage_error, what_is_at
from promptport.scratch import scratch_folder, sweep
from promptport.shell import quoted

_LOCK = ".promptport-library.lock"
_PATIENCE = 20.0  # seconds to wait for another writer
_LONGEST = 200  # bytes of a name; file systems take 255, and staging adds some
_AVERAGED = "averaged"  # in an attention folder: the prompt that it stands for
_VALUES = (WEIGHTS_FILE, LEGACY_WEIGHTS_FILE, ORIGIN_FILE, MIXTURE_FILE, DELTA_FILE)
_CHUNK = 1 << 20  # bytes read at a time


@contextlib.contextmanager
def changing(library: Path) -> Iterator[None]:
    """While a library is changed: other writers wait. Readers need not: changes are renames.

    Raises:
        StorageError: the library cannot be written, or another writer takes long.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(library / _LOCK, timeout=_PATIENCE):
            sweep(library)
            tidy_trash(library)
            yield
    except Timeout:
        raise StorageError(
            str(library),
            expected="a library that no other process is changing",
            got=f"one that was being changed for {_PATIENCE:.0f} seconds",
            fix="Run the command again when the other one is done",
        ) from None
    except OSError as error:
        if isinstance(error, PromptPortError):
            raise
        raise storage_error(library, error, "a library that can be written") from error


def check_facts(path: Path) -> None:
    """Refuse a folder or file whose records and headers are not whole.

    Raises:
        PromptPortError: it is damaged, or of another kind.
    """
    if path.is_dir():
        read_folder_facts(path)
    elif read_portable_facts(path) is None:
        raise _nothing_to_add(path)


def add_folder(
    folder: str | Path,
    library: str | Path,
    name: str | None = None,
    check: Callable[[Path], None] = check_facts,
) -> Path:
    """Copy a prompt, vector or attention folder, or a portable file, into a library.

    Args:
        folder: what is copied; hidden files and folders in it are not, but for `averaged` of an
            attention folder.
        library: its folder, made if missing.
        name: of the copy; None for the name that it has.
        check: refuses what is damaged. It is asked of the folder, so that an error names it, and
            of the copy, before anybody sees that.

    Returns:
        The copy; what is there already, with the same bytes, is not copied again.

    Raises:
        PromptPortError: a damaged folder, no such name, or one that other contents have.
        StorageError: the library cannot be written.
    """
    source, place = Path(folder), Path(library)
    if not _is_thing(source):
        raise _nothing_to_add(source)
    check(source)
    called = checked_name(name if name is not None else source.resolve().name)
    if source.is_file() and not called.endswith(source.suffix):
        called += source.suffix
    _check_library(place, made=True)
    if source.resolve().is_relative_to(place.resolve()):
        raise StorageError(
            str(source),
            expected="a folder outside of the library",
            got=f"one that lies in {place}",
            fix="It is in the library already; there is nothing to do",
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(place, error, "a library that can be written") from error
    with changing(place):
        target = place / called
        with scratch_folder(place, "adding") as staging:
            copy = staging / called
            _copy(source, copy)
            check(copy)
            if _bytes_in(copy) == _bytes_in(target):  # added before; perhaps its end was not told
                return target
            _refuse_taken(place, target, called)
            os.rename(copy, target)
    return target


def _bytes_in(path: Path) -> dict[str, str] | None:
    """Digests of the files of a folder by their names, or of one file; None for neither."""
    if path.is_symlink() or not path.exists():
        return None
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def checked_name(name: str) -> str:
    """A name that a folder of a library may have.

    Raises:
        PromptPortError: it has none, is hidden, too long, or has characters that cannot be shown.
    """
    short = 0 < len(os.fsencode(name)) <= _LONGEST
    if not short or name[0] in ".-" or "/" in name or "\\" in name or not name.isprintable():
        raise PromptPortError(
            "name",
            expected=f"1 to {_LONGEST} bytes without a slash, no dot or hyphen in front",
            got=repr(name)[:80],
            fix="Give another one with --name",
        )
    return name


def remove(name: str, library: str | Path) -> tuple[Removed, list[str]]:
    """Move something to the trash of its library.

    Args:
        name: in the library.
        library: its folder.

    Returns:
        What is in the trash now, and the names of what lay in the same folder and went with it.

    Raises:
        UnknownNameError: there is none of this name.
        StorageError: it cannot be moved.
    """
    place = Path(library)
    _check_library(place)
    with changing(place):
        catalog = Catalog.open(place)
        entry = catalog.show(name)
        inside = [other.name for other in _inside(catalog, entry)]
        return to_trash(place, entry.folder, entry.name), inside


def _inside(
    catalog: Catalog, entry: CatalogEntry, known: Sequence[CatalogEntry] = ()
) -> list[CatalogEntry]:
    """What lies in the folder of an entry, but for some that are known."""
    return [
        other
        for other in (*catalog.entries, *catalog.damaged)
        if other is not entry and other not in known and entry.folder in other.folder.parents
    ]


def restore(name: str, library: str | Path) -> Path:
    """Move something from the trash of a library back to where it was; see `from_trash`."""
    place = Path(library)
    _check_library(place)
    with changing(place):
        return from_trash(place, name)


def empty_trash(
    library: str | Path, older_than: float = 0.0, *, dry_run: bool = False
) -> tuple[list[Removed], list[Path]]:
    """Delete what lies in the trash of a library, for good; see `trash.emptied`."""
    place = Path(library)
    _check_library(place)
    with changing(place):
        return emptied(place, older_than, dry_run=dry_run)


def tag(
    name: str, library: str | Path, *, add: Sequence[str] = (), drop: Sequence[str] = ()
) -> tuple[str, ...]:
    """Give a prompt tags, and take some from it.

    Args:
        name: in the library.
        library: its folder.
        add: tags to give.
        drop: tags to take.

    Returns:
        The tags that it has now.

    Raises:
        UnknownNameError: there is none of this name.
        PromptPortError: no tag, or one to drop that it does not have.
        StorageError: the folder cannot be written.
    """
    place = Path(library)
    added, dropped = checked_tags(add, "--add"), checked_tags(drop, "--drop")
    _check_library(place)
    with changing(place):
        entry = Catalog.open(place).show(name)
        if not entry.folder.is_dir():
            raise StorageError(
                str(entry.folder),
                expected="a folder, which can hold tags",
                got="a portable file",
                fix="Tag the prompt that it was made of",
            )
        old = read_tags(entry.folder)
        missing = [each for each in dropped if each not in old]
        if missing:
            raise PromptPortError(
                "--drop",
                expected=f"one of its tags ({', '.join(old) or 'none'})",
                got=repr(missing[0]),
                fix="Leave it out",
            )
        new = tuple(sorted((set(old) - set(dropped)) | set(added)))
        if new != old:
            write_tags(entry.folder, new)
        return new


@dataclass(frozen=True)
class Equals:
    """Prompts whose values are equal, and whose records say the same model, task and template.

    Attributes:
        oldest: the one that stays.
        others: the rest, the older first.
    """

    oldest: CatalogEntry
    others: tuple[CatalogEntry, ...]


def equals(catalog: Catalog) -> list[Equals]:
    """Groups of equal prompts or vectors of a catalog.

    Those whose records say the same checksum, or none, are compared by a hash of their values as
    they are now: a damaged one is equal to no whole one.
    """
    alike: dict[tuple[object, ...], list[CatalogEntry]] = {}
    for entry in catalog.entries:
        if entry.kind in ("free", "mixture", "vector"):
            made = (entry.backbone, entry.revision, entry.task, entry.template)
            alike.setdefault((entry.kind, entry.checksum, entry.length, *made), []).append(entry)
    groups: dict[tuple[object, ...], list[CatalogEntry]] = {}
    for key, entries in alike.items():
        for entry in entries if len(entries) > 1 else ():
            groups.setdefault((*key, _hash_of_values(entry.folder)), []).append(entry)
    found = []
    for entries in groups.values():
        if len(entries) > 1:
            first, *rest = sorted(entries, key=_age)
            found.append(Equals(first, tuple(rest)))
    return found


def remove_equals(library: str | Path) -> list[tuple[Equals, list[Removed]]]:
    """Move all but the oldest of equal prompts to the trash; the oldest gets the tags of all.

    One whose folder holds other prompts stays, since they would go with it.

    Raises:
        StorageError: the library cannot be written.
    """
    place = Path(library)
    _check_library(place)
    done = []
    with changing(place):
        catalog = Catalog.open(place)
        for group in equals(catalog):
            others = [e for e in group.others if not _inside(catalog, e, group.others)]
            if not others:
                continue
            tags = set(group.oldest.tags).union(*(e.tags for e in others))
            if tags != set(group.oldest.tags):
                write_tags(group.oldest.folder, tags)
            moved = [
                to_trash(place, entry.folder, entry.name)
                for entry in sorted(others, key=lambda e: -len(e.folder.parts))
            ]
            done.append((Equals(group.oldest, tuple(others)), moved))
    return done


def _age(entry: CatalogEntry) -> tuple[float, str]:
    return (0.0 if entry.facts is None else entry.facts.written, entry.name)


def _hash_of_values(folder: Path) -> str:
    """SHA-256 of the tensors of a prompt or vector, and of their names, types and shapes."""
    digest = hashlib.sha256()
    for file in _VALUES:
        path = folder / file
        if not path.is_file():
            continue
        digest.update(file.encode())
        begin = 0
        if path.suffix == ".safetensors":
            header = read_header(path)
            digest.update(repr(sorted(header.tensors.items())).encode())
            digest.update(header.metadata.get("words", "").encode())
            begin = min((first for first, _ in header.places.values()), default=0)
        with path.open("rb") as stream:
            stream.seek(begin)
            while part := stream.read(_CHUNK):
                digest.update(part)
    return digest.hexdigest()


def _is_thing(path: Path) -> bool:
    return path.is_file() or any((path / mark).is_file() for mark in MARKS)


def _nothing_to_add(path: Path) -> StorageError:
    return StorageError(
        str(path),
        expected="a prompt, vector or attention folder, or a portable file",
        got=what_is_at(path, "a folder without one"),
        fix="Check the path",
    )


def _check_library(place: Path, *, made: bool = False) -> None:
    """Refuse what is no folder of prompts.

    Args:
        place: the library.
        made: it will be, if it is missing.

    Raises:
        StorageError: it is none.
    """
    if place.is_dir() and not _is_thing(place):
        return
    if made and not os.path.lexists(place):
        return
    raise StorageError(
        str(place),
        expected="the folder of a library, with prompt folders in it",
        got=what_is_at(place, "a prompt folder itself"),
        fix="Name the folder around it" if _is_thing(place) else "Check the path",
    )


def _refuse_taken(place: Path, target: Path, name: str) -> None:
    short = name.removesuffix(".prompt")
    with contextlib.suppress(StorageError):  # nothing stands there yet
        catalog = Catalog.open(place)
        taken = {entry.name for entry in (*catalog.entries, *catalog.damaged)}
        if short in taken or os.path.lexists(target):
            raise MismatchError(
                "name",
                expected=f"one that is free in {place}",
                got=repr(name),
                fix="Give another one with --name, or remove the old one: "
                f"promptport library remove {quoted(short)} {quoted(place)}",
            )
    if os.path.lexists(target):
        raise StorageError(
            str(target),
            expected="a free place in the library",
            got="something that stands there",
            fix="Give another name with --name",
        )


def _refuse_foreign(file: Path, folder: Path) -> None:
    """Refuse a link to a file that nobody asked for: a folder of others may name any place here.

    Links of the Hub's cache lead to `blobs` beside the snapshot; files of a prompt are read and
    checked wherever they lie. Tags that cannot be read are only told of, so theirs is no such file.
    """
    if not file.is_symlink() or (file.name in FILES and file.name != TAGS_FILE):
        return
    place, own = file.resolve(), folder.resolve()
    if not place.is_relative_to(own) and place.parent != own.parent.parent / "blobs":
        raise StorageError(
            str(file),
            expected="a file in the folder of the prompt",
            got=f"a link to {place}",
            fix="Put the file in its place, or remove the link",
        )


def _copy(source: Path, target: Path) -> None:
    """A copy with the times of its files, on the disk before it gets its name."""
    if source.is_file():
        shutil.copy2(source, target)
        return
    target.mkdir()
    for file in sorted(source.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_file():
            _refuse_foreign(file, source)
            shutil.copy2(file, target / file.name)
        elif file.name == _AVERAGED and (source / ATTENTION_FILE).is_file():
            _copy(file, target / file.name)
