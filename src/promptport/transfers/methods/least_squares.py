"""The global optimum of paper A's objective in closed form.

max_x cos(r, Ā x) is the cosine between r and its projection on the column space of Ā, so
x = (ĀᵀĀ + λI)⁻¹ Āᵀ r up to its norm, which a magnitude rule decides afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.errors import PromptPortError
from promptport.relative import row_norms, topk_mask, unit_rows
from promptport.space import row_blocks
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method

# Up to so many multiply-adds of the Gram matrix all is done in float64 (some 0.1 s on a core).
EXACT_WORK = 2_000_000_000
DEFAULT_RIDGE = 1e-9
_CORRECTIONS = 4
_SMALL_CORRECTION = 1e-3
_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 128
# Directions of float32 rows below this share of the largest eigenvalue are nothing but rounding.
_ROUNDING = 1e-12
# From here on it is worth to look for such directions.
_NEARLY_SINGULAR = 1e-7


@transfer_method(
    "least_squares.v1",
    paper="closed form of Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691), Eq. 5",
    from_description=True,
    own_anchors=True,
    linear="directions",
)
def least_squares(
    problem: TransferProblem,
    *,
    ridge: float = DEFAULT_RIDGE,
    topk: int | None = None,
    absolute: bool = False,
) -> Tensor:
    """Solve for the vectors whose description fits best; one factorisation serves all tokens.

    Args:
        problem: what to move.
        ridge: λ as a share of the Gram matrix's mean eigenvalue, 0 or more.
        topk: per virtual token, keep only the anchors with the largest source cosines; then every
            token needs a factorisation of its own.
        absolute: rank them by absolute value.

    Returns:
        (n, d_t): (ĀᵀĀ + λI)⁻¹ Āᵀ r for each virtual token.

    Raises:
        PromptPortError: a negative ridge.
    """
    anchors = _working(problem.anchors_tgt)  # (k, d_t)
    dtype = anchors.dtype
    relative = problem.describe(dtype)  # (n, k)
    mask = topk_mask(relative, topk, absolute)
    if mask is None:
        return factor(anchors, ridge=ridge).solve(relative).float()
    solved = []
    for i, (row, kept) in enumerate(zip(relative, mask, strict=True)):
        solved.append(factor(anchors[kept], ridge=ridge).solve(row[kept][None]))
        if problem.progress is not None:
            problem.progress(i + 1, len(relative))
    return torch.cat(solved).float()  # (n, d_t)


def operator(anchors_src: Tensor, anchors_tgt: Tensor, *, ridge: float = DEFAULT_RIDGE) -> Tensor:
    """The whole transfer of a pair of backbones as one matrix: T = (Ā_tᵀĀ_t + λI)⁻¹ Ā_tᵀ Ā_s.

    `unit prompt (n, d_s) @ T.T` equals what `least_squares` gives without a mask.

    Args:
        anchors_src: (k, d_s).
        anchors_tgt: (k, d_t).
        ridge: as in `least_squares`.

    Returns:
        (d_t, d_s), float32.
    """
    anchors = _working(anchors_tgt)
    described = unit_rows(anchors_src.to(anchors.dtype), "anchors_src").T  # (d_s, k)
    return factor(anchors, ridge=ridge).solve(described).T.float().contiguous()


@dataclass(frozen=True, eq=False)
class Factor:
    """A factorised normal matrix N = ĀᵀĀ + λI (ĀĀᵀ + λI with fewer anchors than dimensions).

    Attributes:
        anchors: (k, d) rows of any norm, float32 or float64; the root may be more precise.
        scale: (1, k) one over their norms: Ā = diag(scale) A is never stored.
        ridge: λ itself.
        root: (m, m) lower Cholesky factor of N, or (m, rank) W with N⁺ = W Wᵀ; m = min(k, d).
        triangular: which of the two.
    """

    anchors: Tensor
    scale: Tensor
    ridge: float
    root: Tensor
    triangular: bool

    def solve(self, relative: Tensor) -> Tensor:
        """Best vectors for descriptions (n, k): (n, d), float64."""
        k, d = self.anchors.shape
        relative = relative.to(self.root.dtype)
        if k < d:
            return self._gather(self._apply(relative))  # (n, d)
        solution = self._apply(self._gather(relative)).double()  # (n, d)
        if self.root.dtype == torch.float64:
            return solution
        # Corrected seminormal equations (Björck 1987): a float32 Gram matrix loses digits with the
        # square of the condition number; a correction from the residual wins them back.
        for _ in range(_CORRECTIONS):
            residual = relative - self._describe(solution.float())  # (n, k)
            step = self._apply(self._gather(residual) - self.ridge * solution.float()).double()
            solution = solution + step
            if bool((step.norm(dim=1) <= _SMALL_CORRECTION * solution.norm(dim=1)).all()):
                return solution
        return _factor_exactly(self.anchors, self.ridge).solve(relative)

    def _describe(self, vectors: Tensor) -> Tensor:
        described = vectors.new_empty(len(vectors), len(self.anchors))
        for part, rows in row_blocks(self.anchors, vectors.dtype):
            described[:, part] = vectors @ rows.T
        return described * self.scale  # (n, d) -> (n, k): x Āᵀ

    def _gather(self, relative: Tensor) -> Tensor:
        weighted = relative * self.scale
        total = weighted.new_zeros(len(weighted), self.anchors.shape[1])
        for part, rows in row_blocks(self.anchors, weighted.dtype):
            total.addmm_(weighted[:, part], rows)
        return total  # (n, k) -> (n, d): r Ā

    def _apply(self, right: Tensor) -> Tensor:
        if self.triangular:  # cholesky_solve would copy the root
            half = torch.linalg.solve_triangular(self.root, right.T, upper=False)
            whole: Tensor = torch.linalg.solve_triangular(self.root.T, half, upper=True)
            return whole.T
        return (right @ self.root) @ self.root.T


def factor(anchors: Tensor, *, ridge: float = DEFAULT_RIDGE) -> Factor:
    """Factorise once, solve for any number of descriptions.

    Args:
        anchors: (k, d) rows; float64 for full precision, float32 for a fast Gram matrix.
        ridge: λ as a share of the mean eigenvalue k / d, 0 or more.

    Raises:
        PromptPortError: a negative ridge, or an infinite one.
        ShapeError: a zero row.
    """
    if not 0 <= ridge < math.inf:
        raise PromptPortError(
            "ridge", expected="0 or more, and finite", got=str(ridge), fix="Leave it out"
        )
    k, d = anchors.shape
    weight = ridge * k / d
    if anchors.dtype == torch.float64 or k < d:
        return _factor_exactly(anchors, weight)
    scale = _scale(anchors, anchors.dtype)  # (k, 1)
    root, failed = _cholesky(_normal_matrix(anchors, scale, weight))
    if failed or _is_singular(root, d * torch.finfo(torch.float32).eps):
        return _factor_exactly(anchors, weight)
    return Factor(anchors, scale.T, weight, root, triangular=True)


def _factor_exactly(anchors: Tensor, weight: float) -> Factor:
    scale = _scale(anchors, torch.float64)  # (k, 1)
    root, failed = _cholesky(_normal_matrix(anchors, scale, weight))
    if not failed and not _is_singular(root, _NEARLY_SINGULAR):
        return Factor(anchors, scale.T, weight, root, triangular=True)
    # Rank-deficient anchors: the shortest of all best solutions, or rounding would be blown up.
    del root
    values, vectors = torch.linalg.eigh(_normal_matrix(anchors, scale, weight))
    kept = values - weight > values.max() * _ROUNDING
    root = vectors[:, kept] / values[kept].sqrt()
    return Factor(anchors, scale.T, weight, root, triangular=False)


def _scale(anchors: Tensor, dtype: torch.dtype) -> Tensor:
    norms = torch.empty(len(anchors), 1, dtype=dtype, device=anchors.device)
    for part, rows in row_blocks(anchors, dtype):
        norms[part] = row_norms(rows, "anchors_tgt")
    return norms.reciprocal()  # (k, 1)


def _cholesky(normal: Tensor) -> tuple[Tensor, bool]:
    """Lower factor, written over a column-major matrix, and whether there is none."""
    failed = torch.zeros((), dtype=torch.int32, device=normal.device)
    torch.linalg.cholesky_ex(normal, out=(normal, failed))
    return normal, bool(failed)


def _normal_matrix(anchors: Tensor, scale: Tensor, weight: float) -> Tensor:
    """Lower triangle of N (m, m), column-major, in the precision of `scale`.

    What stands above the diagonal is not to be read. Blocks of rows keep the unit rows in the
    cache, blocks of columns spare nearly half the work of a full product.
    """
    k, d = anchors.shape
    normal = scale.new_zeros(min(k, d), min(k, d)).T
    normal.diagonal().add_(weight)
    if k < d:
        for start in range(0, d, _BLOCK_COLUMNS):
            unit = anchors[:, start : start + _BLOCK_COLUMNS].to(scale.dtype) * scale
            normal.addmm_(unit, unit.T)
        return normal
    width = max(_BLOCK_COLUMNS, -(-d // 8))
    for start in range(0, k, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        unit = anchors[rows].to(scale.dtype) * scale[rows]
        for first in range(0, d, width):
            last = min(first + width, d)
            normal[first:last, :last].addmm_(unit[:, first:last].T, unit[:, :last])
    return normal


def _is_singular(root: Tensor, share: float) -> bool:
    pivots = root.diagonal().square()
    return bool(pivots.min() <= pivots.max() * share)


def _working(anchors: Tensor) -> Tensor:
    """The anchors in the precision in which their problem is solved."""
    k, d = anchors.shape
    return anchors.double() if k * d * min(k, d) <= EXACT_WORK else anchors.float()
