"""Facts are those that loading tells, and damaged or hostile files cost one line each."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys

import pytest
import torch
from tests.unit.catalog.conftest import made, word_mixture

from promptport import Catalog, PromptPortError
from promptport.belonging import check_same_backbone
from promptport.catalog import facts
from promptport.catalog.backbones import Identity
from promptport.catalog.headers import read_header
from promptport.errors import FileFormatError, MismatchError, StorageError, UnknownNameError
from promptport.portable import PortablePrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, load_vector, save_portable, save_prompt, save_vector
from promptport.storage.attention_folder import save_attention
from promptport.vector import TaskPromptVector


def by_name(place, **options):
    return {entry.name: entry for entry in Catalog.open(place, **options).entries}


def test_facts_are_those_that_loading_tells(library) -> None:
    save_vector(TaskPromptVector.of(made(4, task="question")), library / "v")
    bare = save_prompt(made(5, origin=False), library / "bare")
    (bare / "promptport.json").unlink()
    entries = by_name(library)
    assert list(entries) == ["a", "bare", "c", "b", "v"]
    for name, entry in entries.items():
        loaded = load_vector(entry.folder) if name == "v" else load_prompt(entry.folder)
        told = json.loads(json.dumps(loaded.provenance.to_dict()))
        assert entry.provenance == told
        assert (entry.length, entry.width) == (loaded.length, loaded.width)
        made_of = loaded.provenance
        assert (entry.task, entry.backbone) == (made_of.task, made_of.backbone)
        assert entry.template == made_of.template
    assert [entry.kind for entry in entries.values()] == [
        "free",
        "free",
        "mixture",
        "free",
        "vector",
    ]
    assert entries["a"].dev_score == 0.75
    assert (
        entries["a"].checksum == json.loads((library / "a/promptport.json").read_text())["checksum"]
    )
    assert entries["bare"].checksum is None
    assert entries["c"].more["mixture_words"] == ["a", "b", "c", "d"]
    heaviest = {word for row in load_prompt(library / "c").mixture.readable() for word, _ in row}
    assert heaviest == {"a", "b", "c", "d"}
    assert entries["b"].task_names == ("emotion + topic", "emotion", "topic")
    assert entries["b"].folder == library / "deep/er/b.prompt"


def test_attentions_and_portable_files_belong_to_a_library(library) -> None:
    class Parts:
        sources, target = torch.zeros(3, 2, 4), torch.zeros(2, 4)
        down, up, gain = torch.zeros(1, 4), torch.zeros(4, 1), torch.zeros(2, 4)
        temperature, truncate = 1.0, False
        provenance = Provenance("nano-bert", task="topic")

    save_attention(Parts(), library / "att")
    portable = PortablePrompt(
        ("a", "b", "c"),
        torch.full((2, 3), 0.5),
        torch.ones(2, dtype=torch.float64),
        Provenance("nano-bert", task="topic", fingerprint="0" * 64),
        None,
        (),
        None,
    )
    save_portable(portable, library / "p.portable")
    (library / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    entries = by_name(library)
    assert (entries["att"].kind, entries["att"].length, entries["att"].width) == ("attention", 2, 4)
    assert entries["att"].more["sources"] == 3
    assert (entries["p.portable"].kind, entries["p.portable"].length) == ("portable", 2)
    assert "model" not in " ".join(entries)
    assert by_name(library / "p.portable")["p.portable"].task == "topic"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("adapter_model.safetensors", struct.pack("<Q", 2**60) + b"{}", "whole safetensors file"),
        ("adapter_model.safetensors", struct.pack("<Q", 2**63 + 5), "whole safetensors file"),
        ("adapter_model.safetensors", b"", "an empty file"),
        ("adapter_model.safetensors", b"\x80\x04pickle", "a pickle"),
        ("adapter_model.safetensors", struct.pack("<Q", 6) + b"[" * 6, "whole safetensors file"),
        ("promptport.json", b"[" * 100_000, "text that does not parse"),
        ("promptport.json", b"\xff\xfe", "text that does not parse"),
        ("promptport.json", b'{"schema": 99}', "schema 1 or older"),
        ("promptport.json", b'{"schema": 1, "prompt": {"backbone": 3}}', "expected str, got int"),
        ("adapter_config.json", b'{"peft_type": "LORA"}', "PROMPT_TUNING or P_TUNING"),
        ("adapter_config.json", b"{}", "PROMPT_TUNING"),
        ("origin.safetensors", b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "prompt_embeddings"),
    ],
)
def test_a_damaged_folder_is_an_entry_with_what_is_wrong(library, file, text, said) -> None:
    (library / "a" / file).write_bytes(text)
    catalog = Catalog.open(library)
    assert [entry.name for entry in catalog.entries] == ["c", "b"]
    (damaged,) = catalog.damaged
    assert (damaged.name, damaged.kind, damaged.length) == ("a", "damaged", None)
    assert said in damaged.problem
    assert "\n" not in damaged.problem
    assert str(library / "a" / file) in damaged.problem
    with pytest.raises(PromptPortError):
        load_prompt(library / "a")


def test_other_configurations_of_others_do_not_stop_a_list(library) -> None:
    config = json.loads((library / "a/adapter_config.json").read_text())
    (library / "a/adapter_config.json").write_text(
        json.dumps({**config, "num_transformer_submodules": "x"})
    )
    assert [entry.name for entry in Catalog.open(library).damaged] == ["a"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [2, 5]}, "another size than its shape"),
        ({"shape": [-2, -4]}, "another size than its shape"),
        ({"data_offsets": [0, 2**70]}, "another size than its shape"),
        ({"dtype": "F31"}, "F31"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, change, said) -> None:
    told = {"x": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32], **change}}
    text = json.dumps(told).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 32)
    with pytest.raises(FileFormatError, match=said):
        read_header(file)


def test_names_are_shown_apart_and_hostile_ones_are_kept(library) -> None:
    for name in ("x/same", "y/same", "new\nline", "ünï", "n" * 200, "b'; DROP TABLE things", " "):
        shutil.copytree(library / "a", library / name)
    shutil.copytree(library / "a", library / ".hidden")
    for _ in range(2):  # by reading, then by the index
        names = {entry.name for entry in Catalog.open(library).entries}
        assert names >= {"x/same", "y/same", "new\nline", "ünï", "n" * 200, "b'; DROP TABLE things"}
        assert len(names) == 10
    os.mkdir(os.fsencode(library) + b"/\xff")
    (library / os.fsdecode(b"\xff") / "adapter_config.json").write_text("{}")
    assert any(e.name == os.fsdecode(b"\xff") for e in Catalog.open(library).damaged)


def test_loops_of_links_end_and_links_to_known_folders_are_told(library) -> None:
    (library / "deep/loop").symlink_to(library)
    (library / "link").symlink_to(library / "a")
    (library / "broken").symlink_to(library / "nowhere")
    catalog = Catalog.open([library, library / "a"])
    assert [entry.name for entry in catalog.entries] == ["a", "c", "b"]
    (note,) = catalog.notes
    assert note == (
        f"the same prompts again are left out: {library / 'link'} (as a), {library / 'a'} (as a)"
    )


def test_what_is_no_library(tmp_path) -> None:
    with pytest.raises(PromptPortError, match="library: expected a folder of prompts, got none"):
        Catalog.open([])
    for place, got in (("", "neither"), ("nowhere", "no such folder")):
        with pytest.raises(StorageError, match=f"a prompt or vector folder, .* got {got}"):
            Catalog.open(tmp_path / place)


def test_filters_and_orders(library) -> None:
    catalog = Catalog.open(library)

    def names(chosen):
        return [entry.name for entry in chosen.entries]

    assert names(catalog.filter(task="topic")) == ["a", "b"]
    assert names(catalog.filter(kind="mixture")) == ["c"]
    assert names(catalog.filter(min_score=0.75)) == ["a"]
    assert names(catalog.filter(min_score=0.76)) == []
    assert names(catalog.filter(backbone="nano-bert")) == ["a", "c", "b"]
    assert names(catalog.filter(backbone="other")) == []
    day = catalog.entries[0].written
    assert names(catalog.filter(since=day)) == ["a", "c", "b"]
    assert names(catalog.filter(since="2999-01-01")) == []
    assert names(catalog.sort("name", reverse=True)) == ["c", "b", "a"]
    assert names(catalog.sort("score")) == ["a", "c", "b"]
    assert names(catalog.sort("task", limit=2)) == ["b", "a"]
    assert names(catalog.sort("task", reverse=True)) == ["a", "b", "c"], "unknown ones stay last"
    for i, name in enumerate(("a", "c")):
        os.utime(library / name / "adapter_config.json", (1000.0 + i * 90_000,) * 2)
    assert names(Catalog.open(library).sort("date")) == ["b", "c", "a"]
    assert Catalog.open(library).show("c").written == "1970-01-02"
    with pytest.raises(UnknownNameError, match="kind: expected one of attention"):
        catalog.filter(kind="fre")
    with pytest.raises(UnknownNameError, match="sort: expected one of date"):
        catalog.sort("size")
    with pytest.raises(PromptPortError, match="since: expected a day, got '2026-13-01'"):
        catalog.filter(since="2026-13-01")
    with pytest.raises(UnknownNameError, match="got 'bb'. Did you mean 'b'"):
        catalog.show("bb")
    assert catalog.show(str(library / "c")).name == "c"


def test_words_are_found_as_a_loaded_library_finds_them(library) -> None:
    from promptport import Library

    catalog, loaded = Catalog.open(library), Library.open([library, library / "deep/er"])
    for words in ("topic", "a topic", "emotion", "TEXT", "seed", "c d", "labels"):
        told = [(h.name, h.score, h.where) for h in loaded.search(words)]
        assert [(h.name, h.score, h.where) for h in catalog.search(words)] == told


def test_models_are_told_apart_by_one_rule() -> None:
    facts = [
        (name, revision, mark, width)
        for name in ("x", "y")
        for revision in (None, "r", "s")
        for mark in (None, "1", "2")
        for width in (2, 3)
    ]
    for one in facts:
        for other in facts:
            prompts = [
                made(width=w, backbone=n, revision=r, fingerprint=m) for n, r, m, w in (one, other)
            ]
            try:
                check_same_backbone(*prompts)
                same = True
            except MismatchError:
                same = False
            assert Identity(*one).is_same(Identity(*other)) is same, (one, other)


@pytest.mark.long
def test_a_list_imports_no_torch(library) -> None:
    code = (
        "import sys, promptport.cli as c\n"
        "try:\n    c.main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'numpy', 'transformers', 'huggingface_hub', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    for words in (["list", str(library), "--json"], ["search", "zebra", str(library)]):
        done = subprocess.run(
            [sys.executable, "-c", code, "library", *words], capture_output=True, text=True
        )
        assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_a_mixture_of_other_size_is_damaged(library) -> None:
    other = save_prompt(made(6, length=3, mixture=word_mixture(3)), library / "other")
    shutil.copy(other / "mixture.safetensors", library / "c/mixture.safetensors")
    assert [entry.name for entry in Catalog.open(library).damaged] == ["c"]


def test_places_within_each_other_are_read_once(library) -> None:
    for places in ([library, library], [library, library / "deep"], [library / "deep", library]):
        catalog = Catalog.open(places)
        assert sorted(entry.name for entry in catalog.entries) == ["a", "b", "c"]
    (library / "empty").mkdir()
    with pytest.raises(StorageError, match="got neither"):
        Catalog.open([library, library / "empty"])


def test_times_that_no_calendar_has_are_told(library) -> None:
    assert facts.day(1e18) == "9999-12-31"
    assert facts.day(-1e18) == "0001-01-01"
