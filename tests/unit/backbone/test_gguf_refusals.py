"""Every kind of GGUF file that cannot be a backbone: one line, with what to do."""

from __future__ import annotations

import re
import struct

import pytest
from gguf import GGMLQuantizationType as Type
from tests.tiny_gguf import write_llama

from promptport.backbone import Backbone, find_checkpoint, open_space
from promptport.backbone.gguf import building, needs
from promptport.backbone.gguf.header import read_header
from promptport.errors import BackboneError, FileFormatError, PromptPortError, StorageError


def refused(name, *parts):
    with pytest.raises(PromptPortError) as caught:
        open_space(str(name))
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert re.search(part, text), text
    return caught.value


def test_no_such_file(tmp_path):
    refused(tmp_path / "model.gguf", "path that does not exist")
    refused("model.gguf", "path that does not exist", "HUB-ID:FILE.gguf")


def test_not_a_gguf(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"<!DOCTYPE html> not found")
    assert isinstance(refused(tmp_path / "model.gguf", "expected a GGUF file"), FileFormatError)
    (tmp_path / "model.gguf").write_bytes(b"")
    refused(tmp_path / "model.gguf", "an empty file")


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.9])
def test_cut_off(tmp_path, share):
    path = tmp_path / "model.gguf"
    write_llama(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "expected a whole GGUF file", "bytes", "Fetch the file again")


def test_another_version(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 1, 0, 0))
    refused(path, "version 1", "current llama.cpp")
    path.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    refused(path, "big-endian")


def test_an_unknown_type(tmp_path):
    path = tmp_path / "model.gguf"
    write_llama(path, Type.F32)
    header = read_header(path)
    raw = bytearray(path.read_bytes())
    name = header.tensors[3].name.encode()
    place = raw.index(name, header.table[0]) + len(name) + 4 + 8 * len(header.tensors[3].shape)
    raw[place : place + 4] = struct.pack("<I", 99)
    path.write_bytes(raw)
    refused(path, "type number 99", "Q4_K_M")


def test_an_unknown_architecture(tmp_path):
    path = tmp_path / "model.gguf"
    write_llama(path, Type.F32, architecture="bert")
    error = refused(path, "architecture that transformers reads", "llama", "'bert'")
    assert isinstance(error, BackboneError)


def test_parts_of_a_split_model(tmp_path):
    path = tmp_path / "model-00001-of-00003.gguf"
    path.write_bytes(b"GGUF")
    merge = "llama-gguf-split --merge model-00001-of-00003.gguf model.gguf"
    refused(path, "part 1 of 3", merge)
    (tmp_path / "model-00002-of-00003.gguf").write_bytes(b"GGUF")
    refused(tmp_path, "part 1 of 3", merge)
    other = tmp_path / "renamed.gguf"
    write_llama(other, add={"split.count": 3, "split.no": 1})
    refused(other, "part 2 of 3", "--merge")


def test_several_files(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    refused(tmp_path, "2 .a.gguf, b.gguf.", f"for instance {tmp_path / 'a.gguf'}")


def test_a_folder_with_neither(tmp_path):
    refused(tmp_path, "config.json, or with one .gguf file")


def test_no_tokenizer(tmp_path):
    write_llama(tmp_path / "model.gguf", drop=("tokenizer",))
    refused(tmp_path / "model.gguf", "with its tokenizer")


def test_an_unknown_tokenizer(tmp_path, monkeypatch):
    write_llama(tmp_path / "model.gguf")
    raw = (tmp_path / "model.gguf").read_bytes()
    key = b"tokenizer.ggml.model" + struct.pack("<IQ", 8, 4)
    (tmp_path / "model.gguf").write_bytes(raw.replace(key + b"gpt2", key + b"rwkv"))
    refused(tmp_path / "model.gguf", "a tokenizer that transformers can build", "'rwkv'")


def test_projectors_and_adapters(tmp_path):
    write_llama(tmp_path / "mmproj.gguf", architecture="clip")
    refused(tmp_path / "mmproj.gguf", "an image projector")
    write_llama(tmp_path / "lora.gguf", add={"general.type": "adapter"})
    refused(tmp_path / "lora.gguf", "got an? adapter")


def test_no_embedding(tmp_path):
    write_llama(tmp_path / "model.gguf", drop=("token_embd",))
    refused(tmp_path / "model.gguf", "token_embd.weight")


@pytest.mark.long
def test_missing_weights(tmp_path):
    path = tmp_path / "model.gguf"
    write_llama(path, drop=("blk.1.ffn_up",))
    with pytest.raises(BackboneError, match=r"none for model.layers.1.mlp.up_proj.weight \(1 miss"):
        Backbone.load(path)


def test_packages_are_missing(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    write_llama(path)
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    refused(path, "no gguf and no accelerate", r"pip install 'promptport\[gguf\]'")


def test_no_room(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    write_llama(path)
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path / "cache"))  # nothing is unpacked there
    monkeypatch.setattr(building.shutil, "disk_usage", lambda place: _Usage())
    with pytest.raises(StorageError, match="0 MB free. Set PROMPTPORT_CACHE"):
        Backbone.load(path)


class _Usage:
    free = 1000


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "model.gguf"
    write_llama(path)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path / "file"))
    error = refused(path, "a cache folder that can be written", "Set PROMPTPORT_CACHE")
    assert isinstance(error, StorageError)


def test_a_hub_repository_without_the_file(monkeypatch):
    monkeypatch.setattr("promptport.backbone.hub.whole_hub_file", lambda *_: None)
    with pytest.raises(BackboneError, match="none named 'b.gguf'.*/someone/tiny/tree/main"):
        find_checkpoint("someone/tiny:b.gguf")
