"""One linear map for the whole space: ridge regression from source rows to target rows.

W = argmin |A_s W - A_t|² + λ|W|², and v W = cᵀ A_t with c = A_s (A_sᵀA_s + λI)⁻¹ v: the same as to
rebuild each virtual token from all anchors with the smallest weights c, and to mix the target's
rows with these. (`omp` takes few of them.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from promptport.errors import AnchorError, PromptPortError
from promptport.transfers.methods.least_squares import DEFAULT_RIDGE, EXACT_WORK
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method

_ROUNDING = 1e-12
_NEARLY_SINGULAR = 1e-7


@transfer_method(
    "linear_map.v1",
    paper="Mikolov, Le, Sutskever 2013 (arXiv 1309.4168), Eq. 3, with a ridge",
    linear="vectors",
)
def linear_map(
    problem: TransferProblem, *, ridge: float = DEFAULT_RIDGE, centre: bool = False
) -> Tensor:
    """Send each virtual token through the linear map that best carries the anchors' rows.

    Costs O(k d_s² + d_s³ + n k (d_s + d_t)); W itself is never formed. With fewer anchors than
    dimensions it sees only the part of a virtual token that lies in their span.

    Args:
        problem: what to move.
        ridge: λ as a share of the mean eigenvalue (trace / d_s) of A_sᵀA_s, 0 or more.
        centre: subtract the anchors' mean on both sides first, and add the target's at the end.

    Returns:
        (n, d_t): v W, or (v - mean_s) W + mean_t.

    Raises:
        PromptPortError: a negative ridge, or an infinite one.
        AnchorError: fewer than two anchors to centre.
    """
    if not 0 <= ridge < math.inf:
        raise PromptPortError(
            "linear_map",
            expected="ridge >= 0, and finite",
            got=f"ridge={ridge}",
            fix=f"Leave it out for {DEFAULT_RIDGE}",
        )
    vectors, source, target, mean_tgt = centred(problem, centre)
    return (_coefficients(vectors, source, ridge) @ target + mean_tgt).float()  # (n, d_t)


def centred(problem: TransferProblem, centre: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Virtual tokens and anchors in the precision of the work, without the anchors' means.

    Args:
        problem: what to move.
        centre: whether means are subtracted; if not, the mean is zero.

    Returns:
        Vectors (n, d_s), source anchors (k, d_s), target anchors (k, d_t), target mean (1, d_t).

    Raises:
        AnchorError: fewer than two anchors to centre.
    """
    k, width = problem.anchors_src.shape
    dtype = precision(k * width * max(width, problem.anchors_tgt.shape[1]))
    vectors, source, target = (
        rows.to(dtype) for rows in (problem.vectors, problem.anchors_src, problem.anchors_tgt)
    )
    if not centre:
        return vectors, source, target, target.new_zeros(1, target.shape[1])
    if k < 2:
        raise AnchorError(
            "centre", expected="two anchors or more", got=str(k), fix="Leave it out, or add words"
        )
    mean_src, mean_tgt = source.mean(0, keepdim=True), target.mean(0, keepdim=True)
    return vectors - mean_src, source - mean_src, target - mean_tgt, mean_tgt


def precision(work: int) -> torch.dtype:
    """The dtype for so many multiply-adds: float64 where that takes no time."""
    return torch.float64 if work <= EXACT_WORK else torch.float32


def _coefficients(vectors: Tensor, source: Tensor, ridge: float) -> Tensor:
    """(n, k): ridge weights of the anchors for every virtual token."""
    k, width = source.shape
    few = k < width
    normal = (source @ source.T if few else source.T @ source).double()  # (m, m), m = min(k, d_s)
    weight = ridge * float(normal.trace()) / width
    normal.diagonal().add_(weight)
    right = source @ vectors.T if few else vectors.T  # (m, n)
    solved = _solve(normal, right.double(), weight, torch.finfo(source.dtype).eps)
    solved = solved.to(source.dtype)
    return solved.T if few else solved.T @ source.T


def _solve(normal: Tensor, right: Tensor, weight: float, eps: float) -> Tensor:
    root, failed = torch.linalg.cholesky_ex(normal)
    pivots = root.diagonal().square()
    if not int(failed) and pivots.min() > pivots.max() * max(_NEARLY_SINGULAR, 10 * eps):
        return torch.cholesky_solve(right, root)
    # Directions that no anchor has are left out, or rounding would be blown up.
    values, vectors = torch.linalg.eigh(normal)
    kept = values - weight > values.max() * max(_ROUNDING, 10 * eps)
    basis = vectors[:, kept]
    solved: Tensor = basis @ ((basis.T @ right) / values[kept, None])
    return solved  # (m, n)
