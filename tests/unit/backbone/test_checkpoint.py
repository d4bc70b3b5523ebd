"""Reading only the embedding tensor: files, shards, .bin, renamed keys, damage, little memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model
from tests.models import ARCHITECTURES

from promptport.backbone import Backbone, open_space
from promptport.backbone.loading import find_checkpoint
from promptport.errors import BackboneError, FileFormatError
from promptport.storage import load_prompt, save_prompt
from promptport.tuning import random_prompt


@pytest.fixture
def copied(model_folder, tmp_path):
    def copy(name):
        folder = tmp_path / name
        shutil.copytree(model_folder(name), folder)
        return folder

    return copy


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_shards(model_folder, backbone, tmp_path, name) -> None:
    folder = tmp_path / name
    model = backbone(name)
    model.model.save_pretrained(folder, max_shard_size="20KB")
    model.tokenizer.save_pretrained(folder)
    assert (folder / "model.safetensors.index.json").exists()
    assert open_space(str(folder)).fingerprint == model.space.fingerprint


def test_a_folder_given_as_a_path_is_named_by_its_text(model_folder, tmp_path) -> None:
    folder = model_folder("bert")
    assert isinstance(folder, Path)
    model = Backbone.load(folder, device="cpu")
    assert model.name == str(folder) == open_space(folder).backbone
    prompt = random_prompt(model, 2, 0)
    assert load_prompt(save_prompt(prompt, tmp_path / "P")).provenance.backbone == str(folder)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_pickled_checkpoints_are_read_as_tensors_only(backbone, copied, name) -> None:
    folder = copied(name)
    (folder / "model.safetensors").unlink()
    torch.save(backbone(name).model.state_dict(), folder / "pytorch_model.bin")
    assert open_space(str(folder)).fingerprint == backbone(name).space.fingerprint


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_one_name_for_tied_tensors(backbone, copied, name) -> None:
    """safetensors.save_model keeps one name of tied tensors and notes the others in the header."""
    folder = copied(name)
    save_model(backbone(name).model, str(folder / "model.safetensors"))
    assert open_space(str(folder)).fingerprint == backbone(name).space.fingerprint


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_names_without_the_prefix_of_the_base_model(backbone, copied, name) -> None:
    folder = copied(name)
    prefix = backbone(name).model.base_model_prefix + "."
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k.removeprefix(prefix): v for k, v in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert open_space(str(folder)).fingerprint == backbone(name).space.fingerprint


def test_code_in_a_pickle_is_not_run(copied, tmp_path) -> None:
    folder = copied("gpt2")
    (folder / "model.safetensors").unlink()
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save({"transformer.wte.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(
        FileFormatError, match=r"tensors only .* Convert the checkpoint to safetensors"
    ):
        open_space(str(folder))
    assert not marker.exists()


def test_a_cut_off_file(copied) -> None:
    folder = copied("bert")
    path = folder / "model.safetensors"
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    path.write_bytes(path.read_bytes()[: header + 100])
    with pytest.raises(
        FileFormatError, match=r"model\.safetensors: expected a whole safetensors file"
    ):
        open_space(str(folder))


def test_half_precision_files_have_the_fingerprint_of_their_rounded_values(
    backbone, copied
) -> None:
    folder = copied("bert")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v.half() for k, v in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    space = open_space(str(folder))
    assert space.matrix.dtype == torch.float16
    assert Backbone.load(str(folder), dtype="float32").space.fingerprint == space.fingerprint
    # Loaded in bfloat16, weights are rounded once more: the space still is that of the file.
    assert Backbone.load(str(folder), dtype="bfloat16").space.fingerprint == space.fingerprint


def test_other_embeddings_have_another_fingerprint(backbone, copied) -> None:
    folder = copied("bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["bert.embeddings.word_embeddings.weight"][7, 3] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert open_space(str(folder)).fingerprint != backbone("bert").space.fingerprint


@pytest.mark.slow
def test_memory_depends_on_the_table_not_on_the_model(copied) -> None:
    """A checkpoint of 600 MB with an embedding of 0.06 MB must not cost hundreds of megabytes."""
    folder = copied("llama")
    tensors = load_file(folder / "model.safetensors")
    index = {name: "model-00001.safetensors" for name in tensors}
    save_file(tensors, folder / "model-00001.safetensors", metadata={"format": "pt"})
    save_file({"filler": torch.zeros(150_000_000)}, folder / "model-00002.safetensors")
    index["filler"] = "model-00002.safetensors"
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    code = (
        "import resource, sys\n"
        "from promptport.backbone import open_space\n"
        "import transformers, torch\n"
        "open_space(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "open_space(sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    small = copied("gpt2")
    done = subprocess.run(
        [sys.executable, "-c", code, str(small), str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    grown = int(done.stdout.split()[-1]) * (1 if sys.platform == "linux" else 1 / 1024)
    assert grown < 100_000, f"{grown} kB"


def test_names(tmp_path, model_folder) -> None:
    assert find_checkpoint("nano-bert").local
    assert not find_checkpoint("some/hub-id").local
    assert find_checkpoint(str(model_folder("bert"))).folder == model_folder("bert")
    with pytest.raises(BackboneError, match=r"a model folder with config\.json"):
        find_checkpoint(str(tmp_path))
    with pytest.raises(BackboneError, match="a path that does not exist"):
        find_checkpoint("./nowhere")
    with pytest.raises(BackboneError, match="a model that can be loaded"):
        open_space("unreachable/model")


def test_architectures_without_a_language_model_are_refused(tmp_path) -> None:
    import transformers as hf

    hf.ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="expected a masked, causal or sequence-to-sequence"):
        open_space(str(tmp_path))
