"""The same tensors and texts are the same bytes."""

from __future__ import annotations

import torch
from safetensors import safe_open

from promptport.files import tensor_bytes


def test_texts_of_a_header_are_in_order(tmp_path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
    texts = {f"text {i}": "é" * i for i in range(20)}
    made = {tensor_bytes(tensors, texts) for _ in range(20)}
    assert len(made) == 1
    file = tmp_path / "a.safetensors"
    file.write_bytes(made.pop())
    with safe_open(file, framework="pt") as stream:
        assert stream.metadata() == {"format": "pt", **texts}
        for name, tensor in tensors.items():
            assert torch.equal(stream.get_tensor(name), tensor)
            assert stream.get_tensor(name).dtype == tensor.dtype
    assert int.from_bytes(file.read_bytes()[:8], "little") % 8 == 0


def test_no_tensors() -> None:
    assert tensor_bytes({}) == tensor_bytes({})
