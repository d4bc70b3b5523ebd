"""Attention in float32 inside bfloat16 models: the same answers, and the gradient of the model."""

from __future__ import annotations

import pytest
import torch
from tests.models import ARCHITECTURES, save_model

from promptport.backbone import Backbone
from promptport.backbone.attention import quicken
from promptport.backbone.encoded import EncodedRow

TEXTS = ["Paris is the capital of France", "it was a great film and a good story"]


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def folder(request, tmp_path_factory):
    return save_model(request.param, tmp_path_factory.mktemp(request.param) / "model")


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


def test_answers_are_the_same_and_gradients_those_of_the_model(folder):
    plain = Backbone.load(str(folder), dtype="bfloat16")
    implementation = plain.model.config._attn_implementation
    if implementation == "promptport_sdpa":  # as opened
        plain.model.set_attn_implementation("sdpa")
    quick = Backbone.load(str(folder), dtype="bfloat16")
    exact = Backbone.load(str(folder), dtype="float32")
    vectors = torch.randn(2, plain.width, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = plain.plain_logits(rows_of(plain), vectors, [0, 0])
        made = quick.plain_logits(rows_of(quick), vectors, [0, 0])
    assert torch.equal(made, wanted)
    right = gradient(exact, vectors)
    errors = [float((gradient(b, vectors) - right).norm() / right.norm()) for b in (quick, plain)]
    assert errors[0] < 0.05
    assert errors[0] < 1.5 * errors[1] + 1e-3


def test_most_architectures_are_quickened_in_bfloat16_alone(tmp_path):
    folder = save_model("llama", tmp_path / "model")
    assert Backbone.load(str(folder), dtype="float32").model.config._attn_implementation == "sdpa"
    model = Backbone.load(str(folder), dtype="bfloat16").model
    assert model.config._attn_implementation == "promptport_sdpa"
    model.set_attn_implementation("eager")
    quicken(model)
    assert model.config._attn_implementation == "eager"
