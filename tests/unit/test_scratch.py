"""Temporary files: gone after the block, and what a killed run left is gone after the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from promptport import scratch
from promptport.scratch import MARK, discard, scratch_file, scratch_folder, sweep

_HOLD = """
import sys, time
from pathlib import Path
from promptport.scratch import scratch_file, scratch_folder
place = Path(sys.argv[1])
with scratch_folder(place, "one") as folder, scratch_file(place / "two") as (stream, path):
    (folder / "part").write_text("x")
    stream.write(b"x")
    stream.flush()
    print("made", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def not_swept(monkeypatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(scratch, "_swept", set())


@pytest.fixture
def holder(tmp_path):
    """A process with a temporary folder and a temporary file in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "made\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_nothing_is_left_after_the_block(tmp_path) -> None:
    with scratch_folder(tmp_path, "a") as folder, scratch_file(tmp_path / "b") as (stream, path):
        stream.write(b"1")
        assert folder.is_dir()
        assert path.is_file()
        assert {p.name.endswith(MARK) for p in (folder, path)} == {True}
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_after_an_error(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path) as folder:
        (folder / "part").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_holds_stays(tmp_path, holder) -> None:
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, holder) -> None:
    mine = tmp_path / f"mine{MARK}"  # no dot in front: not ours
    mine.write_text("x")
    other = tmp_path / ".one.config"
    other.write_text("x")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert len(list(tmp_path.iterdir())) == 4
    with scratch_folder(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([mine, other, folder])
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])


def test_a_link_with_our_mark_is_not_followed(tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / f".link.0{MARK}").symlink_to(tmp_path / "kept")
    sweep(tmp_path)
    assert (tmp_path / "kept" / "file").read_text() == "x"


def test_a_folder_is_looked_at_once(tmp_path) -> None:
    sweep(tmp_path)
    (tmp_path / f".late.0{MARK}").write_text("x")
    sweep(tmp_path)
    assert (tmp_path / f".late.0{MARK}").exists()


def test_what_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch) -> None:
    lock, seen = scratch._lock, []

    def slow(handle: int, *, wait: bool) -> bool | None:
        if wait and not seen:  # another process is quicker once
            seen.extend(tmp_path.iterdir())
            seen[0].rmdir()
        return lock(handle, wait=wait)

    monkeypatch.setattr(scratch, "_lock", slow)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert folder != seen[0]


def test_no_locks_on_this_file_system(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(scratch, "_lock", lambda handle, *, wait: None)
    left = tmp_path / f".left.0{MARK}"
    left.write_text("x")
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == [left]


def test_discard(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    discard(tmp_path / "a")
    discard(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_time_in_the_future_means_nothing(tmp_path) -> None:
    left = tmp_path / f".left.0{MARK}"
    left.write_text("x")
    os.utime(left, (time.time() + 1e6,) * 2)
    sweep(tmp_path)
    assert not left.exists()
