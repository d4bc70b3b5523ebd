"""EmbeddingSpace: the input rows of one backbone, its words and statistics, without the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from promptport.errors import ShapeError

BLOCK_ROWS = 8192
# Wide rows come in smaller blocks: one of them takes 16 MB at most, in float64.
_BLOCK_ENTRIES = 2**21


def block_rows(width: int) -> int:
    """Rows of a width to work on at once."""
    return max(1, min(BLOCK_ROWS, _BLOCK_ENTRIES // max(1, width)))


def row_blocks(rows: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows (k, d) in the wanted precision, one after the other; at least one.

    The rows of large backbones take gigabytes: blocks spare copies of all of them, and
    `RowsOnDemand` are gathered block by block.
    """
    size = block_rows(rows.shape[1])
    for start in range(0, max(1, len(rows)), size):
        part = slice(start, start + size)
        yield part, rows[part].to(dtype)


def _gather(table: Tensor, ids: Tensor, scale: float) -> Tensor:
    out = torch.empty(len(ids), table.shape[1], dtype=torch.float32, device=table.device)
    size = block_rows(table.shape[1])
    for start in range(0, len(ids), size):  # no second copy on the way
        part = slice(start, start + size)
        out[part] = table[ids[part]]
    return out.mul_(scale)


class RowsOnDemand(Tensor):
    """Rows of a table as a float32 tensor (k, d) that is gathered where it is used.

    Slices along one dimension and picks by index gather what they name; any other operation
    gathers all for its time. So an algorithm that works on slices never has more than one of them
    in memory, and one that does not gives the same numbers. It cannot be changed.
    """

    _table: Tensor
    _ids: Tensor
    _scale: float

    @staticmethod
    def __new__(cls: type[RowsOnDemand], table: Tensor, ids: Tensor, scale: float) -> RowsOnDemand:
        shape = (len(ids), table.shape[1])
        made: RowsOnDemand = Tensor._make_wrapper_subclass(
            cls, shape, dtype=torch.float32, device=table.device
        )
        made._table, made._ids, made._scale = table, ids, scale
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        first = args[0] if args else None
        if isinstance(first, cls):
            if func._schema.is_mutable:
                raise RuntimeError("rows on demand cannot be changed in place")
            if func is torch.ops.aten.detach.default:
                return first
            if func is torch.ops.aten.slice.Tensor:
                return first._slice(*args[1:])
            if func is torch.ops.aten.index.Tensor and len(args[1]) == 1:
                ids = first._ids[args[1][0]]
                rows = _gather(first._table, ids.flatten(), first._scale)
                return rows.reshape(*ids.shape, -1)
        args, kwargs = tree_map_only(
            cls, lambda rows: _gather(rows._table, rows._ids, rows._scale), (args, kwargs or {})
        )
        return func(*args, **kwargs)

    def _slice(
        self, dim: int = 0, start: int | None = None, stop: int | None = None, step: int = 1
    ) -> Tensor:
        part = slice(start, stop, step)
        if dim == 0:
            return _gather(self._table, self._ids[part], self._scale)
        return _gather(self._table[:, part], self._ids, self._scale)


@dataclass(frozen=True)
class SpaceStatistics:
    """Statistics over the trained rows of an embedding matrix.

    Attributes:
        mean: scalar mean over all entries.
        std: scalar standard deviation over all entries (population).
        mean_norm: mean norm of a row.
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
        tokens: V' token strings by id, as the tokenizer writes them; usually V' <= V, and rows
            beyond are untrained.
        words: word -> id for words that are exactly one word-initial token.
        dropped: why the other tokens are no words: reason -> count.
        scale: factor between weights and input rows (Gemma, BART), else 1.
        kind: `masked`, `causal` or `seq2seq`, where known.
        revision: Hub revision, where known.
        outer_scale: the part of `scale` that stands outside the embedding module (Pegasus), else 1.
        file: name, SHA-256 and quantisation of the GGUF file that it comes from, if it does.
        unspaced: word -> id for words of scripts without spaces (Chinese, Japanese, Thai), as they
            stand inside a text; among `words` only where they are most of the words.
    """

    backbone: str
    matrix: Tensor
    tokens: tuple[str, ...]
    words: Mapping[str, int]
    dropped: Mapping[str, int]
    scale: float = 1.0
    kind: str | None = None
    revision: str | None = None
    outer_scale: float = 1.0
    file: Mapping[str, str] | None = None
    unspaced: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or not self.matrix.is_floating_point():
            raise ShapeError(
                "embedding matrix",
                expected="a floating-point tensor (V, d)",
                got=f"{self.matrix.dtype} {tuple(self.matrix.shape)}",
                fix="Name the checkpoint of a language model",
            )

    def __repr__(self) -> str:
        kind = "" if self.kind is None else f"{self.kind}, "
        rows, width = self.matrix.shape
        return (
            f"EmbeddingSpace({self.backbone}: {kind}{rows} rows, {width} wide, "
            f"{len(self.words)} words)"
        )

    @property
    def file_record(self) -> dict[str, Any] | None:
        """What prompts remember of the GGUF file; None if there is none."""
        return None if self.file is None else dict(self.file)

    @property
    def width(self) -> int:
        """d: width of an input row."""
        return self.matrix.shape[1]

    @property
    def trained_rows(self) -> int:
        """Rows that a token of the tokenizer can reach; padding rows beyond are untrained."""
        return min(len(self.tokens), self.matrix.shape[0])

    @property
    def tokens_without_row(self) -> tuple[str, ...]:
        """Tokens beyond the matrix, which the backbone cannot read: its tokenizer grew alone."""
        return self.tokens[self.matrix.shape[0] :]

    @cached_property
    def all_words(self) -> Mapping[str, int]:
        """Word -> id of `words` and `unspaced` together; a word of both has the id of `words`."""
        return {**self.unspaced, **self.words}

    def rows(self, ids: Sequence[int] | Tensor) -> Tensor:
        """Input rows (len(ids), d), float32, scaled as the backbone sees them."""
        index = torch.as_tensor(ids, dtype=torch.long)
        return _gather(self.matrix, index, self.scale)

    def rows_on_demand(self, ids: Tensor) -> Tensor:
        """What `rows` gives, without taking memory as long as only parts of it are used."""
        return RowsOnDemand(self.matrix, ids, self.scale)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """All trained input rows in blocks: (first id, rows (<= 8192, d) float32)."""
        size = self._block_rows
        for start in range(0, self.trained_rows, size):
            stop = min(start + size, self.trained_rows)
            yield start, self.matrix[start:stop].float() * self.scale

    @property
    def _block_rows(self) -> int:
        return block_rows(self.width)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of shape, values and scale: equal for equal input rows, whatever the file.

        Half-precision files and their float32 copies agree; a fine-tuned embedding does not.
        """
        digest = hashlib.sha256(f"{tuple(self.matrix.shape)}|{self.scale:.6g}".encode())
        for start in range(0, self.matrix.shape[0], self._block_rows):
            block = self.matrix[start : start + self._block_rows].float().cpu()
            digest.update(block.contiguous().numpy().data)
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
        nearest = self.nearest_ids(vectors, top)
        return [[(self.tokens[i], cosine) for i, cosine in row] for row in nearest]

    def nearest_ids(self, vectors: Tensor, top: int) -> list[list[tuple[int, float]]]:
        """Like `nearest`, with the numbers of the tokens."""
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
            [(int(i), float(c)) for i, c in zip(row, values, strict=True)]
            for row, values in zip(best_ids, best_values, strict=True)
        ]
