"""GGUF files as backbones: the numbers of the unpacked model, the space, what prompts remember."""

from __future__ import annotations

import json
import shutil

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from tests.tiny_gguf import HEAD, WIDTH, write_gemma, write_llama

from promptport.backbone import (
    Backbone,
    answer_tokens,
    as_backbone,
    as_space,
    describe_backbone,
    open_space,
    weights_at_hand,
)
from promptport.backbone.gguf import entry_of, read_header
from promptport.backbone.gguf.header import FILE_TYPES, TENSOR_TYPES
from promptport.backbone.gguf.identity import file_hash
from promptport.cache import cache_entries
from promptport.tuning.baselines import random_prompt

WRITERS = {"llama": write_llama, "gemma": write_gemma}
FILES = [("llama", Type.F32), ("llama", Type.Q8_0), ("gemma", Type.Q8_0), ("gemma", Type.Q4_0)]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """(path, the model of the weights that the file holds) by writer and type, written once."""
    made = {}

    def get(name, kind):
        if (name, kind) not in made:
            path = tmp_path_factory.mktemp("gguf") / f"{name}-{kind.name}.gguf"
            made[name, kind] = path, WRITERS[name](path, kind)
        return made[name, kind]

    return get


@pytest.mark.parametrize(("name", "kind"), FILES)
def test_logits_are_those_of_the_unpacked_weights(files, name, kind):
    path, model = files(name, kind)
    backbone = Backbone.load(path, dtype="float32", device="cpu")
    kept = torch.float32 if kind == Type.F32 else torch.bfloat16
    for weight in model.parameters():
        weight.data = weight.data.to(kept).float()
    ids = backbone.tokenizer("It was a great film of Paris", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        got, wanted = backbone.model(ids).logits, model(ids).logits
    assert wanted.std() > 0.5
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("name", "kind"), FILES)
def test_the_space_is_that_of_the_loaded_model(files, name, kind):
    path, model = files(name, kind)
    space = open_space(path)
    loaded = Backbone.load(path, dtype="float32", device="cpu")
    assert torch.equal(space.matrix.float(), loaded.space.matrix.float())
    assert space.fingerprint == loaded.space.fingerprint
    assert space.words == loaded.space.words
    assert space.tokens == loaded.space.tokens
    assert space.scale == loaded.space.scale == (8.0 if name == "gemma" else 1.0)
    rows = model.get_input_embeddings().weight.detach()
    near = 0 if kind == Type.F32 else 2**-8
    torch.testing.assert_close(space.matrix.float(), rows, atol=0, rtol=near)
    ids = torch.arange(5)
    torch.testing.assert_close(space.rows(ids), loaded.embed(ids).float())


def test_dtype_is_honoured_and_the_space_stays(files):
    path, _ = files("gemma", Type.Q8_0)
    loaded = Backbone.load(path, dtype="bfloat16", device="cpu")
    assert loaded.dtype == torch.bfloat16
    assert loaded.space.fingerprint == open_space(path).fingerprint


def test_opened_again_nothing_is_built(files, monkeypatch):
    path, _ = files("llama", Type.Q8_0)
    first = open_space(path)
    for name in ("load_config", "load_tokenizer"):
        monkeypatch.setattr(f"promptport.backbone.checkpoint.{name}", None)
    again = open_space(path)
    assert (again.fingerprint, again.words, again.tokens) == (
        first.fingerprint,
        first.words,
        first.tokens,
    )


def test_a_space_reads_no_layer(files, tmp_path):
    path, _ = files("llama", Type.Q8_0)
    wanted = open_space(path)
    header = read_header(path)
    broken = bytearray(path.read_bytes())
    for tensor in header.tensors:
        if tensor.name != "token_embd.weight":
            start = header.data_start + tensor.offset
            broken[start : start + tensor.size] = b"\xff" * tensor.size
    other = tmp_path / "other.gguf"
    other.write_bytes(broken)
    assert open_space(other).fingerprint == wanted.fingerprint


def test_a_folder_with_one_file_and_paths_in_every_form(files, tmp_path, monkeypatch):
    path, _ = files("llama", Type.Q8_0)
    shutil.copy(path, tmp_path / "model.gguf")
    (tmp_path / "mmproj-model.gguf").write_bytes(b"beside it")
    wanted = open_space(path).fingerprint
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path, "model.gguf", "./model.gguf", "."):
        assert as_space(name).fingerprint == wanted
    assert as_backbone("model.gguf").name == "model.gguf"


