"""TransferProblem: all that a transfer method may know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from promptport.errors import ShapeError
from promptport.relative import check_widths, encode_relative
from promptport.space import SpaceStatistics


@dataclass(frozen=True, eq=False)
class TransferProblem:
    """Vectors of the source space that want to be vectors of the target space.

    Attributes:
        vectors: (n, d_s) virtual tokens, source space.
        anchors_src: (k, d_s) rows of the shared words, source space.
        anchors_tgt: (k, d_t) rows of the same words, target space.
        stats_src: statistics of the source space.
        stats_tgt: statistics of the target space.
        generator: the only source of random numbers.
        mixture: (n, k) weights of the shared words, if it is a mixture prompt.
        rest: (n, d_s) what a mixture prompt holds beside its mixture, if anything.
        pair: names the two spaces and their anchors, for methods that keep what depends on nothing
            else.
        described: (n, k) description in place of the vectors' own: that of several sources.
        progress: called with (steps done, steps in all) by methods that iterate.

    Raises:
        ShapeError: the tensors do not fit together.
    """

    vectors: Tensor
    anchors_src: Tensor
    anchors_tgt: Tensor
    stats_src: SpaceStatistics
    stats_tgt: SpaceStatistics
    generator: torch.Generator
    mixture: Tensor | None = None
    rest: Tensor | None = None
    described: Tensor | None = None
    pair: tuple[str, ...] | None = None
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        check_widths(self.vectors, self.anchors_src)
        if self.anchors_tgt.ndim != 2 or len(self.anchors_src) != len(self.anchors_tgt):
            raise ShapeError(
                "anchors_tgt",
                expected=f"({len(self.anchors_src)}, d_t), a row per source anchor",
                got=str(tuple(self.anchors_tgt.shape)),
                fix="Take both matrices from one AnchorSet",
            )

    @cached_property
    def relative(self) -> Tensor:
        """(n, k) description of the virtual tokens by the source anchors, float32."""
        return self.describe(torch.float32)

    def describe(self, dtype: torch.dtype) -> Tensor:
        """The description (n, k) in the precision in which it is needed."""
        if self.described is not None:
            return self.described.to(dtype)
        return encode_relative(self.vectors.to(dtype), self.anchors_src)

    def reversed(self, vectors: Tensor, mixture: Tensor | None = None) -> TransferProblem:
        """The way back, from vectors (n, d_t) in the target space to the source space.

        Args:
            vectors: the ported prompt.
            mixture: (n, k) its weights of the shared words, if it is a mixture prompt.
        """
        return replace(
            self,
            vectors=vectors,
            anchors_src=self.anchors_tgt,
            anchors_tgt=self.anchors_src,
            stats_src=self.stats_tgt,
            stats_tgt=self.stats_src,
            mixture=mixture,
            described=None,
            rest=None,
            pair=None if self.pair is None else (self.pair[1], self.pair[0], *self.pair[2:]),
        )
