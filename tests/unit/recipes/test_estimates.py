"""Sizes, memory and operations from configurations, against models that are built and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from promptport import zoo
from promptport.backbone import Backbone
from promptport.backbone.kinds import detect_kind, model_class
from promptport.backbone.loading import find_checkpoint, load_config
from promptport.errors import BackboneError, TuningError
from promptport.recipes.estimates import Load, estimate, passes, row_flops, shape_of
from promptport.recipes.shapes import SHAPES

NANO = ["nano-bert", "nano-roberta", "nano-albert", "nano-gpt2", "nano-llama", "nano-t5"]
ZOO = Path(zoo.__file__).parent


@pytest.mark.long
@pytest.mark.parametrize("name", NANO)
def test_parameters_of_embedded_models_are_exact(name):
    model = Backbone.load(name).model
    shape = shape_of(name)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.vocabulary, shape.width) == tuple(model.get_input_embeddings().weight.shape)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as transformers' models of these configurations have them, known from their model cards
        ("gpt2", 124_439_808),
        ("openai-community/gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("google-t5/t5-base", 222_903_552),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("deepseek-ai/deepseek-llm-7b-chat", 6_910_365_696),
        ("bert-base-cased", 108_340_804),
        ("FacebookAI/roberta-base", 124_697_433),
        ("roberta-large", 355_412_057),
        # base models of the cards, without their pooler and with the head of a masked model
        ("bert-large-cased", 333_579_264 - 1_049_600 + 1_080_644),
        ("albert-base-v2", 11_683_584 - 590_592 + 128_688),
        ("albert-large-v2", 17_683_968 - 1_049_600 + 161_456),
    ],
)
def test_parameters_of_the_papers_models(name, parameters):
    shape = shape_of(name)
    assert shape.parameters == parameters
    assert estimate(shape, Load(dtype="bfloat16")).weights == 2 * parameters


@pytest.mark.long
def test_every_shape_can_be_built():
    kinds = {name: shape_of(name).kind for name in SHAPES}
    assert {kinds[name] for name in kinds if "bert" in name} == {"masked"}
    assert kinds["t5-base"] == "seq2seq"
    assert kinds["gpt2-xl"] == kinds["llama-3.1-8b"] == "causal"


def run(name, tokens=64, rows=2, attention="eager"):
    """Operations of a forward and backward pass, and numbers kept per token and layer."""
    config = load_config(find_checkpoint(name))
    kind = detect_kind(config, name)
    model = model_class(kind).from_config(config, attn_implementation=attention).float().eval()
    model.requires_grad_(False)
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept = {}  # keeps the tensors, so that no storage is used twice

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    embedded = torch.randn(rows, tokens, shape_of(name).width, requires_grad=True)
    inputs = {"inputs_embeds": embedded, "attention_mask": torch.ones(rows, tokens).long()}
    if kind == "seq2seq":
        inputs["decoder_input_ids"] = torch.zeros(rows, 1).long()
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**inputs).logits.float().sum().backward()
    numbers = sum(t.untyped_storage().nbytes() for t in kept.values()) / 4
    return counter.get_total_flops(), numbers / (rows * tokens * shape_of(name).layers)


@pytest.mark.parametrize("name", NANO)
def test_operations_are_those_of_torch_s_counter(name):
    shape = shape_of(name)
    tokens, rows = 64, 2
    answers = 1 if shape.kind == "seq2seq" else tokens  # the counter's head sees every token
    counted, _ = run(name)
    assert rows * row_flops(shape, tokens, answers) == pytest.approx(counted, rel=0.005)


@pytest.mark.parametrize("name", NANO)
def test_activations_are_within_a_third_of_what_is_kept(name):
    shape = shape_of(name)
    _, kept = run(name, attention="sdpa")
    load = Load(length=4, text=60, batch=2)
    guessed = estimate(shape, load).activations / (4 * 128 * shape.layers)
    assert kept / 1.34 < guessed < kept * 1.34


def test_what_grows_with_what():
    shape = shape_of("nano-llama")
    one = estimate(shape, Load(prompts=1, length=8, batch=4, text=56))
    many = estimate(shape, Load(prompts=6, length=8, batch=4, text=56))
    assert many.flops == 6 * one.flops
    assert many.prompts == 6 * one.prompts == 6 * 4 * 4 * 8 * shape.width
    assert many.weights == one.weights
    assert many.activations == 6 * one.activations  # 24 rows of 64 tokens are one pass
    most = estimate(shape, Load(prompts=600, length=8, batch=4, text=56))
    assert most.activations == 128 * one.activations / 4  # a pass holds 128 rows
    assert passes(Load(prompts=600, length=8, batch=4, text=56)) == 19
    assert one.memory == one.weights + one.prompts + one.activations + one.logits
    assert one.to_dict()["memory"] == one.memory
    assert one.seconds(100, 1e9) == pytest.approx(100 * one.flops / 1e9)
    half = estimate(shape, Load(length=8, batch=4, text=56, dtype="bfloat16"))
    assert (2 * half.weights, 2 * half.activations) == (one.weights, one.activations)
    assert half.logits == one.logits == 3 * 4 * 4 * 8000


def test_a_folder_with_a_configuration_alone(tmp_path):
    config = json.loads((ZOO / "nano-gpt2" / "config.json").read_text())
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps(config))
    found = shape_of(str(tmp_path / "gpt2"))  # the folder, not the model of this name
    assert found.parameters == shape_of("nano-gpt2").parameters
    assert found.parameters < 3_000_000


def test_what_cannot_be_estimated(tmp_path):
    with pytest.raises(BackboneError, match="folder with config.json"):
        shape_of(str(tmp_path))
    with pytest.raises(TuningError, match="batch: expected 1 or more, got 0"):
        Load(batch=0)
    with pytest.raises(TuningError, match="dtype: expected one of float32.*got 'int8'"):
        Load(dtype="int8")
