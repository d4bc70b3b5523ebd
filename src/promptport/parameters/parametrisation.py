"""What is trained, and the tables of virtual tokens that it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.parameters.optimiser import RowAdam


@dataclass(frozen=True)
class TrainedRows:
    """Numbers that are trained row by row, each row as a row of the table is.

    Attributes:
        adam: the numbers (R, c) and the state of their optimiser.
        rows: (R,) which row of the table each row belongs to; None if they are the table's rows.
        rate: (R, 1) learning rate as a share of that of the table's row; None for the same.
    """

    adam: RowAdam
    rows: Tensor | None = None
    rate: Tensor | None = None

    def step(self, gradient: Tensor, rates: Tensor, active: Tensor) -> None:
        """One update; `rates` and `active` (N, 1) are those of the table."""
        if self.rows is not None:
            rates, active = rates[self.rows], active[self.rows]
        if self.rate is not None:
            rates = self.rate * rates.to(self.rate.dtype)
        numbers = self.adam.vectors
        self.adam.step(gradient, rates.to(numbers.device, numbers.dtype), active.to(numbers.device))


class Parametrisation(ABC):
    """Trained numbers and the tables that they make, one for each backbone that shares them.

    Attributes:
        trained: the numbers.
    """

    trained: Sequence[TrainedRows]

    @abstractmethod
    def forward(self) -> tuple[Tensor, ...]:
        """For each backbone the table (N, d) of all virtual tokens, made of the numbers."""

    @torch.no_grad()
    def tables(self) -> tuple[Tensor, ...]:
        """The tables as they are now, without gradients."""
        return tuple(table.detach() for table in self.forward())

    def step(
        self,
        tables: Sequence[Tensor],
        gradients: Sequence[Tensor],
        rates: Tensor,
        active: Tensor,
    ) -> None:
        """One update along the mean gradient of the tables.

        Args:
            tables: what `forward` gave.
            gradients: (N, d) of the loss, for each table.
            rates: (N, 1) learning rate of each row of the tables, on the CPU.
            active: (N, 1) bool, on the CPU; other rows stay as they are, whatever their gradient.
        """
        numbers = [own.adam.vectors for own in self.trained]
        total: list[Tensor] = []
        for table, gradient in zip(tables, gradients, strict=True):
            used = torch.where(active.to(gradient.device), gradient, 0)
            parts = torch.autograd.grad(table, numbers, used)
            total = [a + b for a, b in zip(total, parts, strict=True)] if total else list(parts)
        for own, gradient in zip(self.trained, total, strict=True):
            own.step(gradient / len(tables), rates, active)
        self.limit()

    def limit(self) -> None:  # noqa: B027 - most have nothing to limit
        """Bring the numbers back into their range after an update."""

    def keep(self, rows: slice) -> None:  # noqa: B027 - most are told by the table alone
        """Note the numbers behind some rows of the table as their best so far."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that an unfinished run depends on, by name; restored in place."""


class FreeVectors(Parametrisation):
    """The virtual tokens themselves.

    Args:
        vectors: (N, d); changed in place.
        weight_decay: decoupled, 0 or more.
    """

    def __init__(self, vectors: Tensor, weight_decay: float = 0.0) -> None:
        self.vectors = vectors.requires_grad_(True)
        self.adam = RowAdam(self.vectors, weight_decay)
        self.trained: Sequence[TrainedRows] = [TrainedRows(self.adam)]

    def forward(self) -> tuple[Tensor, ...]:
        return (self.vectors,)

    def state(self) -> dict[str, Tensor]:
        return {"vectors": self.vectors, **self.adam.state()}
