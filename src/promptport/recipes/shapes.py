"""Configurations of the papers' models, so that their sizes are known where no network is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _bert(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "vocab_size": 28_996,
    }


def _roberta(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    rows = {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}
    return _bert(hidden, layers, heads) | rows | {"model_type": "roberta"}


def _albert(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    own = {"model_type": "albert", "embedding_size": 128, "vocab_size": 30_000}
    return _bert(hidden, layers, heads) | own


def _gpt2(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "vocab_size": 50_257,
    }


def _llama(inner: int, layers: int, key_heads: int, vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": 4_096,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 32,
        "num_key_value_heads": key_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
    }


_T5_BASE = {
    "model_type": "t5",
    "d_model": 768,
    "d_ff": 3_072,
    "d_kv": 64,
    "num_layers": 12,
    "num_heads": 12,
    "vocab_size": 32_128,
}

# By the last part of the Hub id, in lower case.
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "t5-base": _T5_BASE,
    "llama-3.1-8b": _llama(14_336, 32, 8, 128_256),
    "deepseek-llm-7b-chat": _llama(11_008, 30, 32, 102_400),
    "bert-base-cased": _bert(768, 12, 12),
    "bert-large-cased": _bert(1_024, 24, 16),
    "roberta-base": _roberta(768, 12, 12),
    "roberta-large": _roberta(1_024, 24, 16),
    "albert-base-v2": _albert(768, 12, 12),
    "albert-large-v2": _albert(1_024, 24, 16),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1_024, 24, 16),
    "gpt2-large": _gpt2(1_280, 36, 20),
    "gpt2-xl": _gpt2(1_600, 48, 25),
}
_SAME = {
    "llama-3.1-8b-instruct": "llama-3.1-8b",
    "meta-llama-3.1-8b": "llama-3.1-8b",
    "meta-llama-3.1-8b-instruct": "llama-3.1-8b",
    "deepseek-llm-7b-base": "deepseek-llm-7b-chat",
}


def known_config(name: str) -> Mapping[str, Any] | None:
    """The configuration of one of these models, with or without its organisation; else None."""
    last = name.rsplit("/", 1)[-1].lower()
    return SHAPES.get(_SAME.get(last, last))
