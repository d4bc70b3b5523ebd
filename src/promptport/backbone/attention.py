"""Attention whose gradient is quick on processors that compute in bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NAME = "promptport_sdpa"


def quicken(model: Any) -> None:
    """Let a bfloat16 model on a CPU attend in float32 where a gradient is wanted.

    The products of weights are ten times as fast in bfloat16 there, but the backward pass of
    scaled dot-product attention is five times as slow as in float32 (benchmarks/LOG.md). Models on
    other devices, in other types and with other attention stay as they are.

    Args:
        model: of transformers; changed in place.
    """
    weight = model.get_input_embeddings().weight
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
        return
    configs = [part.config for part in model.modules() if hasattr(part, "config")]
    if any(getattr(config, "_attn_implementation", None) != "sdpa" for config in configs):
        return  # a part of it attends otherwise
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """As transformers' own, in float32 where gradients flow."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    wanted = torch.is_grad_enabled() and query.requires_grad and query.device.type == "cpu"
    if not wanted:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return output, None
    # A mask may be numbers to add, and T5 adds more (`position_bias`).
    inputs = [query, key, value, attention_mask]
    output, _ = sdpa_attention_forward(
        module, *map(_widened, inputs), **{name: _widened(each) for name, each in options.items()}
    )
    return output.to(query.dtype), None


def _widened(value: Any) -> Any:
    """A tensor of numbers in float32; anything else as it is."""
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value
