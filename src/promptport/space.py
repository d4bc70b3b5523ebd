"""EmbeddingSpace: the input rows of one backbone, its words and statistics, without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from promptport.errors import ShapeError

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class SpaceStatistics:
    """Statistics over the trained rows of an embedding matrix.

    Attributes:
        mean: scalar mean over all entries.
        std: scalar standard deviation over all entries (population).
        mean_norm: mean length of a row.
        centre: (d,) mean row.
        dimension_std: (d,) standard deviation per dimension (population).
    """

    mean: float
    std: float
    mean_norm: float
    centre: Tensor
    dimension_std: Tensor


@dataclass(frozen=True)
class EmbeddingSpace:
    """Input rows and vocabulary of one backbone.

    Attributes:
        backbone: Hub id, local folder or embedded name.
        matrix: (V, d) embedding weights in the dtype of the checkpoint.
        tokens: V' <= V token strings by id, as the tokenizer writes them; rows beyond are
        untrained. words: word -> id for words that are exactly one word-initial token.
        dropped: why the other tokens are no words: reason -> count.
        scale: factor between weights and input rows (Gemma, BART), else 1.
        kind: `masked`, `causal` or `seq2seq`, where known.
        revision: Hub revision, where known.
    """

    backbone: str
    matrix: Tensor
    tokens: tuple[str, ...]
    words: Mapping[str, int]
    dropped: Mapping[str, int]
    scale: float = 1.0
    kind: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or not self.matrix.is_floating_point():
            raise ShapeError(
                "embedding matrix",
                expected="a floating-point tensor (V, d)",
                got=f"{self.matrix.dtype} {tuple(self.matrix.shape)}",
                fix="Name the checkpoint of a language model",
            )

    @property
    def width(self) -> int:
        """d: width of an input row."""
        return self.matrix.shape[1]

    @property
    def trained_rows(self) -> int:
        """Rows that a token of the tokenizer can reach; padding rows beyond are untrained."""
        return min(len(self.tokens), self.matrix.shape[0])

    def rows(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Input rows (len(ids), d), float32, scaled as the backbone sees them."""
        index = torch.as_tensor(ids, dtype=torch.long)
        return self.matrix[index].float() * self.scale

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """All trained input rows in blocks: (first id, rows (<= 8192, d) float32)."""
        for start in range(0, self.trained_rows, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, self.trained_rows)
            yield start, self.matrix[start:stop].float() * self.scale

    @cached_property
    def fingerprint(self) -> str:
        """Hash of shape, values and scale: equal for equal input rows, whatever the file.

        Half-precision files and their float32 copies agree; a fine-tuned embedding does not.
        """
        digest = hashlib.sha256(f"{tuple(self.matrix.shape)}|{self.scale:.6g}".encode())
        for start in range(0, self.matrix.shape[0], BLOCK_ROWS):
            block = self.matrix[start : start + BLOCK_ROWS].float().cpu()
            digest.update(block.contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    @cached_property
    def statistics(self) -> SpaceStatistics:
        """Statistics over the trained rows, in float64 sums, block by block."""
        count, norms = 0, 0.0
        total = torch.zeros(self.width, dtype=torch.float64)
        squares = torch.zeros(self.width, dtype=torch.float64)
        for _, block in self.blocks():
            rows = block.double()
            count += rows.shape[0]
            total += rows.sum(0)
            squares += rows.square().sum(0)
            norms += float(rows.norm(dim=1).sum())
        centre = total / count
        variance = (squares / count - centre.square()).clamp_min(0)
        mean = float(centre.mean())
        std = float((squares.mean() / count - mean**2).clamp_min(0).sqrt())
        return SpaceStatistics(mean, std, norms / count, centre.float(), variance.sqrt().float())

    def nearest(self, vectors: Tensor, top: int = 3) -> list[list[tuple[str, float]]]:
        """The tokens whose rows have the largest cosine to each vector.

        Args:
            vectors: (n, d) in this space.
            top: tokens per vector, 1 or more.

        Returns:
            For each vector, (token, cosine) in falling order.
        """
        best_values = torch.full((vectors.shape[0], top), -2.0)
        best_ids = torch.zeros((vectors.shape[0], top), dtype=torch.long)
        unit = torch.nn.functional.normalize(vectors.float(), dim=1)
        for start, block in self.blocks():
            cosines = unit @ torch.nn.functional.normalize(block, dim=1).T  # (n, block)
            values = torch.cat([best_values, cosines], dim=1)
            ids = torch.cat(
                [best_ids, torch.arange(start, start + block.shape[0]).expand(len(unit), -1)], dim=1
            )
            best_values, order = values.topk(top, dim=1)
            best_ids = ids.gather(1, order)
        return [
            [(self.tokens[int(i)], float(c)) for i, c in zip(row, values, strict=True)]
            for row, values in zip(best_ids, best_values, strict=True)
        ]
