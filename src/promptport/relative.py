"""Relative representation: vectors told by their cosines to anchors, whatever their width."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.errors import AnchorError, ShapeError
from promptport.space import row_blocks


def encode_relative(vectors: Tensor, anchors: Tensor) -> Tensor:
    """Cosine of every vector to every anchor (paper A, section 3.1).

    Args:
        vectors: (n, d), embedding space of one backbone, no zero rows.
        anchors: (k, d), same space, no zero rows.

    Returns:
        (n, k), values in [-1, 1]; float32, or float64 when either input is float64.

    Raises:
        ShapeError: widths differ, not 2-D, or a zero row.
    """
    check_widths(vectors, anchors)
    precise = torch.float64 in (vectors.dtype, anchors.dtype)
    dtype = torch.float64 if precise else torch.float32
    unit = unit_rows(vectors.to(dtype), "vectors")
    # Dividing the (n, k) products spares a unit-norm copy of the (k, d) anchors; blocks spare a
    # copy in another precision.
    cosines = unit.new_empty(len(unit), len(anchors))
    for part, rows in row_blocks(anchors, dtype):
        cosines[:, part] = unit @ rows.T / row_norms(rows, "anchors").T
    return cosines.clamp(-1, 1)  # (n, k)


def matching(relative: Tensor, anchors_tgt: Tensor, vectors: Tensor) -> Tensor:
    """How well vectors in the target space fit a description: cos(r, r(x)) of paper A, Eq. 5.

    Args:
        relative: (n, k) description, from the source space.
        anchors_tgt: (k, d_t), target space.
        vectors: (n, d_t), target space.

    Returns:
        (n,) cosines.

    Raises:
        ShapeError: the tensors do not fit together.
    """
    own = encode_relative(vectors, anchors_tgt)
    if relative.shape != own.shape:
        raise ShapeError(
            "relative",
            expected=f"shape {tuple(own.shape)}",
            got=str(tuple(relative.shape)),
            fix="Describe the vectors by the same anchors in both spaces",
        )
    return torch.nn.functional.cosine_similarity(relative.to(own.dtype), own, dim=1)


def topk_mask(relative: Tensor, topk: int | None, absolute: bool = False) -> Tensor | None:
    """For every row, keep the anchors with the largest cosines (paper A's released code).

    Args:
        relative: (n, k).
        topk: anchors to keep per row, 1 or more; None keeps all.
        absolute: rank by |cosine|.

    Returns:
        (n, k) booleans, or None when every anchor is kept.

    Raises:
        AnchorError: `topk` below 1.
    """
    if topk is None or topk >= relative.shape[1]:
        return None
    if topk < 1:
        raise AnchorError(
            "topk", expected="1 or more", got=str(topk), fix="Leave it out for all anchors"
        )
    ranked = relative.abs() if absolute else relative
    kept = ranked.topk(topk, dim=1).indices  # (n, topk)
    return torch.zeros_like(relative, dtype=torch.bool).scatter_(1, kept, True)


def unit_rows(rows: Tensor, name: str) -> Tensor:
    """Rows scaled to norm 1.

    Raises:
        ShapeError: a zero row, which has no direction.
    """
    return rows / row_norms(rows, name)


def check_widths(vectors: Tensor, anchors: Tensor) -> None:
    """Refuse tensors that are not (n, d) and (k, d).

    Raises:
        ShapeError: not 2-D, or widths differ.
    """
    if vectors.ndim != 2 or anchors.ndim != 2 or vectors.shape[1] != anchors.shape[1]:
        raise ShapeError(
            "vectors",
            expected=f"(n, d) as wide as the anchors {tuple(anchors.shape)}",
            got=str(tuple(vectors.shape)),
            fix="Give both in the embedding space of the same backbone",
        )


def row_norms(rows: Tensor, name: str) -> Tensor:
    """Norms of the rows (rows, d): (rows, 1).

    Raises:
        ShapeError: a row that is zero or not finite, which has no direction.
    """
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (rows, 1)
    bad = int((~(norms > 0) | ~norms.isfinite()).sum())
    if bad:
        raise ShapeError(
            name,
            expected="finite rows of positive norm",
            got=f"{bad} of {rows.shape[0]} rows that are zero or not finite",
            fix="Leave these rows out; they point nowhere",
        )
    return norms
