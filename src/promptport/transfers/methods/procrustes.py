"""Orthogonal Procrustes: the rotation that best lays the source's anchors on the target's."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.transfers.methods.linear_map import centred
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "procrustes.v1",
    paper="Schönemann 1966; for word vectors: Smith et al., ICLR 2017 (arXiv 1702.03859)",
)
def procrustes(problem: TransferProblem, *, centre: bool = False) -> Tensor:
    """Turn the source space onto the target's, with one scale: angles between tokens stay.

    A_sᵀA_t = U S Vᵀ; Q = U Vᵀ maximises tr(QᵀA_sᵀA_t) over the (semi-)orthogonal matrices, and
    s = tr(S) / |A_s Q|² is the best scale for it. Costs O(k d_s d_t + d_s d_t min(d_s, d_t)).
    Where the widths differ, Q is semi-orthogonal: a narrower target drops dimensions. Q is
    arbitrary in directions that the anchors do not reach (fewer anchors than dimensions).

    Args:
        problem: what to move.
        centre: subtract the anchors' mean on both sides first, and add the target's at the end.

    Returns:
        (n, d_t): s v Q, or s (v - mean_s) Q + mean_t.

    Raises:
        AnchorError: fewer than two anchors to centre.
    """
    vectors, source, target, mean_tgt = centred(problem, centre)
    left, values, right = torch.linalg.svd(source.T @ target, full_matrices=False)
    turn = left @ right  # (d_s, d_t)
    scale = values.sum() / (source @ turn).square().sum()
    moved: Tensor = scale * (vectors @ turn) + mean_tgt
    return moved.float()  # (n, d_t)
