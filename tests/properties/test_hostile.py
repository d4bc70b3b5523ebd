"""Files that try: nothing of them runs, and what lies outside of their folder stays there."""

from __future__ import annotations

import pickle
from itertools import groupby
from pathlib import Path

import pytest

pytest.importorskip("fastapi")  # the seeds are those of all readers

from benchmarks.trust import hostile
from benchmarks.trust.hostile import FAULTS, path_readers, read_all
from benchmarks.trust.hostile_checks import card_faults, page_faults, printed_commands
from benchmarks.trust.hostile_files import Hostile, all_hostile
from benchmarks.trust.readers import make_seeds
from benchmarks.trust.watching import SECRET

ALL = all_hostile()
KINDS = ["pickle", "code", "yaml", "chat", "format", "markup", "link", "path", "name"]
# Two of each kind, unlike each other, in the quick run.
QUICK = [
    own[place]
    for _, some in groupby(ALL, key=lambda each: each.kind)
    for own in [list(some)]
    for place in (0, len(own) // 2)
]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    place = tmp_path_factory.mktemp("hostile") / "seeds"
    make_seeds(place)
    return place


@pytest.fixture(scope="module")
def readers():
    return path_readers()


def test_all_kinds_are_there() -> None:
    assert list(dict.fromkeys(each.kind for each in ALL)) == KINDS
    assert len({(each.kind, each.name) for each in ALL}) == len(ALL) > 300


@pytest.mark.long
def test_careless_readers_are_found_out(seeds, tmp_path) -> None:
    """Without this, zero faults would say nothing."""
    bad = next(each for each in ALL if "bare tensor, plain, .bin" in each.name)
    careless = {
        "unpickles": lambda place, out: pickle.loads(place.read_bytes()),
        "looks outside": lambda place, out: (tmp_path / "w/outside/secret.txt").read_text(),
        "writes outside": lambda place, out: (tmp_path / "w/outside/new").write_text("x"),
        "fails": lambda place, out: [][0],
        "reads": lambda place, out: None,
        "takes along": lambda place, out: (out / "copy").write_text(SECRET),
    }
    refusing = Hostile(bad.kind, bad.name, bad.make, ("reads",))
    found = read_all(refusing, seeds, tmp_path / "w", careless)
    assert {name: each.what for name, each in found.items()} == {
        "unpickles": "executed",
        "looks outside": "reached",
        "writes outside": "reached",
        "fails": "traceback",
        "reads": "not refused",
        "takes along": "reached",
    }


def test_a_careless_card_or_page_is_found_out() -> None:
    card = "---\na: 1\n---\n# x\n## a\n## b\n## c\n## d\n\n"
    assert card_faults(card) == []
    assert card_faults(card + "<b>x</b>\n") == ["HTML: '<b>x</b>\\n'"]
    assert card_faults(card + "`<b>x</b>`\n") == []
    assert card_faults(card + "```python\nimport os\n```\n") == ["Python that imports os"]
    assert card_faults(card + "[x](y) \x1b\n") == ["a link", "a control character: '\\x1b'"]
    assert page_faults("<p onclick='x'>&lt;script&gt;</p>") == ["onclick of <p>"]
    assert page_faults("<script>1</script>") == ["<script>"]
    assert printed_commands("Go on:\n  promptport eval P\nor (promptport x") == [
        "promptport eval P",
        "promptport x",
    ]


@pytest.mark.long
@pytest.mark.parametrize("bad", QUICK, ids=lambda bad: f"{bad.kind}, {bad.name!a}")
def test_nothing_of_a_hostile_file_runs(bad, seeds, readers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hostile, "command_lines", lambda place, out: [["inspect", str(place)]])
    _check(bad, seeds, readers, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_any_hostile_file_runs(kind, seeds, readers, tmp_path) -> None:
    own = [each for each in ALL if each.kind == kind]
    # Names are many and slow: every third with each commit, all of them in the benchmark.
    for number, bad in enumerate(own[:: 3 if kind == "name" else 1]):
        _check(bad, seeds, readers, tmp_path / str(number))


def _check(bad: Hostile, seeds: Path, readers, work: Path) -> None:
    found = read_all(bad, seeds, work / "work", readers)
    faults = {name: each for name, each in found.items() if each.what in FAULTS}
    assert faults == {}, f"{bad.kind}, {bad.name}"
    for name in bad.refused:
        assert found[name].what == "refused"
