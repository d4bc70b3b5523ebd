"""One prompt that tasks share, each with factors of its own: `P_s = P ∘ (u_s v_sᵀ)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from promptport.parameters.optimiser import RowAdam
from promptport.parameters.parametrisation import Parametrisation, TrainedRows


class FactoredPrompts(Parametrisation):
    """A shared prompt times a matrix of rank one for each task (MPT: arXiv 2303.02861, Eq. 2).

    Args:
        shared: (n, d) to start from; changed in place.
        count: S tasks.
        factor_rate: learning rate of the factors, which start at 1, as a share of that of the
            shared prompt; 0 leaves them at 1, so that all tasks have the same prompt.
    """

    def __init__(self, shared: Tensor, count: int, factor_rate: float) -> None:
        length, width = shared.shape
        self.count = count
        self.shared = shared.requires_grad_(True)
        self.left = torch.ones(count, length, device=shared.device)  # u_s
        self.right = torch.ones(count, width, device=shared.device)  # v_s
        self.best = self._parts()
        self._adams = {"shared": RowAdam(self.shared)}
        trained = [TrainedRows(self._adams["shared"], torch.arange(length))]
        if factor_rate:
            first = torch.arange(count) * length  # the factors of a task go with its first row
            rate = torch.full((count, 1), factor_rate, dtype=torch.float64)
            for name in ("left", "right"):
                self._adams[name] = RowAdam(getattr(self, name).requires_grad_(True))
                trained.append(TrainedRows(self._adams[name], first, rate))
        self.trained: Sequence[TrainedRows] = trained

    def forward(self) -> tuple[Tensor, ...]:
        matrices = self.left[:, :, None] * self.right[:, None, :]  # (S, n, d)
        return ((self.shared * matrices).flatten(0, 1),)

    def step(
        self,
        tables: Sequence[Tensor],
        gradients: Sequence[Tensor],
        rates: Tensor,
        active: Tensor,
    ) -> None:
        """One update along the mean of the tasks' gradients."""
        super().step(tables, [own / self.count for own in gradients], rates, active)

    def keep(self, rows: slice) -> None:
        """Note all parts: the tasks are chosen together."""
        self.best = self._parts()

    def start(self) -> Tensor:
        """(n, d): the best shared prompt times the matrix of the mean factors."""
        shared, left, right = self.best
        return shared * (left.mean(0)[:, None] * right.mean(0))

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        shared, left, right = (
            part.detach().clone() for part in (self.shared, self.left, self.right)
        )
        return shared, left, right

    def state(self) -> dict[str, Tensor]:
        state = {"shared": self.shared, "left": self.left, "right": self.right}
        for name, adam in self._adams.items():
            state |= adam.state(f"{name}_")
        return state
