"""Mixture prompts: each virtual token is a mixture of words, so the prompt can be carried.

`P = W A` with weights `W (n, k)`, rows on the simplex, and the input rows `A (k, d)` of the same
words in any backbone: the same weights give the prompt in another backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.errors import AnchorError, ShapeError
from promptport.space import EmbeddingSpace

# A virtual token that loses more of its weight than this with the words that a target lacks says
# something else there.
MINIMUM_KEPT = 0.05


@dataclass(frozen=True)
class Mixture:
    """Weights of words for every virtual token.

    Attributes:
        words: k different words.
        weights: (n, k) float32, not negative, every row sums to 1.

    Raises:
        ShapeError: other shapes or values.
    """

    words: tuple[str, ...]
    weights: Tensor

    def __post_init__(self) -> None:
        weights = self.weights.detach().to(dtype=torch.float32, device="cpu").contiguous().clone()
        object.__setattr__(self, "weights", weights)
        fits = weights.ndim == 2 and weights.shape[1] == len(self.words) == len(set(self.words))
        if not fits or not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
            raise ShapeError(
                "mixture",
                expected=f"weights (n, {len(self.words)}) >= 0 of different words",
                got=str(tuple(weights.shape)),
                fix="Restore the file from its source",
            )
        if not torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-3):
            raise ShapeError(
                "mixture",
                expected="rows that sum to 1",
                got=f"sums {weights.sum(1).tolist()[:3]}",
                fix="Restore the file from its source",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mixture):
            return NotImplemented
        return self.words == other.words and torch.equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Mixture({len(self.weights)} virtual tokens of {len(self.words)} words)"

    def vectors(self, space: EmbeddingSpace) -> Tensor:
        """The prompt in a space that has all the words: (n, d).

        Raises:
            AnchorError: a word is no single token there; use `kept_in` first.
        """
        missing = [word for word in self.words if word not in space.all_words]
        if missing:
            raise AnchorError(
                "mixture",
                expected=f"words that are single tokens of {space.backbone}",
                got=f"{len(missing)} others ({missing[0]!r})",
                fix="Transfer the prompt instead",
            )
        return self.weights @ space.rows([space.all_words[word] for word in self.words])

    def over(self, words: Mapping[str, int]) -> tuple[Tensor, Tensor]:
        """The weights on other words, in their order, scaled to sum to 1.

        Args:
            words: word -> column.

        Returns:
            Weights (n, len(words)) and the share (n,) of each row's weight that was on them.

        Raises:
            AnchorError: a virtual token has hardly any weight on them.
        """
        placed = torch.zeros(len(self.weights), len(words))
        own = [i for i, word in enumerate(self.words) if word in words]
        placed[:, [words[self.words[i]] for i in own]] = self.weights[:, own]
        kept = placed.sum(1)
        if bool((kept < MINIMUM_KEPT).any()):
            worst = int(kept.argmin())
            raise AnchorError(
                f"virtual token {worst + 1}",
                expected=f"at least {MINIMUM_KEPT:.0%} of its weight on shared words",
                got=f"{float(kept[worst]):.1%}",
                fix="Choose another pair of backbones or more anchors",
            )
        return placed / kept[:, None], kept

    def readable(self, top: int = 4) -> list[list[tuple[str, float]]]:
        """For each virtual token, its heaviest words with their weights, falling."""
        values, indices = self.weights.topk(min(top, len(self.words)), dim=1)
        return [
            [(self.words[int(i)], float(v)) for v, i in zip(row, ids, strict=True)]
            for row, ids in zip(values, indices, strict=True)
        ]
