"""Muon for the hidden matrices, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedModel

from .architectures import embedding_rate, word_embedding
from .config import TrainingConfig

AGAIN_RAMP = 0.1e6  # tokens over which open rows come back


def orthogonalize(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """Nearest (semi-)orthogonal matrices by a quintic Newton-Schulz iteration. (k, m, n)

    Works in the precision of its input: torch.optim.Muon casts to bfloat16, which is many
    times slower than float32 on processors without bfloat16 units.
    """
    wide = matrices.shape[-1] >= matrices.shape[-2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT  # (k, m, m)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.mT


class Muon(Optimizer):
    """Momentum, orthogonalised (Jordan et al. 2024), for two-dimensional weights."""

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, momentum: float = 0.95
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[weight.shape].append(weight)
            for weights in by_shape.values():
                self._step_shape(weights, group["lr"], group["momentum"])

    def _step_shape(self, weights: list[nn.Parameter], lr: float, momentum: float) -> None:
        updates = []
        for weight in weights:
            state = self.state[weight]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - momentum)
            updates.append(weight.grad.lerp(state["momentum"], momentum))  # Nesterov
        directions = orthogonalize(torch.stack(updates))
        rows, columns = weights[0].shape
        scale = lr * max(1.0, rows / columns) ** 0.5
        for weight, direction in zip(weights, directions, strict=True):
            weight.add_(direction, alpha=-scale)


def make_optimizers(model: PreTrainedModel, training: TrainingConfig) -> list[Optimizer]:
    """One optimiser for hidden matrices, one for embeddings (decayed), norms and biases."""
    table = word_embedding(model)
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    hidden, rest = [], []
    for weight in model.parameters():
        if weight is table:
            continue
        is_hidden = weight.ndim == 2 and id(weight) not in embeddings
        (hidden if is_hidden else rest).append(weight)
    rate = embedding_rate(model)
    groups = [
        {
            "params": [table],
            "lr": training.table_lr * rate,
            "weight_decay": training.weight_decay / rate,  # AdamW multiplies it by the rate
        },
        {"params": rest, "weight_decay": 0.0},
    ]
    adam = AdamW(groups, lr=training.adam_lr, betas=(0.9, 0.98), eps=1e-8, fused=True)
    return [Muon(hidden, lr=training.muon_lr), adam]


def rate_factor(tokens: int, training: TrainingConfig, *, is_table: bool = False) -> float:
    """Learning-rate factor: linear warm-up, flat, lower with the open rows, linear to zero.

    Word embeddings fall less, from a rate that is low from the start.
    """
    warm = tokens / training.warmup if training.warmup else 1.0
    later_rate = training.later_table_rate if is_table else training.later_rate
    later = 1 - (1 - later_rate) * open_weight(tokens, training)
    left = (training.tokens - tokens) / (training.decay_share * training.tokens)
    return min(1.0, warm) * later * min(1.0, max(left, 0.0))


def open_weight(tokens: int, training: TrainingConfig) -> float:
    """Weight of the loss of the open rows: from nothing to one, linearly, twice if asked."""
    if tokens >= training.again_until:
        return min(1.0, (tokens - training.again_until) / AGAIN_RAMP)
    if tokens >= training.again_from:
        return 0.0
    share = (tokens - training.open_from) / max(training.open_full - training.open_from, 1.0)
    return min(1.0, max(share, 0.0))


@torch.no_grad()
def recentre(model: nn.Module) -> None:
    """Take the mean row out of the embedding table.

    A vector common to all rows changes no prediction of a tied head (all logits move together),
    and position embeddings or norms absorb it at the input; but Adam, which pushes every rare
    token in the same direction, lets it grow until it dominates every cosine between words.
    """
    table = word_embedding(model)
    table -= table.mean(dim=0, keepdim=True)
