"""AdamW over the rows of many prompts at once, each prompt with its own state and learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class RowAdam:
    """AdamW (decoupled weight decay) for prompts stacked in one (N, d) tensor.

    One instance does for all prompts: moments are kept per entry, the number of updates and the
    learning rate per row, so a prompt that has stopped is simply left alone. `torch.optim.AdamW`
    has one rate and one count of updates for a tensor: every prompt would need a tensor of its own,
    and some hundred small operations a step instead of ten. Its roundings differ too, which was
    seen to change the epoch that is chosen among equal ones.

    Args:
        vectors: (N, d) float32; changed in place by `step`.
        weight_decay: 0 or more.
    """

    def __init__(self, vectors: Tensor, weight_decay: float = 0.0) -> None:
        self.vectors = vectors
        self.weight_decay = weight_decay
        self.first = torch.zeros_like(vectors, requires_grad=False)
        self.second = torch.zeros_like(vectors, requires_grad=False)
        self.updates = torch.zeros(vectors.shape[0], 1, device=vectors.device)

    @torch.no_grad()
    def step(self, gradient: Tensor, rates: Tensor, active: Tensor) -> None:
        """Update the active rows.

        Args:
            gradient: (N, d).
            rates: (N, 1) learning rate of each row.
            active: (N, 1) bool; other rows and their state stay as they are.
        """
        gradient = torch.where(active, gradient, 0)  # a failed prompt may hold NaN
        self.updates += active
        self._blend(self.first, gradient, BETAS[0], active)
        self._blend(self.second, gradient.square(), BETAS[1], active)
        count = self.updates.clamp_min(1)
        mean = self.first / (1 - BETAS[0] ** count)
        spread = (self.second / (1 - BETAS[1] ** count)).sqrt_().add_(EPSILON)
        change = rates * (mean / spread + self.weight_decay * self.vectors)
        self.vectors.sub_(torch.where(active, change, 0))

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """Moments and counts by name, to be saved and restored in place."""
        state = {"first": self.first, "second": self.second, "updates": self.updates}
        return {prefix + name: tensor for name, tensor in state.items()}

    @staticmethod
    def _blend(state: Tensor, value: Tensor, beta: float, active: Tensor) -> None:
        state.copy_(torch.where(active, torch.lerp(value, state, beta), state))
