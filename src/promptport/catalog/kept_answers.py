"""What was computed of the prompts of a library, beside its index: answers, nearest words.

It is a cache: every row is named by what it was computed of (checksum of the values, fingerprint of
the model, what was asked), so a row that is there is right, and one that is gone is computed anew.
Whatever is wrong with the file, the library is searched without.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from promptport.catalog.entry import CatalogEntry
from promptport.catalog.index import OF_THE_PLACE, connect_to, database_places, is_of, throw_away
from promptport.catalog.layout import MARKS

ANSWERS_FILE = ".promptport-answers.sqlite"
_MARK = 0x50_50_41_4E  # application_id: "PPAN"
_VERSION = 1
_MOST_BYTES = 1_000_000_000
_AT_ONCE = 500  # keys of a query; SQLite takes 999 in old versions
_CREATE = """CREATE TABLE kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, value BLOB NOT NULL)"""
_PUT = "INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)"
# The latest rows that fit; of the rest, what is below the first of them.
_TRIM = """DELETE FROM kept WHERE number <= (
    SELECT max(number) FROM (
        SELECT number, sum(length(value)) OVER (ORDER BY number DESC) AS total FROM kept)
    WHERE total > ?)"""


class KeptAnswers:
    """What is kept for one library.

    Args:
        library: its folder.
        most_bytes: what all values may take; the oldest go first.
    """

    def __init__(self, library: Path, most_bytes: int = _MOST_BYTES) -> None:
        self._library, self._most = library, most_bytes

    def get(self, names: Iterable[str]) -> dict[str, bytes]:
        """Values by name; names of which nothing is kept are left out."""
        wanted = list(dict.fromkeys(names))
        for file in database_places(self._library, ANSWERS_FILE):
            try:
                with contextlib.closing(connect_to(file, create=False)) as database:
                    if is_of(database, _MARK, _VERSION):
                        return _select(database, wanted)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in OF_THE_PLACE:
                    throw_away(file)
            except TypeError:
                throw_away(file)
        return {}

    def put(self, values: Mapping[str, bytes]) -> bool:
        """Keep values by name, all at once.

        Returns:
            Whether they could be written.
        """
        for file in database_places(self._library, ANSWERS_FILE) if values else ():
            for _ in range(2):  # what could not be read the first time is thrown away
                try:
                    with contextlib.closing(connect_to(file, create=True)) as database:
                        self._write(database, values)
                    return True
                except sqlite3.Error as error:
                    if getattr(error, "sqlite_errorcode", 0) & 0xFF in OF_THE_PLACE:
                        break
                    throw_away(file)
        return False

    def _write(self, database: sqlite3.Connection, values: Mapping[str, bytes]) -> None:
        database.execute("BEGIN IMMEDIATE")
        if not is_of(database, _MARK, _VERSION):
            database.execute(_CREATE)
            database.execute(f"PRAGMA application_id = {_MARK}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        database.executemany(_PUT, values.items())
        database.execute(_TRIM, (self._most,))
        database.execute("COMMIT")


def _select(database: sqlite3.Connection, names: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        for name, value in database.execute(
            f"SELECT name, value FROM kept WHERE name IN ({marks})", some
        ):
            if not isinstance(value, bytes):
                raise TypeError("a value of another kind")
            found[name] = value
    return found


def stores_of(
    places: Sequence[Path], entries: Iterable[CatalogEntry]
) -> list[tuple[KeptAnswers, list[str]]]:
    """Where something is kept for entries of a library: beside the index of their place.

    Args:
        places: of the library. For a prompt that is a place itself nothing is kept.
        entries: of it.

    Returns:
        Each store with the names of its entries.
    """
    groups: dict[Path, list[str]] = {}
    for entry in entries:
        place = next((place for place in places if entry.folder.is_relative_to(place)), None)
        if place is not None:
            groups.setdefault(place, []).append(entry.name)
    return [
        (KeptAnswers(place), names)
        for place, names in groups.items()
        if place.is_dir() and not any((place / mark).is_file() for mark in MARKS)
    ]
