"""The index is a cache: it changes no result, and nothing that happens to it matters."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest
from tests.unit.catalog.conftest import made

from promptport import Catalog
from promptport.cache import cache_entries, index_folder
from promptport.catalog import changing, facts, walking
from promptport.catalog.index import INDEX_FILE
from promptport.errors import FileFormatError
from promptport.storage import save_prompt


def told(place, *, index):
    """All that a catalog tells."""
    catalog = Catalog.open(place, index=index)
    entries = [entry.details() for entry in (*catalog.entries, *catalog.damaged)]
    return entries, catalog.notes, catalog.backbones


@pytest.fixture
def reads(monkeypatch):
    """Folders whose files are read."""
    read = []
    real = facts.read_folder_facts
    monkeypatch.setattr(
        walking, "read_folder_facts", lambda folder: read.append(folder.name) or real(folder)
    )
    return read


def test_a_folder_is_read_again_if_its_files_change(library, reads, settled) -> None:
    first = told(library, index=True)
    assert reads == ["a", "c", "b.prompt"]
    reads.clear()
    assert told(library, index=True) == first
    assert reads == []
    weights = library / "a/adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-4] + b"abcd")  # in place, as many bytes
    assert told(library, index=True) == first, "a header tells nothing of values"
    assert reads == ["a"]
    reads.clear()
    save_prompt(made(9, task="new"), library / "c")
    changing.tag("a", library, add=["good"])
    (entries, _, _) = told(library, index=True)
    assert sorted(set(reads)) == ["a", "c"]
    assert [(e["task"], e["tags"]) for e in entries] == [
        ("topic", ["good"]),
        ("new", []),
        ("emotion + topic", []),
    ]
    shutil.rmtree(library / "deep")
    assert [e["name"] for e in told(library, index=True)[0]] == ["a", "c"]


def test_what_was_written_just_now_is_read_again(library, reads) -> None:
    told(library, index=True)
    reads.clear()
    told(library, index=True)
    assert reads == ["a", "c", "b.prompt"], "its time need not change if it is written again"


@pytest.mark.parametrize("seed", range(4))
def test_no_history_of_a_library_is_told_otherwise_by_the_index(library, seed, settled) -> None:
    # `settled` makes it harder: rows are trusted though files change within the same moment.
    chance = random.Random(seed)
    for step in range(25):
        name = chance.choice(["a", "c", "d", "deep/er/b.prompt", "deep/x"])
        folder = library / name
        act = chance.choice(["save", "damage", "tag", "remove", "link", "portable"])
        if act == "save":
            if not folder.is_symlink():
                save_prompt(made(step, task=chance.choice(["topic", "x"])), folder)
        elif act == "remove":
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder, ignore_errors=True)
        elif act == "damage" and folder.is_dir():
            file = chance.choice(sorted(folder.iterdir()))
            file.write_bytes(file.read_bytes()[: chance.choice([0, 5, -1])])
        elif act == "tag" and folder.is_dir():
            (folder / "tags.json").write_text(
                chance.choice(['{"schema": 1, "tags": ["t"]}', "{", '{"schema": 1, "tags": [""]}'])
            )
        elif act == "link" and not os.path.lexists(folder) and folder.parent.is_dir():
            folder.symlink_to(library / "a")
        elif act == "portable":
            (library / "p.portable").write_bytes(bytes([chance.randrange(256)]))
        if not (library / "a").exists():
            save_prompt(made(step), library / "a")
        assert told(library, index=True) == told(library, index=False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"no database"),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:5000]),
        lambda file: file.write_bytes(file.read_bytes()[:100] + b"\xff" * 9000),
        lambda file: foreign(file, "CREATE TABLE things (a)"),
        lambda file: foreign(file, "PRAGMA application_id = 7"),
        lambda file: changed(file, "PRAGMA user_version = 99"),
        lambda file: changed(file, "DROP TABLE things"),
        lambda file: changed(file, "UPDATE things SET own = 'x'"),
        lambda file: changed(file, "UPDATE things SET more = NULL, kind = 3"),
        lambda file: changed(file, "UPDATE things SET written = 'x'"),
        lambda file: changed(file, "UPDATE things SET length = 'q' WHERE kind IS NOT NULL"),
        lambda file: changed(file, "UPDATE things SET task = 5 WHERE kind IS NOT NULL"),
    ],
)
def test_an_index_that_is_damaged_or_foreign_is_made_again(library, settled, reads, spoil) -> None:
    first = told(library, index=False)
    told(library, index=True)
    spoil(library / INDEX_FILE)
    assert told(library, index=True) == first
    told(library, index=True)
    reads.clear()
    assert told(library, index=True) == first
    assert reads == []


def foreign(file, statement):
    file.unlink()
    changed(file, statement)


def changed(file, statement):
    database = sqlite3.connect(file)
    database.execute(statement)
    database.commit()
    database.close()


def test_an_index_that_came_with_a_copy_tells_nothing(library, settled, tmp_path, reads) -> None:
    told(library, index=True)
    shutil.copytree(library, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/c")
    save_prompt(made(8, task="other"), tmp_path / "copy/c")
    reads.clear()
    entries, _, _ = told(tmp_path / "copy", index=True)
    assert len(reads) == 3
    assert entries[1]["task"] == "other"


def test_a_library_that_cannot_be_written_is_indexed_in_the_cache(
    library, settled, reads, monkeypatch
) -> None:
    (library / INDEX_FILE).mkdir()  # nothing can be written there
    for _ in range(2):
        told(library, index=True)
    assert reads == ["a", "c", "b.prompt"]
    assert list(index_folder().glob("*.sqlite"))
    assert any(entry.what.startswith("indexes of libraries") for entry in cache_entries())
    monkeypatch.setenv("PROMPTPORT_CACHE", "/dev/null/nowhere")
    assert told(library, index=True) == told(library, index=False)


def test_a_single_prompt_gets_no_index(library) -> None:
    told(library / "a", index=True)
    assert not (library / "a" / INDEX_FILE).exists()


def test_an_index_that_another_process_is_writing_costs_no_result(
    library, settled, monkeypatch
) -> None:
    first = told(library, index=True)
    monkeypatch.setattr("promptport.catalog.index._PATIENCE", 0.05)
    database = sqlite3.connect(library / INDEX_FILE, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        assert told(library, index=True) == first
    finally:
        database.close()


@pytest.mark.long
def test_processes_that_list_and_change_at_once_see_whole_prompts(library) -> None:
    code = (
        "import sys\n"
        "from promptport.catalog import Catalog, changing\n"
        "name, place = sys.argv[1:]\n"
        "for i in range(12):\n"
        "    changing.tag('a', place, add=[f'{name}{i}'])\n"
        "    changing.remove(name, place)\n"
        "    assert not Catalog.open(place).damaged\n"
        "    changing.restore(name, place)\n"
    )
    shutil.copytree(library / "a", library / "d")
    running = [
        subprocess.Popen([sys.executable, "-c", code, name, str(library)]) for name in ("c", "d")
    ]
    while any(process.poll() is None for process in running):
        catalog = Catalog.open(library)
        assert not catalog.damaged, catalog.damaged[0].problem
        assert {"a", "b"} <= {entry.name for entry in catalog.entries}
    assert [process.returncode for process in running] == [0, 0]
    catalog = Catalog.open(library)
    assert [entry.name for entry in catalog.entries] == ["a", "c", "d", "b"]
    assert set(catalog.show("a").tags) == {f"{name}{i}" for name in "cd" for i in range(12)}


@pytest.mark.parametrize("text", ["'{'", "'[]'", "'3'"])
def test_records_of_a_forged_index_are_one_line(library, settled, text) -> None:
    told(library, index=True)
    changed(library / INDEX_FILE, f"UPDATE things SET more = {text} WHERE kind IS NOT NULL")
    with pytest.raises(FileFormatError, match=r"Delete .promptport-index.sqlite in the library"):
        _ = Catalog.open(library).show("a").template
