"""An index of a library: what was read of every folder, so that it need not be read again.

It is a cache. A row counts only while sizes, times and numbers (inodes) of the files that it was
read from are the same, so a copied, older or foreign index tells nothing. Whatever is wrong with
it, the library is read without.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, get_type_hints

from promptport.cache import index_folder
from promptport.catalog.facts import Facts

INDEX_FILE = ".promptport-index.sqlite"
_MARK = 0x50_50_49_58  # application_id: "PPIX"
_VERSION = 1  # of the columns; another one is thrown away
_PATIENCE = 5.0  # seconds that another process may write
# What is wrong with the place and not with the file: it stays, and the next place is tried.
OF_THE_PLACE = frozenset(
    (
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY),
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM),
    )
)
_TYPES = tuple(get_type_hints(Facts).values())  # of the columns of facts
_COLUMNS = ("place", "own", "children", "files", "stamp", *Facts._fields)
_CREATE = f"CREATE TABLE things ({', '.join(_COLUMNS)}, PRIMARY KEY (place)) WITHOUT ROWID"
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM things"
_INSERT = f"INSERT OR REPLACE INTO things VALUES ({', '.join('?' * len(_COLUMNS))})"


class ForeignError(sqlite3.DatabaseError):
    """A database of another make or version."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class Row(NamedTuple):
    """A folder or file, and what was read of it.

    Attributes:
        own: stamp of the folder itself, which changes with the names of what is in it; of a file 0.
        children: names of the folders in it.
        files: names of its files from which anything is told.
        stamp: of these files.
        facts: None for a folder that holds nothing itself.
    """

    own: int
    children: tuple[str, ...]
    files: tuple[str, ...]
    stamp: int
    facts: Facts | None


class Index:
    """The index of one library.

    Args:
        library: folder of the library.
    """

    def __init__(self, library: Path) -> None:
        self._library = library

    def load(self) -> dict[str, Row]:
        """All rows by place, relative to the library; none without an index that can be used."""
        for file in database_places(self._library, INDEX_FILE):
            try:
                with contextlib.closing(connect_to(file, create=False)) as database:
                    if is_of(database, _MARK, _VERSION):
                        return dict(map(_row, database.execute(_SELECT)))
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OF_THE_PLACE:
                    throw_away(file)
            except (ValueError, TypeError):
                throw_away(file)
        return {}

    def save(self, rows: Mapping[str, Row], gone: Iterable[str]) -> bool:
        """Add rows, and remove those of places that are gone, all at once.

        Returns:
            Whether it could be written.
        """
        for file in database_places(self._library, INDEX_FILE):
            # A second try: what could not be read the first time is thrown away.
            for _ in range(2):
                try:
                    with contextlib.closing(connect_to(file, create=True)) as database:
                        _write(database, rows, gone)
                    return True
                except sqlite3.Error as error:
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_THE_PLACE:
                        break
                    throw_away(file)
        return False


def database_places(library: Path, name: str) -> Iterator[Path]:
    """In the library, or in the cache where the library cannot be written.

    Args:
        library: its folder.
        name: of the file in it; in the cache it has the hash of the library's path in front.
    """
    if os.access(library, os.W_OK):
        yield library / name
    own = hashlib.sha256(os.fsencode(library.resolve())).hexdigest()[:32]
    tail = "" if name == INDEX_FILE else name.removeprefix(".promptport").removesuffix(".sqlite")
    yield index_folder() / f"{own}{tail}.sqlite"


def throw_away(file: Path) -> None:
    """Remove a database that is damaged, or of others."""
    with contextlib.suppress(OSError):
        file.unlink()


def connect_to(file: Path, *, create: bool) -> sqlite3.Connection:
    """Open a database.

    Args:
        file: it.
        create: make it, and its folder, if it is missing.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    if create:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
    mode = "rwc" if create else "rw"
    address = f"{file.absolute().as_uri()}?mode={mode}"
    database = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
    # A file of others: what its views and triggers would call is not called.
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def is_of(database: sqlite3.Connection, mark: int, version: int) -> bool:
    """Whether a database is one of this kind and version, or else new and empty.

    Args:
        database: an open one.
        mark: `application_id` of the kind.
        version: `user_version` of it.

    Raises:
        ForeignError: it is neither.
        sqlite3.Error: it cannot be read.
    """
    marks = [
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version")
    ]
    if marks == [mark, version]:
        return True
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ForeignError("a file of another kind")
    return False


def _row(values: tuple[object, ...]) -> tuple[str, Row]:
    place, own, children, files, stamp, *facts = values
    if not (isinstance(place, str) and isinstance(own, int) and isinstance(stamp, int)):
        raise TypeError("a row of another kind")
    known = None
    if facts[0] is not None:
        known = Facts._make(facts)
        if not all(isinstance(each, kind) for each, kind in zip(known, _TYPES, strict=True)):
            raise TypeError("facts of another kind")
    return place, Row(own, _names(children), _names(files), stamp, known)


@lru_cache(maxsize=256)
def _names(text: object) -> tuple[str, ...]:
    return tuple(str(text).split("/")) if text else ()


def _write(database: sqlite3.Connection, rows: Mapping[str, Row], gone: Iterable[str]) -> None:
    """One transaction: another process sees all of it or nothing, and so does the next run."""
    database.execute("BEGIN IMMEDIATE")
    if not is_of(database, _MARK, _VERSION):
        database.execute(_CREATE)
        database.execute(f"PRAGMA application_id = {_MARK}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    for place, row in rows.items():
        facts = row.facts or (None,) * len(Facts._fields)
        names = "/".join(row.children), "/".join(row.files)
        # Names that are no text, and numbers that SQLite has not: read each time.
        with contextlib.suppress(UnicodeEncodeError, OverflowError):
            database.execute(_INSERT, (place, row.own, *names, row.stamp, *facts))
    database.executemany("DELETE FROM things WHERE place = ?", ((place,) for place in gone))
    database.execute("COMMIT")