def test_what_lies_beside_the_file_is_not_read(files, tmp_path):
    path, _ = files("llama", Type.Q8_0)
    shutil.copy(path, tmp_path / "model.gguf")
    (tmp_path / "tokenizer.json").write_text("not a tokenizer")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    raw = bytearray((tmp_path / "model.gguf").read_bytes())
    (tmp_path / "model.gguf").write_bytes(raw + b"\0")  # another hash: it is built anew
    assert open_space(tmp_path / "model.gguf").words == open_space(path).words


def test_a_name_of_the_hub_with_a_file(files, monkeypatch):
    path, _ = files("llama", Type.Q8_0)
    asked = []

    def fetch(name, file, revision=None):
        asked.append((name, file, revision))
        return path if file == "sub/model.gguf" else None

    monkeypatch.setattr("promptport.backbone.hub.whole_hub_file", fetch)
    space = open_space("someone/tiny-GGUF:sub/model.gguf", "v1")
    assert space.backbone == "someone/tiny-GGUF:sub/model.gguf"
    assert asked == [("someone/tiny-GGUF", "sub/model.gguf", "v1")]
    assert space.fingerprint == open_space(path).fingerprint


def test_weights_at_hand_and_answers(files):
    path, model = files("llama", Type.Q8_0)
    seen = weights_at_hand(str(path))
    assert seen.lacks is None
    assert seen.local
    assert seen.size == 2 * sum(weight.numel() for weight in model.parameters())
    assert answer_tokens(str(path))(["great", "great film"]) == [1, 2]


def test_prompts_remember_the_file(files, tmp_path):
    path, _ = files("gemma", Type.Q4_0)
    backbone = Backbone.load(path, dtype="float32", device="cpu")
    made = random_prompt(backbone, 3, seed=0).provenance
    assert made.file == {
        "format": "gguf",
        "name": "gemma-Q4_0.gguf",
        "sha256": file_hash(path),
        "quantisation": "Q4_0",
        "tensor_types": made.file["tensor_types"],
    }
    assert made.file["tensor_types"].startswith("15 Q4_0, ")
    moved = tmp_path / "elsewhere.gguf"
    shutil.copy(path, moved)
    Backbone.load(moved, device="cpu").check_prompt(random_prompt(backbone, 3, seed=0))


def test_describe(files):
    path, model = files("gemma", Type.Q8_0)
    told = describe_backbone(str(path))
    assert told["architecture"] == "Gemma3ForCausalLM"
    assert told["width"] == WIDTH
    assert told["embedding_scale"] == WIDTH**0.5
    assert told["quantisation"] == "Q8_0"
    assert told["parameters"] == sum(weight.numel() for weight in model.parameters())


def test_the_header_is_what_gguf_reads(files):
    path, _ = files("gemma", Type.Q8_0)
    header, reader = read_header(path), gguf.GGUFReader(path)
    assert header.data_start == reader.data_offset
    assert header.metadata["gemma3.attention.key_length"] == HEAD
    for ours, theirs in zip(header.tensors, reader.tensors, strict=True):
        assert ours.name == theirs.name
        assert ours.shape == tuple(theirs.shape[::-1])
        assert header.data_start + ours.offset == theirs.data_offset
        assert ours.size == theirs.n_bytes


def test_the_tables_are_those_of_gguf():
    for number, (name, values, size) in TENSOR_TYPES.items():
        kind = Type(number)
        assert kind.name == name
        assert (values, size) == gguf.GGML_QUANT_SIZES[kind]
    for number, name in FILE_TYPES.items():
        assert gguf.LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_") == name


def test_the_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(b"one")
    first = file_hash(file)
    monkeypatch.setattr("promptport.backbone.gguf.identity._hash", lambda path: "read again")
    assert file_hash(file) == first
    file.write_bytes(b"two!")
    assert file_hash(file) == "read again"


def test_the_cache_names_the_file(files, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))  # others may have met the same content
    path, _ = files("llama", Type.Q8_0)
    open_space(path)
    entries = {entry.place: entry for entry in cache_entries()}
    assert entries[entry_of(read_header(path))].what == "llama-Q8_0.gguf (Q8_0)"
