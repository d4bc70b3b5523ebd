"""Whether a model's weights are at hand is told from its files, without loading it."""

from __future__ import annotations

import json
from shutil import copytree

import pytest
from safetensors.torch import load_file, save_file
from tests.models import ARCHITECTURES

from promptport.backbone import weights_at_hand
from promptport.errors import BackboneError, FileFormatError


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_whole_models(model_folder, name) -> None:
    seen = weights_at_hand(str(model_folder(name)))
    assert (seen.lacks, seen.local) == (None, True)
    assert seen.size > 0


def test_embedded_and_hub() -> None:
    assert weights_at_hand("nano-bert").lacks is None
    hub = weights_at_hand("somebody/model")
    assert (hub.lacks, hub.local, hub.size) == (None, False, 0)
    with pytest.raises(BackboneError, match="does not exist"):
        weights_at_hand("/nowhere/model")


def test_tables_alone(model_folder, tmp_path) -> None:
    folder = tmp_path / "model"
    copytree(model_folder("llama"), folder)
    tensors = load_file(folder / "model.safetensors")
    tables = {name: value for name, value in tensors.items() if "embed" in name}
    assert 0 < len(tables) < len(tensors)
    save_file(tables, folder / "model.safetensors", metadata={"format": "pt"})
    seen = weights_at_hand(str(folder))
    assert f"has the weights of {len(tables)} of " in seen.lacks
    (folder / "model.safetensors").unlink()
    assert "without weights" in weights_at_hand(str(folder)).lacks


def test_a_missing_shard(model_folder, tmp_path) -> None:
    folder = tmp_path / "model"
    copytree(model_folder("bert"), folder)
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    shards = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    assert "lacks b.safetensors (1 of 2 weight files)" in weights_at_hand(str(folder)).lacks
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises((BackboneError, FileFormatError), match="weight_map"):
        weights_at_hand(str(folder))
