"""Prompts that came as rows alone: read as they are, or one line that says what the file is."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from promptport.backbone import open_space
from promptport.errors import PromptPortError
from promptport.storage import (
    is_bare_tensor,
    load_portable,
    load_prompt,
    prompt_of_tensor,
    save_prompt,
)


@pytest.fixture(scope="module")
def space():
    return open_space("nano-gpt2")


@pytest.fixture
def rows(space):
    return torch.randn(3, space.width, generator=torch.Generator().manual_seed(0))


def write(folder, rows):
    """The same rows in every format."""
    np.save(folder / "a.npy", rows.numpy())
    torch.save(rows, folder / "b.pt")
    torch.save({"step": 3, "prompt": rows}, folder / "c.bin")
    torch.save([rows.half()], folder / "d.pt")
    save_file({"soft": rows}, folder / "e.safetensors")
    return sorted(folder.iterdir())


@pytest.mark.long
def test_rows_are_taken_as_they_are(tmp_path, rows, space):
    for file in write(tmp_path, rows):
        assert is_bare_tensor(file), file
        prompt = prompt_of_tensor(file, space)
        near = 1e-2 if file.name == "d.pt" else 0
        torch.testing.assert_close(prompt.vectors, rows, atol=near, rtol=0)
        assert prompt.provenance.fingerprint == space.fingerprint
        assert prompt.provenance.history == ({"step": "import", "source": file.name},)


@pytest.mark.long
def test_they_become_a_prompt_folder(tmp_path, rows, space):
    np.save(tmp_path / "a.npy", rows.numpy())
    made = prompt_of_tensor(tmp_path / "a.npy", space)
    assert load_prompt(save_prompt(made, tmp_path / "P")) == made


def test_where_a_prompt_is_expected_the_line_names_the_format(tmp_path, rows):
    told = {
        "a.npy": "a NumPy array",
        "b.pt": "torch pickle",
        "c.bin": "torch pickle",
        "d.pt": "torch pickle",
        "e.safetensors": "tensors alone",
    }
    for file in write(tmp_path, rows):
        for read in (load_prompt, load_portable):
            with pytest.raises(PromptPortError) as caught:
                read(file)
            text = str(caught.value)
            assert told[file.name] in text
            assert f"promptport import {file} --to MODEL" in text
            assert "damaged" not in text
            assert "\n" not in text


def test_gguf_where_a_prompt_is_expected(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF\3\0\0\0")
    for read in (load_prompt, load_portable):
        with pytest.raises(PromptPortError, match="a GGUF file, which is a model. Give it as --ba"):
            read(tmp_path / "model.gguf")


def test_another_width(tmp_path, space):
    np.save(tmp_path / "a.npy", np.zeros((3, 7), dtype=np.float32))
    with pytest.raises(PromptPortError, match=r"as those of nano-gpt2, got \(3, 7\)"):
        prompt_of_tensor(tmp_path / "a.npy", space)


def test_no_single_matrix(tmp_path, space):
    for values in (torch.zeros(3), {"a": torch.zeros(2, 2), "b": torch.zeros(2, 2)}, "text", []):
        torch.save(values, tmp_path / "a.pt")
        with pytest.raises(PromptPortError, match="expected one matrix"):
            prompt_of_tensor(tmp_path / "a.pt", space)
    np.save(tmp_path / "a.npy", np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(PromptPortError, match="expected one matrix"):
        prompt_of_tensor(tmp_path / "a.npy", space)


def test_pickles_of_objects_are_not_opened(tmp_path, space):
    torch.save({"module": torch.nn.Embedding(2, 2)}, tmp_path / "a.bin")
    with pytest.raises(PromptPortError, match="would run code.*numpy.save"):
        prompt_of_tensor(tmp_path / "a.bin", space)
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(PromptPortError, match="a whole NumPy array of numbers"):
        prompt_of_tensor(tmp_path / "a.npy", space)


def test_cut_off(tmp_path, rows, space):
    np.save(tmp_path / "a.npy", rows.numpy())
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:200])
    torch.save(rows, tmp_path / "b.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "b.pt").read_bytes()[:200])
    (tmp_path / "c.bin").write_bytes(pickle.dumps([1, 2])[:5])
    for name in ("a.npy", "b.pt", "c.bin"):
        with pytest.raises(PromptPortError, match="expected") as caught:
            prompt_of_tensor(tmp_path / name, space)
        assert "\n" not in str(caught.value)


def test_a_safetensors_file_may_begin_like_a_pickle(tmp_path, rows, space):
    """One in 32 does: the length of its header stands first."""
    file, words = tmp_path / "a.safetensors", 0
    while not file.is_file() or file.read_bytes()[:1] != b"\x80":
        words += 1
        save_file({"soft": rows}, file, metadata={"x": "a" * 8 * words})
    assert torch.equal(prompt_of_tensor(file, space).vectors, rows)
    save_file({"soft": rows}, file, metadata={"promptport": "{}", "x": "a" * 8 * words})
    data = file.read_bytes()
    file.write_bytes(b"\x80" + data[1:])
    assert not is_bare_tensor(file), "a portable file, whatever its header's length"
