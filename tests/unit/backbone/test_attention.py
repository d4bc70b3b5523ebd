"""Attention in float32 inside bfloat16 models: the same answers, and the gradient of the model."""

from __future__ import annotations

import contextlib

import pytest
import torch
from tests.models import ARCHITECTURES, save_model
from torch.overrides import TorchFunctionMode

from promptport.backbone import Backbone, attention, causal_states, model
from promptport.backbone.encoded import EncodedRow
from promptport.errors import BackboneError

TEXTS = ["Paris is the capital of France", "it was a great film and a good story"]
OF_ITS_OWN = {"deberta"}  # computes attention without torch's function


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp(request.param) / request.param)


class Watch(TorchFunctionMode):
    """Notes the types in which attention is computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.seen.add((args[0] if args else kwargs["query"]).dtype)
        return func(*args, **(kwargs or {}))


def rows_of(backbone):
    made = []
    for text in TEXTS:
        ids = tuple(backbone.tokenizer(text, add_special_tokens=False)["input_ids"])
        decoder = (backbone.special.decoder_start,) if backbone.kind == "seq2seq" else ()
        scored = (0,) if decoder else (len(ids) + 1,)
        made.append(EncodedRow((0, 0, *ids), (0, 1), scored, (5,), decoder))
    return made


def gradient(backbone, vectors):
    leaf = vectors.clone().requires_grad_(True)
    logits = backbone.plain_logits(rows_of(backbone), leaf, [0, 0]).float()[..., :20]
    (logits * torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)).sum().backward()
    return leaf.grad


def test_answers_are_the_same_and_gradients_those_of_the_model(folder, monkeypatch):
    backbone = Backbone.load(str(folder), dtype="bfloat16")
    exact = Backbone.load(str(folder), dtype="float32")
    vectors = torch.randn(2, backbone.width, generator=torch.Generator().manual_seed(3))
    with Watch() as watch, torch.no_grad():
        made = backbone.plain_logits(rows_of(backbone), vectors, [0, 0])
    right = gradient(exact, vectors)
    with Watch() as training:
        quick = gradient(backbone, vectors)
    monkeypatch.setattr(model, "attending", lambda *_: contextlib.nullcontext())
    with torch.no_grad():
        assert torch.equal(made, backbone.plain_logits(rows_of(backbone), vectors, [0, 0]))
    plain = gradient(backbone, vectors)
    assert float((quick - right).norm() / right.norm()) < 0.05
    if folder.name in OF_ITS_OWN:
        assert watch.seen == training.seen == set()
    else:
        assert watch.seen == {torch.bfloat16}
        # A decoder's first attention does not see the prompt, which is in the encoder.
        first = {torch.bfloat16} if backbone.kind == "seq2seq" else set()
        assert training.seen == {torch.float32} | first
        assert not torch.equal(quick, plain)


def test_passes_behind_a_kept_text_attend_so_too(tmp_path):
    backbone = Backbone.load(str(save_model("llama", tmp_path / "model")), dtype="bfloat16")
    ids = tuple(backbone.tokenizer(TEXTS[1], add_special_tokens=False)["input_ids"])
    rows = [EncodedRow((*ids, 0, 0, 7), (len(ids), len(ids) + 1), (len(ids) + 2,), (5,))]
    leaf = torch.randn(2, backbone.width).requires_grad_(True)
    with backbone.keeping_texts():
        backbone.answer_logits(rows, leaf, [0])
        with Watch() as watch:
            backbone.answer_logits(rows, leaf, [0])
    assert watch.seen == {torch.float32}
    assert causal_states.attending is attention.attending


def test_other_types_stay_as_they_are(tmp_path):
    backbone = Backbone.load(str(save_model("llama", tmp_path / "model")), dtype="float32")
    leaf = torch.randn(2, backbone.width).requires_grad_(True)
    assert isinstance(attention.attending(leaf, backbone.dtype), contextlib.nullcontext)
    assert isinstance(attention.attending(leaf.detach(), torch.bfloat16), contextlib.nullcontext)
    assert not isinstance(attention.attending(leaf, torch.bfloat16), contextlib.nullcontext)


def test_a_variable_says_what_auto_is(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setenv("PROMPTPORT_DTYPE", "bfloat16")
    assert model.choose_dtype("auto", cpu) == torch.bfloat16
    assert model.choose_dtype("float32", cpu) == torch.float32
    monkeypatch.setenv("PROMPTPORT_DTYPE", "float31")
    with pytest.raises(BackboneError, match=r"PROMPTPORT_DTYPE: .*got 'float31'. Correct it, or"):
        model.choose_dtype("auto", cpu)
    for value in ("", "auto"):
        monkeypatch.setenv("PROMPTPORT_DTYPE", value)
        assert model.choose_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
