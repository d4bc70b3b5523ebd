"""Attention whose gradient is quick on processors that compute in bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


def attending(vectors: Tensor, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """Within it a bfloat16 model on a CPU attends in float32 where a gradient is wanted.

    The products of weights are several times as fast in bfloat16 there, but the backward pass of
    scaled dot-product attention is five times as slow as in float32 (benchmarks/LOG.md).
    Passes without a gradient, on other devices and in other types stay as they are.

    Args:
        vectors: the prompts of the pass.
        dtype: of the model.
    """
    wanted = torch.is_grad_enabled() and vectors.requires_grad
    if wanted and vectors.device.type == "cpu" and dtype == torch.bfloat16:
        return _Float32Attention()
    return contextlib.nullcontext()


class _Float32Attention(TorchFunctionMode):
    """Widens what attention is given, whoever calls it; the model keeps its type."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is not scaled_dot_product_attention:
            return func(*args, **named)
        query = args[0] if args else named["query"]
        if not query.requires_grad:
            return func(*args, **named)
        wide = func(*map(_widened, args), **{name: _widened(each) for name, each in named.items()})
        return wide.to(query.dtype)


def _widened(value: Any) -> Any:
    """A tensor of numbers in float32; anything else, a mask of truth values too, as it is."""
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value
