"""Full disks, folders that cannot be written, no home, wrong clocks, two commands at once.

Each ends in success or in one clear line, and never in a half-written output. Commands run in
children of this process (`benchmarks.trust.forking`).
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("gguf")

from benchmarks.trust.forking import Ended, Kill, run_command
from benchmarks.trust.kills import kill_all
from benchmarks.trust.traces import Tree, not_whole, tree_of
from benchmarks.trust.writers import make_models, make_place

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs fork")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    make_models(place)
    return place


@pytest.fixture(scope="module")
def base(models, tmp_path_factory):
    place = tmp_path_factory.mktemp("hard") / "base"
    make_place(place, models)
    return place


@pytest.fixture
def place(base, tmp_path):
    shutil.copytree(base, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def transfer(models) -> tuple[str, ...]:
    options = ("--to", str(models / "roberta"), "--no-check", "--out", "Q")
    return ("transfer", "in/capital", *options)


def one_line(ended: Ended) -> str:
    """The one line of an error."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert ended.code == 1, ended
    assert len(lines) == 1, ended.err
    assert ended.err.rstrip().endswith(lines[0]), ended.err
    assert "Traceback" not in ended.err
    return lines[0]


def refusing(change: int, number: int):
    """Let the n-th change of the disk and all after it fail."""

    def prepare() -> None:
        counted = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal counted
            writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3
            if writing and arguments[0] != "/dev/null":
                counted += 1
                if counted >= change:
                    raise OSError(number, os.strerror(number), arguments[0])

        sys.addaudithook(hook)

    return prepare


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_at_any_file(place, transfer, number) -> None:
    older = run_command((*transfer, "--magnitude", "paper"), place)
    assert older.code == 0, older.err
    before = tree_of(place)
    for change in (1, 2, 3, 4, 99):  # four files are written
        ended = run_command(transfer, place, prepare=refusing(change, number))
        if ended.code == 0:
            break
        line = one_line(ended)
        assert os.strerror(number) in line
        assert tree_of(place) == before, f"file {change}"
    assert change == 99
    assert tree_of(place) != before


def kept(tree: Tree) -> Tree:
    """What is no cache."""
    own = ("cache", "tmp", "lib/.promptport-index")
    return {name: digest for name, digest in tree.items() if not name.startswith(own)}


@pytest.mark.parametrize(
    "command",
    [
        ("library", "tag", "film", "lib", "--add", "x"),
        ("library", "remove", "film", "lib"),
        ("library", "dedupe", "lib", "--remove"),
        ("export", "in/film", "--to", "portable", "--out", "film.portable"),
    ],
    ids=" ".join,
)
def test_a_full_disk_from_the_start(place, command) -> None:
    before = tree_of(place)
    run_command(("library", "list", "lib"), place)  # its index is there
    line = one_line(run_command(command, place, prepare=refusing(1, errno.ENOSPC)))
    assert "No space left on device" in line
    assert kept(tree_of(place)) == kept(before)
    assert run_command(command, place).code == 0


