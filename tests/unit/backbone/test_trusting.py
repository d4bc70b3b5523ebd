"""What a model's files may not ask for."""

from __future__ import annotations

import json
import shutil

import pytest

from promptport.backbone import Backbone, open_space
from promptport.backbone.chat import read_chat
from promptport.backbone.trusting import checked_shards, tokenizer_options
from promptport.errors import BackboneError, FileFormatError, TaskError


@pytest.fixture
def folder(model_folder, tmp_path):
    shutil.copytree(model_folder("gpt2"), tmp_path / "model")
    return tmp_path / "model"


def _edit(folder, file, **values) -> None:
    path = folder / file
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | values))


@pytest.mark.parametrize(
    "shard", ["../x.safetensors", "/x.safetensors", "a/../../x", "", 5, "a\nb"]
)
def test_shards_lie_in_the_folder_of_their_index(folder, shard) -> None:
    _edit(folder, "model.safetensors.index.json", weight_map={"transformer.wte.weight": shard})
    (folder / "model.safetensors").unlink()
    for read in (open_space, Backbone.load):
        with pytest.raises(FileFormatError, match="'weight_map': expected files in the folder"):
            read(str(folder))


def test_shards_in_folders_of_the_model_are_taken() -> None:
    index = {"a": "model-00001-of-00002.safetensors", "b": "part two/x.safetensors"}
    assert checked_shards(index, "index") == index
    with pytest.raises(FileFormatError, match="a table 'weight_map' .*, got NoneType"):
        checked_shards(None, "index")


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file"])
def test_a_tokenizer_in_another_folder_is_refused(folder, key) -> None:
    _edit(folder, "tokenizer_config.json", **{key: "/etc/passwd"})
    with pytest.raises(FileFormatError, match=f"{key!r}: expected files in .* got '/etc/passwd'"):
        open_space(str(folder))


def test_attention_of_the_hub_is_refused(folder) -> None:
    _edit(folder, "config.json", attn_implementation="someone/kernel")
    for read in (open_space, Backbone.load):
        with pytest.raises(BackboneError, match="got 'someone/kernel', which is code of the Hub"):
            read(str(folder))
    _edit(folder, "config.json", attn_implementation="eager")
    assert open_space(str(folder)).width == 32


def test_an_adapter_beside_a_model_is_refused(folder) -> None:
    _edit(folder, "adapter_config.json", base_model_name_or_path="elsewhere")
    with pytest.raises(BackboneError, match="expected a model, or a prompt folder, and not both"):
        open_space(str(folder))


def test_a_record_sets_how_a_text_is_cut_and_no_more() -> None:
    given = {"add_bos_token": True, "trust_remote_code": True, "vocab_file": "/x", "_from_auto": 1}
    assert tokenizer_options(given) == {"add_bos_token": True}


class _Tokenizer:
    chat_template = "{{ x }}"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def apply_chat_template(self, *_: object, **__: object) -> str:
        raise self.error


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division"), KeyError("x"), OverflowError(), RecursionError("deep")]
)
def test_a_chat_template_may_fail_in_any_way(error) -> None:
    with pytest.raises(TaskError, match=r"chat template of m: .*got one that fails \("):
        read_chat(_Tokenizer(error), "m")
