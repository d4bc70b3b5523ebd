"""What is kept beside an index: found by name, the oldest first to go, no harm when damaged."""

from __future__ import annotations

import os
import sqlite3

import pytest

from promptport import Catalog
from promptport.catalog.kept_answers import ANSWERS_FILE, KeptAnswers, stores_of


def test_values_come_back_by_name(tmp_path) -> None:
    store = KeptAnswers(tmp_path)
    assert store.get(["a"]) == {}
    assert store.put({"a": b"1", "b": b"2"})
    assert store.put({"b": b"3"})
    assert store.get(["b", "a", "c", "a"]) == {"a": b"1", "b": b"3"}
    many = {f"n{i}": bytes([i % 256]) for i in range(1200)}
    store.put(many)
    assert store.get(many) == many
    assert not store.put({}), "nothing to write"


def test_the_oldest_go_first(tmp_path) -> None:
    store = KeptAnswers(tmp_path, most_bytes=25)
    for name in "abcd":
        store.put({name: b"x" * 10})
    assert set(store.get("abcd")) == {"c", "d"}
    store.put({"e": b"x" * 30})
    assert store.get("abcde") == {}, "one that is too large is not kept, nor what is older"


@pytest.mark.parametrize("damage", ["bytes", "another", "version", "cut", "column"])
def test_a_file_that_is_wrong_is_thrown_away(tmp_path, damage) -> None:
    store, file = KeptAnswers(tmp_path), tmp_path / ANSWERS_FILE
    store.put({"a": b"1" * 9000})
    if damage == "bytes":
        file.write_bytes(b"no database" * 99)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        with sqlite3.connect(file) as database:
            if damage == "another":
                database.execute("PRAGMA application_id = 7")
            elif damage == "version":
                database.execute("PRAGMA user_version = 99")
            else:
                database.execute("UPDATE kept SET value = 'text'")
    assert store.get(["a"]) == {}
    assert store.put({"b": b"2"})
    assert store.get(["a", "b"]) == {"b": b"2"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_library_that_cannot_be_written_has_it_in_the_cache(tmp_path) -> None:
    tmp_path.chmod(0o500)
    assert KeptAnswers(tmp_path).put({"a": b"1"})
    assert KeptAnswers(tmp_path).get(["a"]) == {"a": b"1"}
    tmp_path.chmod(0o700)


def test_where_answers_are_kept(library) -> None:
    catalog = Catalog.open([library / "deep", library / "a", library])
    stores = {store._library: names for store, names in stores_of(catalog.places, catalog.entries)}
    assert stores == {library / "deep": ["b"], library: ["c"]}, (
        "nothing among the files of a prompt"
    )
