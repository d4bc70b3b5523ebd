"""Adding, removing, restoring, tagging and removing equals: whole or not at all, and undoable."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.catalog.conftest import made

from promptport import Catalog, PromptPortError, load_prompt, save_prompt
from promptport.catalog import changing, trash
from promptport.errors import FileFormatError, StorageError, UnknownNameError
from promptport.library.verifying import add, verify
from promptport.storage import save_vector
from promptport.vector import TaskPromptVector


def names(place):
    return [entry.name for entry in Catalog.open(place).entries]


def tree(place):
    """Every file with what is in it, but for the lock, the index and the trash."""
    return {
        str(file.relative_to(place)): file.read_bytes()
        for file in sorted(place.rglob("*"))
        if file.is_file() and not str(file.relative_to(place)).startswith(".")
    }


def test_a_folder_is_copied_whole(library, tmp_path) -> None:
    source = save_prompt(made(7, task="new"), tmp_path / "mine")
    changing.write_tags(source, ["good"])
    (source / ".tuning-state.safetensors").write_bytes(b"x")
    copy = add(source, library)
    assert copy == library / "mine"
    assert load_prompt(copy) == load_prompt(source)
    assert not (copy / ".tuning-state.safetensors").exists()
    entry = Catalog.open(library).show("mine")
    assert (entry.tags, entry.written) == (("good",), Catalog.open(source).entries[0].written)
    assert add(source, tmp_path / "fresh" / "lib", "called").name == "called"
    assert names(tmp_path / "fresh/lib") == ["called"]


@pytest.mark.parametrize("name", ["tags.json", "notes.json"])
def test_a_linked_file_brings_nothing_in(library, tmp_path, name) -> None:
    source = save_prompt(made(7, task="new"), tmp_path / "mine")
    secret = tmp_path / "secret"
    secret.write_text("the key of another")
    (source / name).symlink_to(secret)
    before = tree(library)
    with pytest.raises(StorageError, match=f"{name}: expected a file in the folder .* a link to"):
        add(source, library)
    assert tree(library) == before


def test_what_cannot_be_added(library, tmp_path) -> None:
    source = save_prompt(made(7, task="new"), tmp_path / "mine")
    before = tree(library)
    for name in ("a", "b", "c"):
        with pytest.raises(PromptPortError, match=f"name: expected one that is free .*'{name}'"):
            add(source, library, name)
    for name in ("", ".x", "-x", "a/b", "..", "a\nb", "x" * 201, "\x1b[2J"):
        with pytest.raises(PromptPortError, match="name: expected 1 to 200 bytes"):
            add(source, library, name)
    with pytest.raises(StorageError, match="a folder outside of the library"):
        add(library / "a", library)
    with pytest.raises(StorageError, match="got no such folder"):
        add(tmp_path / "nowhere", library)
    with pytest.raises(StorageError, match="the folder of a library.*a prompt folder itself"):
        add(source, library / "a")
    weights = source / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")  # only values tell
    with pytest.raises(FileFormatError, match=f"{weights}: expected the values that were saved"):
        add(source, library)
    weights.write_bytes(b"")
    with pytest.raises(FileFormatError, match="an empty file"):
        changing.add_folder(source, library)
    assert tree(library) == before
    assert not list(library.glob(".adding*"))


def test_the_trash_gives_back_what_it_took(library) -> None:
    before = tree(library)
    removed, inside = changing.remove("b", library)
    assert (removed.place, inside) == ("deep/er/b.prompt", [])
    assert names(library) == ["a", "c"]
    (library / "deep/er").rmdir()
    assert changing.restore("b", library) == library / "deep/er/b.prompt"
    assert tree(library) == before
    assert trash.in_trash(library) == []
    with pytest.raises(StorageError, match="something that was removed, got an empty trash"):
        changing.restore("b", library)
    changing.remove("a", library)
    with pytest.raises(UnknownNameError, match="trash: expected one of a, got 'b'"):
        changing.restore("b", library)
    with pytest.raises(UnknownNameError, match="the name of one of its prompts, got 'a'"):
        changing.remove("a", library)


def test_nothing_is_restored_over_what_is_there_by_now(library) -> None:
    changing.remove("a", library)
    other = save_prompt(made(8), library / "a")
    with pytest.raises(StorageError, match="a free place in the library, got something else"):
        changing.restore("a", library)
    assert load_prompt(other) == made(8)
    changing.remove("a", library)
    changing.restore("a", library)
    assert load_prompt(other) == made(8), "the one that was removed last"


def test_a_record_of_others_leads_nowhere_outside(library, tmp_path) -> None:
    removed, _ = changing.remove("a", library)
    file = removed.content.parent / "record.json"
    for place in ("../outside", str(tmp_path / "outside")):
        file.write_text(json.dumps({**json.loads(file.read_text()), "place": place}))
        with pytest.raises(StorageError, match="got one outside of it"):
            changing.restore("a", library)
    assert not (tmp_path / "outside").exists()


def test_a_crash_leaves_a_prompt_in_one_place(library, monkeypatch) -> None:
    before = tree(library)

    def crash(*_):
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(StorageError, match="the disk is gone"):
        changing.remove("a", library)
    monkeypatch.undo()
    assert tree(library) == before
    # A process that is killed between the record and the rename leaves a record alone.
    (library / ".trash/1-1").mkdir(parents=True)
    (library / ".trash/1-1/record.json").write_text('{"schema": 1, "name": "a", "place": "a"}')
    assert trash.in_trash(library) == []
    changing.remove("a", library)
    changing.restore("a", library)
    assert tree(library) == before


def test_what_a_killed_removal_left_is_gone_after_the_next_change(library) -> None:
    for name in (".record.json.x1.promptport-tmp", "record.json"):
        (library / f".trash/1-{len(name)}").mkdir(parents=True)
        (library / f".trash/1-{len(name)}" / name).write_text("{")
    removed, _ = changing.remove("a", library)
    assert [folder.name for folder in (library / ".trash").iterdir()] == [
        removed.content.parent.name
    ]


def test_only_old_things_that_were_removed_are_deleted(library, tmp_path) -> None:
    outside = save_prompt(made(9), tmp_path / "outside")
    (library / "link").symlink_to(outside)
    for name, days in (("a", 40), ("link", 20), ("c", 0)):
        removed, _ = changing.remove(name, library)
        file = removed.content.parent / "record.json"
        when = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        file.write_text(json.dumps({**json.loads(file.read_text()), "removed": when}))
    whole = tree(library)
    (library / ".trash/mine").mkdir()
    (library / ".trash/mine/notes.txt").write_text("keep")
    (library / ".trash/out").symlink_to(outside)
    for days, there in ((30, ["a"]), (10, ["a", "link"]), (0, ["a", "link", "c"])):
        gone, foreign = changing.empty_trash(library, days, dry_run=True)
        assert [each.name for each in gone] == there
        assert foreign == [library / ".trash/mine"]
    gone, _ = changing.empty_trash(library, 10)
    assert [each.name for each in gone] == ["a", "link"]
    assert [each.name for each in trash.in_trash(library)] == ["c"]
    assert load_prompt(outside) == made(9), "a link is deleted, not what it leads to"
    assert tree(library) == whole
    changing.empty_trash(library)
    assert sorted(f.name for f in (library / ".trash").iterdir()) == ["mine", "out"]
    assert (library / ".trash/mine/notes.txt").read_text() == "keep"
    for days in (-1, float("nan"), float("inf")):
        with pytest.raises(PromptPortError, match="--older-than: expected days, 0 or more"):
            changing.empty_trash(library, days)


def test_what_is_half_deleted_is_not_restored(library, monkeypatch) -> None:
    removed, _ = changing.remove("a", library)
    (file, *_) = removed.content.iterdir()

    def crash(folder, **_):
        os.unlink(folder / "content" / file.name)
        raise OSError(5, "the disk is gone")

    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(StorageError, match="the disk is gone"):
        changing.empty_trash(library)
    monkeypatch.undo()
    assert trash.in_trash(library) == []
    with pytest.raises(StorageError, match="got an empty trash"):
        changing.restore("a", library)
    assert len(list((library / ".trash").iterdir())) == 1
    changing.empty_trash(library, 30)
    assert list((library / ".trash").iterdir()) == [], "the next run ends what was begun"


def test_a_trash_that_is_a_link_is_left_alone(library, tmp_path) -> None:
    changing.remove("a", library)
    (library / ".trash").rename(tmp_path / "elsewhere")
    (library / ".trash").symlink_to(tmp_path / "elsewhere")
    assert changing.empty_trash(library) == ([], [])
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_damaged_and_outer_folders_are_removed_and_restored(library) -> None:
    (library / "c/promptport.json").write_text("{")
    shutil.copytree(library / "a", library / "a/inner")
    before = tree(library)
    changing.remove("c", library)
    _, inside = changing.remove("a", library)
    assert inside == ["inner"]
    assert names(library) == ["b"]
    changing.restore("a", library)
    changing.restore("c", library)
    assert tree(library) == before


def test_tags_are_given_and_taken(library, tmp_path) -> None:
    assert changing.tag("a", library, add=["good", " näher ", "good"]) == ("good", "näher")
    assert changing.tag("a", library, add=["z"], drop=["good"]) == ("näher", "z")
    save_prompt(made(5, task="other"), library / "a")
    entry = Catalog.open(library).show("a")
    assert (entry.task, entry.tags) == ("other", ("näher", "z"))
    assert [e.name for e in Catalog.open(library).filter(tags=["z", "näher"]).entries] == ["a"]
    assert names(library) == [e.name for e in Catalog.open(library).filter(tags=[]).entries]
    with pytest.raises(PromptPortError, match=r"--drop: expected one of its tags \(näher, z\)"):
        changing.tag("a", library, drop=["good"])
    for bad in ("", " ", "a,b", "a\nb", "x" * 65, "\x1b"):
        with pytest.raises(PromptPortError, match="--add: expected a tag of 1 to 64"):
            changing.tag("a", library, add=[bad])
    assert changing.tag("a", library, drop=["näher", "z"]) == ()
    assert not (library / "a/tags.json").exists()


def test_damaged_tags_leave_the_prompt_whole(library) -> None:
    (library / "a/tags.json").write_text('{"schema": 1, "tags": [3]}')
    catalog = Catalog.open(library)
    assert catalog.show("a").length == 2
    (note,) = catalog.notes
    assert note.startswith(f"the tags of {library / 'a'} cannot be read: expected a field 'tags'")
    assert verify(library).wrong[-1].problem.startswith("tags: expected")


def test_equal_prompts_are_told_and_all_but_the_oldest_removed(library) -> None:
    for i, name in enumerate(("x", "y")):
        shutil.copytree(library / "a", library / name)
        os.utime(library / name / "adapter_config.json", (2e9 + i, 2e9 + i))
    shutil.copytree(library / "a", library / "other-task")
    save_prompt(load_prompt(library / "a").with_provenance(task="z"), library / "other-task")
    shutil.copytree(library / "a", library / "damaged")
    weights = library / "damaged/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    changing.tag("y", library, add=["good"])
    before = tree(library)
    (group,) = changing.equals(Catalog.open(library))
    assert (group.oldest.name, [e.name for e in group.others]) == ("a", ["x", "y"])
    assert tree(library) == before, "nothing is removed before it is asked for"
    changing.remove_equals(library)
    assert names(library) == ["a", "c", "damaged", "b", "other-task"]
    assert Catalog.open(library).show("a").tags == ("good",)
    assert changing.equals(Catalog.open(library)) == []
    changing.restore("x", library)
    changing.restore("y", library)
    assert {**tree(library), "a/tags.json": b""} == {**before, "a/tags.json": b""}


@pytest.mark.long
def test_verify_finds_what_a_list_cannot_see(library) -> None:
    before = tree(library)
    found = verify(library)
    assert tree(library) == before
    assert (found.checked, found.wrong, found.without_checksum) == (3, (), ())
    assert found.models == {"nano-bert": "same"}
    save_prompt(made(6, fingerprint="0" * 64), library / "moved-model")
    save_vector(TaskPromptVector.of(made(4)), library / "a")
    bare = save_prompt(made(5, backbone="some/hub-model"), library / "bare")
    (bare / "promptport.json").unlink()
    for name in ("a/vector.safetensors", "c/mixture.safetensors"):
        data = (library / name).read_bytes()
        (library / name).write_bytes(data[:-4] + b"\0\0\1\0")
    assert Catalog.open(library).damaged == ()
    found = verify(library)
    assert [wrong.name for wrong in found.wrong] == ["a", "c", "moved-model"]
    assert str(library / "c") in found.wrong[1].problem
    assert "the model here has 119ceecac34f" in found.wrong[2].problem
    assert found.without_checksum == ("bare",)
    assert found.models["nano-bert"] == "another"
    assert found.models["some/hub-model"].startswith("not compared")
    assert not [file.name for file in library.iterdir() if file.name.startswith(".trash")]


def test_a_clock_that_was_set_back_does_not_change_what_was_removed_last(
    library, monkeypatch
) -> None:
    changing.remove("a", library)
    save_prompt(made(8), library / "a")
    monkeypatch.setattr(trash.time, "time_ns", lambda: 1)
    changing.remove("a", library)
    monkeypatch.undo()
    assert load_prompt(changing.restore("a", library)) == made(8)


def test_an_empty_folder_of_the_trash_is_removed_by_the_next_change(library) -> None:
    left = library / ".trash" / "1-1"
    left.mkdir(parents=True)
    (left / "record.json").write_text("{}")
    changing.remove("a", library)
    assert not left.exists()
    assert [removed.name for removed in trash.in_trash(library)] == ["a"]


def test_an_interrupted_removal_leaves_everything(library, monkeypatch) -> None:
    before = tree(library)

    def stop(*_args) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trash.os, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        changing.remove("a", library)
    assert tree(library) == before
    assert list((library / ".trash").iterdir()) == []


def test_what_a_killed_process_was_adding_is_removed_by_the_next_change(
    library, monkeypatch
) -> None:
    monkeypatch.setattr("promptport.scratch._swept", set())
    left = library / ".adding.0.promptport-tmp"
    left.mkdir()
    changing.remove("a", library)
    assert not left.exists()


def test_equals_that_hold_others_stay(library) -> None:
    shutil.copytree(library / "a", library / "x")
    shutil.copytree(library / "c", library / "x/inner")
    os.utime(library / "x/adapter_config.json", (2e9, 2e9))
    before = tree(library)
    told = [
        [group.oldest.name, *(e.name for e in group.others)]
        for group in (each for each, _ in changing.remove_equals(library))
    ]
    assert told == [["c", "inner"]]
    assert "x/adapter_config.json" in tree(library)
    assert tree(library).keys() < before.keys()


def test_nothing_is_moved_to_a_trash_that_is_a_link(library, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (library / ".trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="expected a folder, got a link"):
        changing.remove("a", library)
    assert "a" in names(library)
