"""GGUF files with prompts in their vocabulary: everything else is as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader
from tests.tiny_gguf import write_gemma, write_llama
from tests.unit.engines.conftest import BEHIND

from promptport.backbone import Backbone, append_tokens, open_space, read_header, read_table
from promptport.engines import export_prompts, find_engine
from promptport.engines.exporting import beside
from promptport.errors import BackboneError, MismatchError, PromptPortError
from promptport.storage import load_prompt

ERROR = {Type.F32: 1e-7, Type.F16: 1e-3, Type.Q8_0: 1e-2, Type.Q4_0: 0.15}


def grown(tmp_path, kind=Type.Q8_0, write=write_llama, **changes):
    write(tmp_path / "base.gguf", kind, **changes)
    header = read_header(tmp_path / "base.gguf")
    rows = torch.randn(3, header.embedding.shape[1], generator=torch.Generator().manual_seed(0))
    made = append_tokens(header, tmp_path / "new.gguf", rows, ["<|a-0|>", "<|a-1|>", "<|a-2|>"])
    return header, rows, made


@pytest.mark.parametrize("kind", ERROR, ids=lambda kind: kind.name)
def test_rows_and_nothing_else(tmp_path, kind):
    header, rows, made = grown(tmp_path, kind)
    new = read_header(tmp_path / "new.gguf")
    count = header.embedding.shape[0]
    assert (made.first_id, made.kept_type, made.head) == (count, True, True)
    table = read_table(new, new.embedding, torch.float32)
    assert table.shape[0] == count + 3
    assert ((table[count:] - rows).norm() / rows.norm()) < ERROR[kind]
    old, now = (GGUFReader(tmp_path / name) for name in ("base.gguf", "new.gguf"))
    theirs = {tensor.name: tensor for tensor in old.tensors}
    for tensor in now.tensors:
        data = (
            tensor.data[:count]
            if tensor.name in ("token_embd.weight", "output.weight")
            else tensor.data
        )
        assert np.array_equal(data, theirs[tensor.name].data), tensor.name
    head = next(tensor for tensor in new.tensors if tensor.name == "output.weight")
    assert read_table(new, head, torch.float32)[count:].abs().max() == 0
    grew = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "llama.vocab_size"}
    assert list(old.fields) == list(now.fields)
    for key, field in old.fields.items():
        same = field.contents() == now.fields[key].contents()
        assert same is (key not in grew and not key.startswith("GGUF.")) or key.startswith(
            "GGUF."
        ), key
    assert now.fields["tokenizer.ggml.tokens"].contents()[count:] == [
        "<|a-0|>",
        "<|a-1|>",
        "<|a-2|>",
    ]
    assert now.fields["tokenizer.ggml.token_type"].contents()[count:] == [3, 3, 3]
    assert now.fields["llama.vocab_size"].contents() == count + 3


def test_scores_of_sentencepiece(tmp_path):
    header, _, made = grown(tmp_path, write=write_gemma)
    now = GGUFReader(tmp_path / "new.gguf")
    assert len(now.fields["tokenizer.ggml.scores"].contents()) == header.embedding.shape[0] + 3
    assert made.head is False


def test_a_type_that_cannot_be_written_becomes_f16(tmp_path, monkeypatch):
    import gguf.quants

    write_llama(tmp_path / "base.gguf")

    def cannot(_rows, _kind):
        raise NotImplementedError

    monkeypatch.setattr(gguf.quants, "quantize", cannot)
    header = read_header(tmp_path / "base.gguf")
    rows = torch.randn(3, header.embedding.shape[1])
    made = append_tokens(header, tmp_path / "new.gguf", rows, ["<|a|>", "<|b|>", "<|c|>"])
    assert (made.table_type, made.kept_type) == ("F16", False)
    new = read_header(tmp_path / "new.gguf")
    table = read_table(new, new.embedding, torch.float32)
    old = read_table(header, header.embedding, torch.float32)
    count = len(old)
    assert torch.allclose(table[:count], old, rtol=1e-3, atol=1e-4)
    assert torch.allclose(table[count:], rows, rtol=1e-3, atol=1e-4)


def test_names_that_are_taken(tmp_path):
    write_llama(tmp_path / "base.gguf")
    header = read_header(tmp_path / "base.gguf")
    with pytest.raises(BackboneError, match="expected a vocabulary that can grow, with new names"):
        append_tokens(header, tmp_path / "new.gguf", torch.zeros(1, 64), ["a"])
    assert [file.name for file in tmp_path.iterdir()] == ["base.gguf"]


@pytest.mark.long
@pytest.mark.parametrize("write", [write_llama, write_gemma])
def test_the_file_answers_as_the_backbone_does(write, tmp_path, saved):
    write(tmp_path / "base.gguf", Type.F32)
    model = Backbone.load(tmp_path / "base.gguf", dtype="float32", device="cpu")
    folder = saved(model, template=BEHIND)
    made = export_prompts(
        [folder], find_engine("gguf"), tmp_path / "X.gguf", python=Path(sys.executable)
    )
    item, prompt = made.material.items[0], load_prompt(folder)
    new = Backbone.load(tmp_path / "X.gguf", dtype="float32", device="cpu")
    rows = new.embed(torch.tensor([list(item.ids)]))[0]
    assert torch.allclose(rows, prompt.vectors, atol=1e-5)  # Gemma's scale is in the model
    assert beside(made.place, ".md").read_text().count("logit_bias") == 1
    assert beside(made.place, ".json").is_file()


@pytest.mark.long
def test_the_model_in_another_format(tmp_path, saved):
    model = write_llama(tmp_path / "base.gguf", Type.Q8_0)
    write_llama(tmp_path / "exact.gguf", Type.F32)
    folder = saved(Backbone.load(tmp_path / "exact.gguf", dtype="float32", device="cpu"))
    engine, python = find_engine("gguf"), Path(sys.executable)
    base = str(tmp_path / "base.gguf")
    made = export_prompts([folder], engine, tmp_path / "X.gguf", base=base, python=python)
    assert made.manifest["model"] == "base.gguf"
    assert made.manifest["table"] == "Q8_0"
    with pytest.raises(MismatchError, match="--base: expected the model that the prompt belongs"):
        export_prompts([folder], engine, tmp_path / "Y.gguf", base="nano-gpt2", python=python)
    write_gemma(tmp_path / "gemma.gguf")
    other = str(tmp_path / "gemma.gguf")
    with pytest.raises(MismatchError, match="carry the prompt"):
        export_prompts([folder], engine, tmp_path / "Y.gguf", base=other, python=python)
    assert model is not None
    assert open_space(base).width == 64


def test_places_that_are_taken(tmp_path, saved, backbone):
    engine, python = find_engine("gguf"), Path(sys.executable)
    folder = saved(backbone("gpt2"))
    with pytest.raises(PromptPortError, match="--base: expected the model as a GGUF file"):
        export_prompts([folder], engine, tmp_path / "X.gguf", python=python)
    with pytest.raises(PromptPortError, match=r"--out: expected a file X\.gguf"):
        export_prompts([folder], engine, tmp_path / "X", python=python)
    (tmp_path / "X.gguf").write_text("mine")
    with pytest.raises(PromptPortError, match="which is there"):
        export_prompts([folder], engine, tmp_path / "X.gguf", python=python)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["P", "X.gguf"]
    for name, text in (("Y.gguf.md", "mine"), ("Y.gguf.json", "{}")):
        (tmp_path / name).write_text(text)
        with pytest.raises(PromptPortError, match=rf"{name}, which is there"):
            export_prompts([folder], engine, tmp_path / "Y.gguf", python=python)
        assert (tmp_path / name).read_text() == text
        (tmp_path / name).unlink()
    (tmp_path / "Y.gguf.md").write_text("ours")
    (tmp_path / "Y.gguf.json").write_text('{"written_by": "promptport 0.1.0"}')
    with pytest.raises(PromptPortError, match="--base: expected the model as a GGUF file"):
        export_prompts([folder], engine, tmp_path / "Y.gguf", python=python)
