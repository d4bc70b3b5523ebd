"""A library of prompts: what is read from folders, what it is called, what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from promptport import Catalog, Library, PromptPortError
from promptport.catalog.names import names_apart
from promptport.errors import BackboneError, FileFormatError, MismatchError, StorageError
from promptport.library import adapt, rank
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.serving.server import PromptServer
from promptport.storage import load_prompt, prompt_folders, save_prompt, save_vector
from promptport.tuning import random_prompt
from promptport.vector import TaskPromptVector


def made(model, seed=0, length=2, **provenance):
    """A prompt with an origin; values by the seed."""
    start = random_prompt(model, length, seed)
    noise = torch.randn(start.vectors.shape, generator=torch.Generator().manual_seed(seed))
    prompt = replace(start, vectors=start.vectors + noise, origin=start.vectors)
    return prompt.with_provenance(**provenance)


@pytest.fixture
def folders(backbone, tmp_path):
    """lib/a, lib/b.prompt (topic), the vector lib/v, and a hidden one."""
    model = backbone("bert")
    save_prompt(made(model, 1, tuning={"dev_score": 0.75}), tmp_path / "lib" / "a")
    save_prompt(made(model, 2, task="topic"), tmp_path / "lib" / "b.prompt")
    vector = TaskPromptVector.of(made(model, 3, task="emotion"))
    save_vector(vector, tmp_path / "lib" / "v")
    save_prompt(made(model, 4), tmp_path / "lib" / ".half-written")
    return tmp_path / "lib"


def test_it_is_a_mapping_of_prompts(folders, backbone) -> None:
    library = Library.open(folders)
    assert list(library) == ["a", "b", "v"]
    assert len(library) == 3
    assert "b" in library
    assert "x" not in library
    assert library["a"] == load_prompt(folders / "a")
    assert [entry.kind for entry in library.entries] == ["free", "free", "vector"]
    assert library.get("x") is None
    with pytest.raises(PromptPortError, match="expected the name of one of its prompts, got 'bb'"):
        library["bb"]


def test_a_vector_becomes_a_prompt_on_the_origin_that_is_named(
    folders, backbone, monkeypatch
) -> None:
    model = backbone("bert")
    vector = TaskPromptVector.of(made(model, 3, task="emotion"))
    for origin, seed in ((None, 0), ("seed:4", 4), (OriginSpec("vocabulary", 4), 4)):
        library = Library.open(folders, origin=origin).on(model)
        start = make_origin(OriginSpec("vocabulary", seed), model, 2)
        torch.testing.assert_close(library["v"].vectors, start + vector.delta)
        assert torch.equal(library["v"].origin, start)
    opened = []
    monkeypatch.setattr(Library, "load_backbone", lambda self, **_: opened.append(1) or model)
    library = Library.open(folders)
    assert not opened, "nothing is loaded before a vector is asked for"
    assert torch.equal(library["v"].vectors, library["v"].vectors)
    assert opened == [1]
    with pytest.raises(PromptPortError, match="origin: expected a library with vectors"):
        Library.open(folders / "a", origin="seed:1")


def test_repr_and_filters(folders) -> None:
    library = Library.open(folders)
    lines = repr(library).splitlines()
    assert lines[0].startswith("Library of 3 on ")
    assert lines[1].split() == [
        "a",
        "task",
        "not",
        "known,",
        "free,",
        "2",
        "tokens,",
        "dev",
        "0.750",
    ]
    assert "tensor" not in repr(library)
    assert "tensor" not in repr(library.entries)
    assert list(library.filter(task="topic")) == ["b"]
    assert list(library.filter(kind="vector")) == ["v"]
    assert list(library.filter(backbone="other")) == []
    assert repr(library.filter(backbone="other")) == "Library: empty"
    combined = Library.of({"both": library["b"].with_provenance(task="topic + emotion")})
    assert list(combined.filter(task="emotion")) == ["both"]


def test_names_are_as_long_as_tells_them_apart(tmp_path, backbone) -> None:
    assert names_apart([tmp_path / "x" / "a", tmp_path / "y" / "a", tmp_path / "b"]) == [
        "x/a",
        "y/a",
        "b",
    ]
    assert names_apart([tmp_path / "a.prompt"]) == ["a"]
    same = [tmp_path / "a", tmp_path / "a.prompt"]
    assert names_apart(same) == list(map(str, same))
    model = backbone("bert")
    for seed, name in enumerate(("x/a", "y/a")):
        save_prompt(made(model, seed), tmp_path / name)
    assert list(Library.open([tmp_path / "x", tmp_path / "y"])) == ["x/a", "y/a"]


def test_equal_prompts_are_read_once(folders, backbone) -> None:
    shutil.copytree(folders / "a", folders / "again")
    save_vector(TaskPromptVector.of(load_prompt(folders / "b.prompt")), folders / "of-b")
    library = Library.open([folders, folders / "a"])
    assert list(library) == ["a", "b", "v"]
    (note,) = library.notes
    assert note == (
        f"the same prompts again are left out: {folders / 'a'} (as a), again (as a), of-b (as b)"
    )
    assert list(Library.open(folders, keep_equal=True)) == ["a", "again", "b", "of-b", "v"]


def test_one_line_names_every_damaged_folder(folders) -> None:
    weights = folders / "a" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(FileFormatError, match=r"a/adapter_model.safetensors: expected a whole"):
        Library.open(folders)
    (folders / "v" / "vector.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"2 of 3 folders") as error:
        Library.open(folders)
    assert all(part in str(error.value) for part in ("lib/a", "lib/v"))
    assert "\n" not in str(error.value)
    library = Library.open(folders, skip_damaged=True)
    assert list(library) == ["b"]
    assert len(library.notes) == 2
    assert all(note.startswith("left out, damaged: ") for note in library.notes)


def test_what_is_no_library(tmp_path) -> None:
    with pytest.raises(PromptPortError, match="library: expected a folder of prompts, got none"):
        Library.open([])
    (tmp_path / "empty").mkdir()
    for place, got in (("empty", "neither"), ("nowhere", "no such folder")):
        with pytest.raises(StorageError, match=f"a prompt or vector folder, .* got {got}"):
            Library.open(tmp_path / place)


@pytest.fixture
def mixed(folders, backbone):
    """The library with a prompt of another backbone, c."""
    save_prompt(made(backbone("gpt2"), 5), folders / "c")
    return folders


def test_several_backbones(mixed, backbone, films) -> None:
    bert, other = backbone("bert"), backbone("gpt2")
    library = Library.open(mixed)
    assert library.backbones == {bert.name: ("a", "b", "v"), other.name: ("c",)}
    said = f"2 \\({bert.name}: a, b, v; {other.name}: c\\). Choose one with --backbone, for ins"
    with pytest.raises(MismatchError, match=said):
        library.check_one_backbone()
    with pytest.raises(MismatchError, match=said):
        library.load_backbone()
    assert list(library.on(other)) == ["c"]
    assert list(library.filter(backbone=bert.name)) == ["a", "b", "v"]
    chosen = Library.open(mixed, backbone=other.name)
    assert list(chosen) == ["c"]
    assert chosen.notes == (f"left out, of another backbone than {other.name}: a, b, v",)
    assert chosen.load_backbone(device="cpu", dtype="float32").name == other.name
    assert list(Library.open(mixed, backbone=bert)) == ["a", "b", "v"]
    assert {entry.name for entry in rank(bert, library, films).entries} == {"a", "b", "v"}
    with pytest.raises(MismatchError, match=said):
        library.on(backbone("roberta"))


def test_a_prompt_of_another_backbone_is_no_part_of_a_mapping(backbone, films) -> None:
    prompts = {"a": made(backbone("bert")), "b": made(backbone("gpt2"))}
    with pytest.raises(MismatchError):
        rank(backbone("bert"), prompts, films)


def test_a_backbone_that_is_gone(tmp_path, backbone) -> None:
    prompt = made(backbone("bert")).with_provenance(backbone="/old/base")
    save_prompt(prompt, tmp_path / "p")
    with pytest.raises(BackboneError, match=r"backbone of .*p: expected .*'/old/base'.*--backbone"):
        Library.open(tmp_path / "p").load_backbone()
    moved = Library.open(tmp_path / "p", backbone=backbone("bert").name)
    assert moved.load_backbone(device="cpu", dtype="float32").name == backbone("bert").name


def test_tasks(folders) -> None:
    library = Library.open(folders)
    assert {name: task.name for name, task in library.tasks.items()} == {
        "b": "topic",
        "v": "emotion",
    }
    with pytest.raises(PromptPortError, match="task of a: expected one that .*, got none"):
        library.task_prompts()
    given = Library.open(folders, tasks=["sentiment", "topic", "topic"])
    assert [entry.task_name for entry in given.entries] == ["sentiment", "topic", "topic"]
    assert given.notes == ("v was made for emotion, its task is given as topic",)
    for named in (["emotion", "sentiment", "topic"], ["topic", "emotion", "sentiment"]):
        by_name = Library.open(folders, tasks=named)
        assert [entry.task_name for entry in by_name.entries] == ["sentiment", "topic", "emotion"]
        assert by_name.notes == ()
    assert set(Library.open(folders, tasks=["topic"]).tasks) == {"b", "v"}
    with pytest.raises(PromptPortError, match=r"--task: .* per folder \(3\), got topic, sentiment"):
        Library.open(folders, tasks=["topic", "sentiment"])


def test_search(folders, backbone) -> None:
    library = Library.open(folders)
    hits = library.search("Topic")
    assert [hit.name for hit in hits] == ["b"]
    assert hits[0].where["task"] == ("topic",)
    labels = library.tasks["v"].labels
    word = next(iter(labels.values()))[0]
    assert library.search(word)[0].name == "v"
    assert library.search("zebra") == ()
    both = library.search(f"topic {word}")
    assert {hit.name for hit in both} >= {"b", "v"}
    assert [hit.score for hit in both] == sorted((hit.score for hit in both), reverse=True)
    with pytest.raises(PromptPortError, match="search: expected one word or more"):
        library.search(" - ")


def test_words_of_mixtures_are_found(backbone) -> None:
    from promptport.mixture import Mixture

    model = backbone("bert")
    words = tuple(sorted(model.space.words))[:3]
    mixture = Mixture(words, torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]))
    vectors = mixture.vectors(model.space)
    prompt = SoftPrompt(vectors, Provenance(model.name), mixture=mixture)
    library = Library.of({"m": prompt, "other": made(model)})
    (hit,) = library.search(words[2])
    assert (hit.name, dict(hit.where)) == ("m", {"mixture words": (words[2].casefold(),)})
    assert library.entry("m").kind == "mixture"


@pytest.mark.long
def test_a_library_and_its_mapping_give_the_same(backbone, films) -> None:
    model = backbone("bert")
    prompts = {"a": made(model, 1), "b": made(model, 2)}
    library = Library.of(prompts)
    assert rank(model, library, films).entries == rank(model, prompts, films).entries
    assert Library.of(library) is library
    more = films.with_rows(train=films.load("train") * 2)
    assert adapt(model, library, more).prompt == adapt(model, prompts, more).prompt


def test_list_library_server_and_inspect_tell_of_the_same_folders(folders, backbone) -> None:
    """However deep; hidden ones are left out, and what a link leads to is told of once."""
    place = folders
    deep = place / "x" / "y" / "deep"
    shutil.copytree(next(f for f in place.iterdir() if (f / "adapter_config.json").is_file()), deep)
    shutil.copytree(deep, place / ".trash" / "1" / "content")
    (place / "x" / "back").symlink_to(place)
    (place / "x" / "z").symlink_to(deep)
    listed = {entry.name: entry.folder for entry in Catalog.open(place).entries}
    assert deep in listed.values()
    opened = Library.open(place, keep_equal=True)
    assert opened.folders == listed
    assert set(opened) == set(listed)
    assert {f.resolve() for f in prompt_folders(place)} == {f.resolve() for f in listed.values()}
    own = {name for name, f in listed.items() if (f / "adapter_config.json").is_file()}
    assert set(PromptServer(backbone("bert"), [place]).names) == own
