"""A folder in the place of another one: old or new, whoever looks and whatever fails."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from promptport import replacing
from promptport.errors import StorageError
from promptport.files import atomic_folder

OLD = {"a": "old", "b": "old", "kept": "mine", "sub/kept": "mine"}
at_once = pytest.mark.skipif(sys.platform == "win32", reason="no such step there")


def write(place, files) -> None:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def read(place) -> dict[str, str]:
    return {p.relative_to(place).as_posix(): p.read_text() for p in place.rglob("*") if p.is_file()}


@pytest.fixture
def target(tmp_path):
    place = tmp_path / "target"
    write(place, OLD)
    return place


@pytest.fixture(params=["at once", "one by one"])
def way(request, monkeypatch):
    if request.param == "one by one":
        monkeypatch.setattr(replacing, "_swap", lambda one, other: False)
    return request.param


def save(target, stale=("b", "missing")) -> None:
    with atomic_folder(target, stale) as staging:
        write(staging, {"a": "new", "c": "new"})


def test_files_are_replaced_and_others_stay(target, tmp_path, way) -> None:
    os.chmod(target, 0o750)
    save(target)
    assert read(target) == {"a": "new", "c": "new", "kept": "mine", "sub/kept": "mine"}
    assert target.stat().st_mode & 0o777 == 0o750
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_a_kept_file_is_the_same_file(target, way) -> None:
    before = (target / "kept").stat().st_ino
    save(target)
    assert (target / "kept").stat().st_ino == before
    assert (target / "kept").stat().st_nlink == 1


@at_once
def test_whoever_looks_sees_old_or_new(target, monkeypatch) -> None:
    # What was replaced is looked at too, by whoever opened the folder before: it stays as it was.
    monkeypatch.setattr("promptport.scratch.shutil.rmtree", lambda *_args, **_options: None)
    done, seen = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            handle = os.open(target, os.O_RDONLY)  # one look at one folder
            try:
                names = set(os.listdir(handle))
            finally:
                os.close(handle)
            seen.append(("a" in names, "b" in names, "c" in names))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(50):
        save(target)
        with atomic_folder(target, ("c",)) as staging:
            write(staging, {"a": "old", "b": "old"})
    done.set()
    thread.join()
    assert set(seen) <= {(True, True, False), (True, False, True)}
    assert len(seen) > 10


def test_a_failure_leaves_what_was_there(target, tmp_path, way, monkeypatch) -> None:
    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacing.os, "link", fail)
    monkeypatch.setattr(replacing.os, "replace", fail)
    with pytest.raises(StorageError, match="No space left"):
        save(target)
    assert read(target) == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("step", range(1, 7))
def test_an_interruption_between_two_files_brings_all_back(
    target, tmp_path, monkeypatch, step
) -> None:
    monkeypatch.setattr(replacing, "_swap", lambda one, other: False)
    replace, calls = os.replace, []

    def stop(source, place) -> None:
        calls.append(source)
        if len(calls) == step:
            raise KeyboardInterrupt
        replace(source, place)

    monkeypatch.setattr(replacing.os, "replace", stop)
    if step <= 4:
        with pytest.raises(KeyboardInterrupt):
            save(target)
        assert read(target) == OLD
    else:
        save(target)
        assert len(calls) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["target"]


def test_no_hard_links_here(target, monkeypatch) -> None:
    def fail(*_args, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(replacing.os, "link", fail)
    save(target)
    assert read(target) == {"a": "new", "c": "new", "kept": "mine", "sub/kept": "mine"}


def test_the_folder_that_one_stands_in_stays(target, monkeypatch) -> None:
    monkeypatch.chdir(target)
    save(target)
    assert sorted(os.listdir(".")) == ["a", "c", "kept", "sub"]


def test_a_link_to_a_folder_stays_one(target, tmp_path) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(target)
    save(link)
    assert link.is_symlink()
    assert read(target)["a"] == "new"
    assert os.listdir(link.parent) == ["link"]


def test_another_process_is_quicker(tmp_path, monkeypatch) -> None:
    target = tmp_path / "target"
    with atomic_folder(target) as staging:
        write(staging, {"a": "new"})
        write(target, {"a": "old", "theirs": "x"})
    assert read(target) == {"a": "new", "theirs": "x"}