def limited(size: int):
    """Let no file grow larger, those of messages included."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("command", "size"),
    [
        (("library", "add", "in/vector", "lib"), 300),
        (("export", "in/film", "--to", "portable", "--out", "film.portable"), 300),
        (("export", "in/gguf-film", "--to", "gguf", "--out", "film.gguf"), 3000),
        (("export", "in/gguf-film", "--to", "llama.cpp-embd", "--out", "E"), 300),
        (("vector", "make", "in/film", "--out", "V"), 300),
        (("tasks", "init", "in/table.csv", "--out", "made"), 300),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_files_that_cannot_grow(place, command, size) -> None:
    before = tree_of(place)
    line = one_line(run_command(command, place, prepare=limited(size)))
    assert "File too large" in line
    assert kept(tree_of(place)) == kept(before)
    assert run_command(command, place).code == 0


def test_a_model_that_does_not_fit_into_the_cache(place, models) -> None:
    shutil.rmtree(place / "cache")
    command = ("predict", "in/gguf-film", "a great film", "--task", "in/films.yaml")
    line = one_line(run_command(command, place, prepare=limited(20_000)))
    assert "PROMPTPORT_CACHE" in line
    assert not list((place / "cache").rglob("model"))
    assert run_command(command, place).code == 0


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None,
    reason="a small disk has to be mounted",
)
@pytest.mark.parametrize("kilobytes", [4, 12, 20])
def test_a_small_disk(place, transfer, kilobytes) -> None:
    disk = place / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(disk)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this machine mounts nothing")
    try:
        line = one_line(run_command((*transfer[:-1], "disk/Q"), place))
        assert "No space left on device" in line
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def nobody_at_home() -> None:
    """No HOME, and a user that the system does not know."""
    import pwd

    for name in ("HOME", "XDG_CACHE_HOME", "PROMPTPORT_CACHE"):
        os.environ.pop(name, None)

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    pwd.getpwuid = unknown


def test_no_home(place, transfer, models) -> None:
    assert run_command(transfer, place, prepare=nobody_at_home).code == 0
    tuned = run_command(
        ("tune", "--backbone", str(models / "bert"), "--task", "in/films.yaml", "--epochs", "1",
         "--out", "P"),
        place, prepare=nobody_at_home,
    )  # fmt: skip
    assert tuned.code == 0, tuned.err
    listed = run_command(("library", "list", "lib"), place, prepare=nobody_at_home)
    assert listed.code == 0, listed.err
    command = ("predict", "in/gguf-film", "a great film", "--task", "in/films.yaml")
    line = one_line(run_command(command, place, prepare=nobody_at_home))
    assert "Set PROMPTPORT_CACHE" in line


@pytest.mark.parametrize("cache", ["in/capitals.yaml", "/proc/nothing", "/dev/null/x"])
def test_a_cache_that_cannot_be_written(place, transfer, cache) -> None:
    def prepare() -> None:
        os.environ["PROMPTPORT_CACHE"] = cache

    ended = run_command(transfer, place, prepare=prepare)
    assert ended.code == 0, ended.err
    assert run_command(("library", "list", "lib"), place, prepare=prepare).code == 0
    command = ("predict", "in/gguf-film", "a great film", "--task", "in/films.yaml")
    assert "PROMPTPORT_CACHE" in one_line(run_command(command, place, prepare=prepare))


@pytest.mark.parametrize("seconds", [4e9, 1.0], ids=["far ahead", "1970"])
def test_times_of_files_mean_nothing(place, transfer, models, seconds) -> None:
    for path in [*place.rglob("*"), *models.rglob("*")]:
        os.utime(path, (seconds, seconds))
    assert run_command(transfer, place).code == 0
    listed = run_command(("library", "list", "lib", "--json"), place)
    assert listed.code == 0, listed.err
    assert run_command(("library", "tag", "film", "lib", "--add", "late"), place).code == 0
    again = run_command(("library", "list", "lib", "--json"), place)
    assert "late" in again.out
    assert "late" not in listed.out
    assert run_command(("library", "dedupe", "lib", "--remove"), place).code == 0
    assert run_command(("cache", "clear"), place).code == 0


def test_a_full_standard_output(place) -> None:
    def prepare() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    for command in (("inspect", "in/capital"), ("inspect", "in/capital", "--json")):
        line = one_line(run_command(command, place, prepare=prepare))
        assert "No space left on device" in line


def test_nobody_reads_the_output(place) -> None:
    def prepare() -> None:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)

    ended = run_command(("inspect", "in/capital", "--json"), place, prepare=prepare)
    assert (ended.code, ended.err) == (1, "")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (("tune", "--backbone", "BERT", "--task", "in/films.yaml", "--epochs", "2", "--out", "P"),
         "P"),
        (("transfer", "in/capital", "--to", "ROBERTA", "--no-check", "--out", "P"), "P"),
        (("move", "in/capital", "--to", "ROBERTA", "--task", "in/capitals.yaml", "--method",
          "answers", "--texts", "task", "--steps", "3", "--no-check", "--out", "P"), "P"),
        (("export", "in/gguf-film", "--to", "llama.cpp-embd", "--out", "P"), "P"),
        (("export", "in/gguf-film", "--to", "gguf", "--out", "P.gguf"), ""),
        (("library", "add", "in/vector", "lib"), "lib"),
        (("library", "remove", "film", "lib"), "lib"),
        (("library", "dedupe", "lib", "--remove"), "lib"),
        (("tasks", "init", "in/table.csv", "--out", "P"), "P"),
        (("cache", "clear"), ""),
        (("predict", "in/gguf-film", "a great film", "--task", "in/films.yaml"), ""),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)  # fmt: skip
@pytest.mark.parametrize("older", [False, True], ids=["new", "over"])
def test_the_same_command_twice_at_once(place, models, tmp_path, command, out, older) -> None:
    named = {"BERT": str(models / "bert"), "ROBERTA": str(models / "roberta")}
    words = tuple(named.get(word, word) for word in command)
    if command[0] == "predict":
        shutil.rmtree(place / "cache")
    if older and run_command(words, place).code:
        pytest.skip("it does not write over what is there")
    alone = tmp_path / "alone"
    shutil.copytree(place, alone)
    old = tree_of(place)
    single = run_command(words, alone)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run_command(words, place), range(2)))
    if single.code == 0:
        assert 0 in {ended.code for ended in both}, both
    for ended in both:
        if ended.code:
            one_line(ended)
    new, expected = tree_of(place), tree_of(alone)
    assert {k: v for k, v in new.items() if not k.startswith("cache")} == {
        k: v for k, v in expected.items() if not k.startswith("cache")
    }
    assert not_whole(place, old, expected, True, ()) == []
    assert not [name for name in new if name.endswith(".promptport-tmp")]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_what_is_told_to_end_cleans_up(place, transfer, number, code) -> None:
    before = tree_of(place)
    ended = run_command(transfer, place, Kill(number, change=6))
    assert ended.code == code, ended
    assert ended.err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in ended.err
    assert tree_of(place) == before


def test_what_ignores_hanging_up_goes_on(place, transfer) -> None:
    ended = run_command(
        transfer,
        place,
        Kill(signal.SIGHUP, change=6),
        lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert ended.code == 0, ended


def test_kills_at_every_stage_lose_nothing(tmp_path) -> None:
    began = time.monotonic()
    found = kill_all(Path(tmp_path), kills=500, seed=2, seconds=60.0)
    assert found.faults == {}
    assert found.counts["kills"] >= 5, f"{time.monotonic() - began:.0f} s"
