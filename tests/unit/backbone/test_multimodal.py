"""Models of images and text, used with text alone: the class of Gemma 3 from 4B on."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from tests.models import WIDTH, unigram

from promptport.backbone import Backbone, describe_backbone, open_space
from promptport.tasks import Template


def _configs(tokens: int) -> tuple[hf.Gemma3TextConfig, hf.Gemma3Config]:
    text = {
        "vocab_size": tokens,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    whole = hf.Gemma3Config(
        text_config={**text, "model_type": "gemma3_text"},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=tokens - 1,
        boi_token_index=tokens - 2,
        eoi_token_index=tokens - 3,
    )
    return hf.Gemma3TextConfig(**text), whole


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folders of a model of text and of one of images and text with the same text weights."""
    tokenizer = unigram("llama")
    text_config, config = _configs(len(tokenizer) + 3)
    torch.manual_seed(0)
    text = hf.Gemma3ForCausalLM(text_config).eval()
    whole = hf.Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        text.get_input_embeddings().weight.mul_(10)
    whole.model.language_model.load_state_dict(text.model.state_dict())
    folders = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("whole")
    for model, folder in zip((text, whole), folders, strict=True):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folders


def test_the_embedding_is_found_under_the_name_that_the_file_has(pair, tmp_path) -> None:
    text, whole = pair
    names = load_file(whole / "model.safetensors").keys()
    assert "language_model.model.embed_tokens.weight" in names  # as on the Hub, else no test
    asked = open_space(text)
    assert open_space(whole).fingerprint == asked.fingerprint
    assert open_space(whole).scale == asked.scale != 1
    tensors = load_file(whole / "model.safetensors")
    hf.AutoConfig.from_pretrained(whole).save_pretrained(tmp_path)
    hf.AutoTokenizer.from_pretrained(whole).save_pretrained(tmp_path)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert open_space(tmp_path).fingerprint == asked.fingerprint


def test_shards_under_other_names(pair, tmp_path) -> None:
    text, whole = pair
    model = hf.AutoModelForCausalLM.from_pretrained(whole)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    hf.AutoTokenizer.from_pretrained(whole).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert "language_model.model.embed_tokens.weight" in index["weight_map"]
    assert open_space(tmp_path).fingerprint == open_space(text).fingerprint


@pytest.mark.long
def test_the_whole_model_answers_as_its_text_part(pair) -> None:
    models = [Backbone.load(folder, device="cpu", dtype="float32") for folder in pair]
    texts = ["a great film", "a bad story of the river", "the dog"]
    template = Template.parse("{soft} {text} It was {answer}")
    vectors = models[0].space.rows([5, 6, 7])
    logits, written = [], []
    for model in models:
        good = model.layout.answer_ids(["good"] * 3)
        rows = model.layout.encode(template, [{"text": t} for t in texts], good, 3)
        logits.append(model.answer_logits(rows, vectors, [0, 0, 0]))
        written.append(model.generate(rows, vectors, [0, 0, 0]))
        assert model.kind == "causal"
        assert model.max_tokens == 64
        assert model.states.works
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)
    assert written[0] == written[1]


def test_its_layers_are_told(pair) -> None:
    described = describe_backbone(str(pair[1]))
    assert described["layers"] == 2
    assert described["architecture"] == "Gemma3ForConditionalGeneration"


def test_a_rounded_model_reads_its_space_from_the_file(pair) -> None:
    rounded = Backbone.load(pair[1], device="cpu", dtype="bfloat16")
    assert rounded.space.fingerprint == open_space(pair[0]).fingerprint
