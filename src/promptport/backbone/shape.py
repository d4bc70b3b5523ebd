"""Sizes of a language model from its configuration alone: built without weights, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from promptport.backbone.kinds import Kind, detect_kind, model_class, text_config
from promptport.backbone.loading import find_checkpoint, load_config, one_line, trusts_code
from promptport.errors import BackboneError


@dataclass(frozen=True)
class Shape:
    """What a model of this configuration has, and multiplies.

    Attributes:
        name: of the model.
        kind: masked, causal or seq2seq.
        parameters: all of them; tied tables count once.
        width: numbers of a virtual token.
        hidden: width between the layers.
        inner: width inside the feed-forward part.
        gated: whether that part has a gate, and so three products in place of two.
        layers: that a token passes; of an encoder-decoder those of the encoder.
        decoder_layers: of an encoder-decoder; else 0.
        attention: numbers of all heads of a layer together.
        heads: of a layer.
        vocabulary: rows of the embedding table.
        trunk: weights that every token is multiplied by; shared layers count as often as they are
            passed, and of a decoder the products with the encoder's states count here.
        decoder: weights that every token of the answer is multiplied by in a decoder; else 0.
        head: weights that every scored position is multiplied by.
    """

    name: str
    kind: Kind
    parameters: int
    width: int
    hidden: int
    inner: int
    gated: bool
    layers: int
    decoder_layers: int
    attention: int
    heads: int
    vocabulary: int
    trunk: int
    decoder: int
    head: int


def read_shape(name: str, config: Mapping[str, Any] | None = None) -> Shape:
    """The shape of a model.

    Args:
        name: embedded name, local folder, GGUF file or Hub id; its weights are not read.
        config: values of a configuration, with its `model_type`, in place of one that is read.

    Raises:
        BackboneError: no configuration of a language model is found.
    """
    made = _made(name, config) if config is not None else load_config(find_checkpoint(name))
    kind = detect_kind(made, name)
    with one_line(name), torch.device("meta"):
        model = model_class(kind).from_config(made, trust_remote_code=trusts_code())
    inner = text_config(made)
    products = _products(model, inner)
    heads = _first(inner, name, "num_attention_heads", "n_head", "num_heads")
    hidden = _first(inner, name, "hidden_size", "n_embd", "d_model")
    per_head = getattr(inner, "head_dim", None) or getattr(inner, "d_kv", None) or hidden // heads
    layers = _first(inner, name, "num_hidden_layers", "n_layer", "num_layers")
    table = model.get_input_embeddings().weight
    return Shape(
        name,
        kind,
        sum(p.numel() for p in model.parameters()),
        int(table.shape[1]),
        hidden,
        _first(inner, name, "intermediate_size", "d_ff", "n_inner", default=4 * hidden),
        any(path.endswith((".gate_proj", ".wi_1")) for path, _ in model.named_modules()),
        layers,
        (getattr(inner, "num_decoder_layers", None) or layers) if kind == "seq2seq" else 0,
        heads * per_head,
        heads,
        int(table.shape[0]),
        *products,
    )


def _made(name: str, config: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    values = {key: value for key, value in config.items() if key != "model_type"}
    with one_line(name):
        return AutoConfig.for_model(str(config.get("model_type")), **values)


def _first(config: Any, name: str, *keys: str, default: int | None = None) -> int:
    """The first of these values that a configuration has: architectures name them differently."""
    for key in keys:
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
    if default is not None:
        return default
    raise BackboneError(
        name,
        expected=f"a configuration with {' or '.join(keys)}",
        got=f"one of {getattr(config, 'model_type', 'an unknown architecture')} without",
        fix="Name another model",
    )


def _products(model: Any, config: Any) -> tuple[int, int, int]:
    """Weights of linear maps: trunk, decoder, head."""
    base = model.base_model
    within = {id(module) for module in base.modules()}
    out = model.get_output_embeddings()
    groups = getattr(config, "num_hidden_groups", None)  # ALBERT passes one group many times
    times = 1 if not groups else config.num_hidden_layers // groups
    trunk = decoder = head = 0
    for path, module in model.named_modules():
        if not (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"):
            continue
        size = module.weight.numel()
        if module is out or id(module) not in within:
            head += size
        elif "decoder." in path and not path.endswith(("EncDecAttention.k", "EncDecAttention.v")):
            decoder += size
        else:
            trunk += size * (times if "layer_groups" in path else 1)
    return trunk, decoder, head
