"""The backbones as standard transformers classes, and their losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from .batches import IGNORED, Batch
from .config import BackboneConfig

CLASSES: dict[str, tuple[type, type]] = {
    "bert": (BertConfig, BertForMaskedLM),
    "roberta": (RobertaConfig, RobertaForMaskedLM),
    "albert": (AlbertConfig, AlbertForMaskedLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "t5": (T5Config, T5ForConditionalGeneration),
}
# transformers starts T5 embeddings at a deviation of 1, made for Adafactor's relative steps.
T5_EMBEDDING_SCALE = 0.4


def build_model(config: BackboneConfig, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A fresh backbone; its weights depend on the seed alone."""
    torch.manual_seed(config.seed)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        **config.model,
    }
    for name in ("bos_token_id", "eos_token_id"):
        settings[name] = getattr(tokenizer, name)
    if config.architecture == "roberta":
        # Position ids start behind the padding id.
        settings["max_position_embeddings"] = config.data.positions + tokenizer.pad_token_id + 1
        settings["type_vocab_size"] = 1
    elif config.architecture in ("bert", "albert", "llama"):
        settings["max_position_embeddings"] = config.data.positions
    elif config.architecture == "gpt2":
        settings["n_positions"] = config.data.positions
    elif config.architecture == "t5":
        settings["decoder_start_token_id"] = tokenizer.pad_token_id
    make_settings, make_model = CLASSES[config.architecture]
    model = make_model(make_settings(**settings))
    if config.architecture == "t5":
        with torch.no_grad():
            word_embedding(model).mul_(T5_EMBEDDING_SCALE)
    return model


def batch_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean cross-entropy of the predicted tokens; the head runs at those positions only."""
    labels = batch["labels"]
    if isinstance(model, T5ForConditionalGeneration):
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
        return model(**inputs).loss
    names = ("input_ids", "attention_mask", "position_ids")
    hidden = model.base_model(**{name: batch[name] for name in names})[0]  # (B, T, d)
    if is_causal(model):
        hidden, labels = hidden[:, :-1], labels[:, 1:]
        wanted = labels != IGNORED
        losses = functional.cross_entropy(
            model.get_output_embeddings()(hidden[wanted]), labels[wanted], reduction="none"
        )
        weights = batch["weights"][:, 1:][wanted]
        return (losses * weights).sum() / weights.sum()
    wanted = labels != IGNORED
    heads = {"bert": "cls", "albert": "predictions", "roberta": "lm_head"}
    head = getattr(model, heads[model.config.model_type])
    return functional.cross_entropy(head(hidden[wanted]), labels[wanted])


def is_causal(model: PreTrainedModel) -> bool:
    """Whether a model predicts the next token."""
    return isinstance(model, GPT2LMHeadModel | LlamaForCausalLM)


def word_embedding(model: PreTrainedModel) -> nn.Parameter:
    """The embedding table, tied to the head. (V, d)"""
    return model.get_input_embeddings().weight


def embedding_rate(model: PreTrainedModel) -> float:
    """How much larger the steps of the embedding table must be than those of other models.

    The tied head of T5 divides by the root of the width, so its rows must grow longer by that
    factor before they say the same.
    """
    if isinstance(model, T5ForConditionalGeneration):
        return float(model.config.d_model**0.5)
    return 1.0
