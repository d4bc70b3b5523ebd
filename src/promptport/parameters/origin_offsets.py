"""Tuning over several origins at once: one task prompt vector for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.parameters.origins import OriginSpec, make_origin

Row = TypeVar("Row")


class HasOrigins(Protocol):
    """What is asked of a job: the length of its prompt, and the origins that it starts from."""

    @property
    def length(self) -> int: ...

    @property
    def origin(self) -> OriginSpec: ...

    @property
    def origins(self) -> int: ...


class OriginOffsets:
    """The further origins of jobs that have several: copies of their rows, moved by offsets.

    A prompt on origin i is the one on the first origin, moved by `P_i - P_0 (n, d)`. The copies
    stand behind all prompts in the table that rows point into, and their gradients add up in the
    rows that are tuned.

    Attributes:
        index: (M,) rows that are copied.
        offsets: (M, d) what is added to them.
    """

    def __init__(
        self, backbone: Backbone, jobs: Sequence[HasOrigins], starts: Sequence[int]
    ) -> None:
        index: list[int] = []
        offsets: list[Tensor] = []
        self._places: dict[int, list[int]] = {}
        behind = sum(job.length for job in jobs)
        for job, start in zip(jobs, starts, strict=True):
            self._places[start] = [start]
            if job.origins == 1:
                continue
            first, *others = (
                make_origin(spec, backbone, job.length) for spec in job.origin.others(job.origins)
            )
            for other in others:
                self._places[start].append(behind + len(index))
                index += range(start, start + job.length)
                offsets.append(other - first)
        self.index = torch.tensor(index, device=backbone.device)
        self.offsets = torch.cat(offsets).to(backbone.device) if offsets else None

    def table(self, vectors: Tensor) -> Tensor:
        """All prompts (N, d) and behind them the moved copies: (N + M, d)."""
        if self.offsets is None:
            return vectors
        return torch.cat([vectors, vectors[self.index] + self.offsets])

    def draw(self, start: int, rows: int, seed: int, step: int) -> list[int]:
        """Where the prompts of the rows of a step stand: a function of seed and step alone, so that
        a run can resume."""
        places = self._places[start]
        if len(places) == 1:
            return places * rows
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = torch.randint(len(places), (rows,), generator=generator).tolist()
        return [places[i] for i in drawn]

    def deal(self, start: int, rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
        """Rows of dev with the places of their prompts, which take turns."""
        places = self._places[start]
        for i, row in enumerate(rows):
            yield row, places[i % len(places)]
