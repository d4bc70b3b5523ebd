"""From the Hub only the bytes of the embedding tensor are fetched; a local server counts them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.hub import HubServer, serving

from promptport.backbone import open_space
from promptport.backbone.checkpoint import tensor_from_stream
from promptport.backbone.hub import open_hub_file, whole_hub_file
from promptport.errors import FileFormatError

KEY = "model.embed_tokens.weight"
FILLER = 3_000_000  # larger than any block that a reader might fetch ahead
SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture(scope="module")
def checkpoint(model_folder, tmp_path_factory):
    """A sharded checkpoint whose embedding has large neighbours on both sides."""
    folder = tmp_path_factory.mktemp("hub") / "sharded"
    shutil.copytree(model_folder("llama"), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    around = {name: torch.zeros(FILLER, dtype=torch.uint8) for name in ("model.a", "model.z")}
    shards = {
        "model-00001-of-00002.safetensors": {k: v for k, v in tensors.items() if k != KEY},
        SHARD: {KEY: tensors[KEY], **around},
    }
    for file, content in shards.items():
        save_file(content, folder / file, metadata={"format": "pt"})
    index = {name: file for file, content in shards.items() for name in content}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


@pytest.fixture
def server(checkpoint):
    with serving() as running:
        running.repositories = {"made/sharded": checkpoint, "made/gated": checkpoint}
        running.gated = {"made/gated"}
        yield running


@pytest.fixture
def hub(server: HubServer, monkeypatch, tmp_path) -> HubServer:
    """The server in the place of the Hub, for this process."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return server


def header_bytes(path) -> int:
    with path.open("rb") as stream:
        return 8 + int.from_bytes(stream.read(8), "little")


SCRIPT = """
import json, sys
from promptport.backbone import open_space, silence_libraries
from promptport.errors import PromptPortError
silence_libraries()
space = open_space("made/sharded")
found = {"fingerprint": space.fingerprint, "words": dict(space.words), "errors": {}}
for name in ("made/gated", "made/missing"):
    try:
        open_space(name)
    except PromptPortError as error:
        found["errors"][name] = str(error)
print(json.dumps(found))
"""


@pytest.mark.long
def test_only_the_header_and_the_tensor_are_fetched(server, checkpoint, tmp_path) -> None:
    env = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_secret",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    local = open_space(str(checkpoint))
    assert found["fingerprint"] == local.fingerprint
    assert found["words"] == local.words
    assert server.bytes_of(".safetensors") == header_bytes(checkpoint / SHARD) + local.matrix.nbytes
    assert sum(server.served.values()) < local.matrix.nbytes + 50_000  # config, tokenizer, index
    assert not server.secrets, "the token went to another host"
    assert not list(tmp_path.rglob("*.safetensors"))
    for name, message in found["errors"].items():
        assert message.startswith(f"{name}: expected a model that can be loaded, got ")
        assert "\n" not in message
    assert "gated" in found["errors"]["made/gated"]
    assert "not a valid model identifier" in found["errors"]["made/missing"]


def read(checkpoint, name="made/sharded", file=SHARD):
    shape = tuple(open_space(str(checkpoint)).matrix.shape)
    with open_hub_file(name, file) as stream:
        return tensor_from_stream(stream, (KEY,), shape, file)


def test_a_broken_answer_is_read_on(hub, checkpoint) -> None:
    hub.cut = 2
    assert torch.equal(read(checkpoint), open_space(str(checkpoint)).matrix)
    assert hub.cut == 0
    expected = header_bytes(checkpoint / SHARD) + open_space(str(checkpoint)).matrix.nbytes
    assert hub.bytes_of(SHARD) == expected


def test_a_cached_file_is_not_fetched(hub, checkpoint) -> None:
    assert whole_hub_file("made/sharded", SHARD) is not None
    hub.served.clear()
    assert torch.equal(read(checkpoint), open_space(str(checkpoint)).matrix)
    assert not hub.bytes_of(".safetensors")


def test_a_server_without_ranges_is_refused(hub, checkpoint) -> None:
    hub.ignore_ranges = True
    with pytest.raises(OSError, match="does not serve byte ranges"):
        read(checkpoint)


def test_files_that_are_not_there(hub) -> None:
    assert open_hub_file("made/sharded", "model.safetensors") is None
    assert whole_hub_file("made/sharded", "pytorch_model.bin.index.json") is None


@pytest.mark.parametrize("ask", [open_hub_file, whole_hub_file])
@pytest.mark.parametrize(
    ("name", "reason"), [("made/gated", "gated repo"), ("made/missing", "Repository Not Found")]
)
def test_refusals_are_one_line(hub, ask, name, reason) -> None:
    with pytest.raises(OSError, match=reason) as caught:
        ask(name, SHARD)
    assert "\n" not in str(caught.value)


def test_offline(hub, monkeypatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="HF_HUB_OFFLINE") as caught:
        open_hub_file("made/sharded", SHARD)
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError):
        whole_hub_file("made/sharded", "model.safetensors.index.json")


def test_no_server(hub, monkeypatch) -> None:
    monkeypatch.setattr("promptport.backbone.hub._RETRIES", 0)
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(OSError, match="the Hub does not answer"):
        open_hub_file("made/sharded", SHARD)


def test_a_file_that_ends_too_early(hub, checkpoint, tmp_path) -> None:
    cut = (checkpoint / SHARD).read_bytes()[: header_bytes(checkpoint / SHARD) + 1000]
    (tmp_path / SHARD).write_bytes(cut)
    hub.repositories["made/cut"] = tmp_path
    with pytest.raises(FileFormatError, match="expected a whole safetensors file"):
        read(checkpoint, "made/cut")
