"""The cache: where it lies, what goes when it is full, and that nobody loses what is in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptport import cache
from promptport.errors import PromptPortError


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("PROMPTPORT_CACHE_GB", raising=False)


def entry(name, size, used):
    """An entry with one file of a size, last used at a time."""
    place = cache.model_entry(name)
    (place / "model").mkdir(parents=True)
    (place / "model" / "weights").write_bytes(bytes(size))
    cache.describe_entry(place, {"what": name})
    cache.mark_used(place)
    os.utime(place / "used", (used, used))
    return place


def names():
    return [found.what for found in cache.cache_entries()]


def test_folder(monkeypatch, tmp_path):
    assert cache.cache_folder() == tmp_path / "kept"
    monkeypatch.delenv("PROMPTPORT_CACHE")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "promptport"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "promptport"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache.cache_folder() == Path.home() / "Library" / "Caches" / "promptport"


def test_limit(monkeypatch):
    assert cache.cache_limit() == 20_000_000_000
    monkeypatch.setenv("PROMPTPORT_CACHE_GB", "0.5")
    assert cache.cache_limit() == 500_000_000
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv("PROMPTPORT_CACHE_GB", wrong)
        with pytest.raises(PromptPortError, match="PROMPTPORT_CACHE_GB: expected gigabytes"):
            cache.cache_limit()


def test_entries_are_listed_last_used_first():
    entry("a", 10, 100)
    entry("b", 20, 300)
    words = cache.cache_folder() / "words"
    words.mkdir()
    (words / "x.json").write_text("{}")
    os.utime(words / "x.json", (200, 200))
    assert names() == ["b", "words of tokenizers (1)", "a"]
    assert cache.cache_entries()[1].size == 2


def test_the_least_recently_used_goes_first(monkeypatch):
    entry("old", 3000, 100)
    entry("older", 3000, 50)
    keep = entry("new", 3000, 200)
    monkeypatch.setenv("PROMPTPORT_CACHE_GB", "0.0000065")
    assert [gone.what for gone in cache.trim_cache(keep)] == ["older"]
    assert names() == ["new", "old"]
    monkeypatch.setenv("PROMPTPORT_CACHE_GB", "0")
    assert [gone.what for gone in cache.trim_cache(keep)] == ["old"]
    assert names() == ["new"]


def test_what_is_in_use_stays(monkeypatch):
    used, other = entry("used", 3000, 50), entry("other", 3000, 100)
    monkeypatch.setenv("PROMPTPORT_CACHE_GB", "0")
    with cache.in_use(used):
        assert [gone.what for gone in cache.trim_cache(cache.model_entry("new"))] == ["other"]
        assert not other.exists()
        assert cache.clear_cache() == []
    assert [gone.what for gone in cache.clear_cache()] == ["used"]
    assert names() == []
    assert [file.name for file in used.parent.iterdir() if not file.name.endswith("making")] == []


def test_what_is_being_made_stays():
    place = entry("a", 10, 100)
    with cache.being_made(place):
        assert cache.clear_cache() == []
    assert place.exists()


def test_an_unfinished_entry_is_shown_and_cleared():
    (cache.model_entry("abc") / "front").mkdir(parents=True)
    assert names() == ["abc (unfinished)"]
    assert len(cache.clear_cache()) == 1


def test_fetched_files_are_shown_and_cleared():
    folder = cache.fetched_folder()
    folder.mkdir(parents=True)
    (folder / "small.gguf").write_bytes(bytes(7))
    os.utime(folder / "small.gguf", (100, 100))
    (folder / ".small.gguf.part").write_bytes(bytes(9))
    entry("a", 10, 200)
    assert names() == ["a", "small.gguf, fetched"]
    assert cache.cache_entries()[1].size == 7
    assert cache.trim_cache(cache.model_entry("a")) == []
    assert [gone.what for gone in cache.clear_cache()] == ["a", "small.gguf, fetched"]
    assert not (folder / "small.gguf").exists()


def test_without_a_home_nothing_can_be_kept(monkeypatch) -> None:
    from pathlib import Path

    from promptport.cache import cache_folder

    def nobody() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PROMPTPORT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder().parts[:2] == Path("/dev/null").parts[:2]
    assert not cache_folder().exists()


def test_locks_of_what_is_gone_are_removed(monkeypatch, tmp_path) -> None:
    from promptport.cache import being_made, clear_cache

    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    place = tmp_path / "gguf" / "key"
    with being_made(place):
        clear_cache()
        assert len(list(place.parent.iterdir())) == 2, "both are held"
    clear_cache()
    assert list(place.parent.iterdir()) == []
