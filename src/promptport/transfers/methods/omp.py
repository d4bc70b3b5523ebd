"""Orthogonal matching pursuit: each virtual token as a few anchor words, mixed in the target."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.errors import PromptPortError
from promptport.relative import row_norms
from promptport.transfers.methods.linear_map import precision
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "omp.v1",
    paper="Goddard, Fernandes Neto 2025 (arXiv 2506.06607), there for tokens of a new tokenizer",
)
def omp(problem: TransferProblem, *, k: int = 64) -> Tensor:
    """Rebuild each virtual token from k anchors and use the same coefficients in the target.

    Greedy: the anchor with the largest |cosine| to what is left of the token joins, then all
    coefficients are refitted by least squares. Costs O(K n k_anchors d_s + n K² d_s) for K = k. The
    refit is exact once K reaches d_s; a token that no few words make up keeps a large rest, which
    does not travel.

    Args:
        problem: what to move.
        k: anchors per virtual token, 1 or more (the paper: 64); no more are used than there are,
            than d_s, or than it takes to leave no rest.

    Returns:
        (n, d_t): C A_t, with C (n, k_anchors) of at most k entries per row.

    Raises:
        PromptPortError: k below 1.
    """
    if k < 1:
        raise PromptPortError(
            "omp", expected="k >= 1", got=f"k={k}", fix="Leave it out for the paper's 64"
        )
    vectors, anchors = problem.vectors, problem.anchors_src
    steps = min(k, *anchors.shape)
    dtype = precision(steps * len(vectors) * anchors.numel())
    picked, coefficients = _pursue(vectors.to(dtype), anchors.to(dtype), steps, problem)
    rows = problem.anchors_tgt[picked].to(dtype)  # (n, k, d_t)
    return (coefficients[:, None] @ rows)[:, 0].float()  # (n, d_t)


def _pursue(
    vectors: Tensor, anchors: Tensor, steps: int, problem: TransferProblem
) -> tuple[Tensor, Tensor]:
    """Ids and coefficients (n, steps) of the anchors; coefficient 0 where none was needed."""
    n, width = vectors.shape
    norms = row_norms(anchors, "anchors_src")  # (k_anchors, 1)
    nothing = 100 * torch.finfo(anchors.dtype).eps
    small = nothing * vectors.norm(dim=1, keepdim=True)  # (n, 1)
    rest = vectors.clone()
    basis = vectors.new_zeros(n, steps, width)
    picked = torch.zeros(n, steps, dtype=torch.long, device=vectors.device)
    taken = torch.zeros(n, len(anchors), dtype=torch.bool, device=vectors.device)
    for step in range(steps):
        cosines = ((rest @ anchors.T) / norms.T).abs().masked_fill(taken, -1)  # (n, k_anchors)
        best = cosines.argmax(dim=1, keepdim=True)  # (n, 1)
        taken.scatter_(1, best, True)
        picked[:, step] = best[:, 0]
        fresh = _unit(anchors, norms, best)[:, 0]  # (n, d_s)
        for _ in range(2):  # once is not orthogonal enough in floating point
            fresh = fresh - _project(fresh, basis)
        size = fresh.norm(dim=1, keepdim=True)
        # A finished token, or an anchor that adds nothing, gets a zero direction.
        useful = (rest.norm(dim=1, keepdim=True) > small) & (size > nothing)  # (n, 1)
        basis[:, step] = torch.where(useful, fresh / size.clamp_min(nothing), 0)
        rest = rest - _project(rest, basis[:, step : step + 1])
        if problem.progress is not None:
            problem.progress(step + 1, steps)
    # Unit anchors = R basis with R triangular, so the refit of all steps is one substitution.
    triangle = basis @ _unit(anchors, norms, picked).mT  # (n, steps, steps)
    unused = (basis.norm(dim=2) == 0).to(vectors.dtype)  # (n, steps)
    triangle = triangle.triu() + torch.diag_embed(unused)
    wanted = basis @ vectors[..., None]  # (n, steps, 1)
    solved = torch.linalg.solve_triangular(triangle, wanted, upper=True)[..., 0]
    return picked, solved / norms[picked, 0]


def _unit(anchors: Tensor, norms: Tensor, ids: Tensor) -> Tensor:
    return anchors[ids] / norms[ids]  # (n, m, d_s) of ids (n, m)


def _project(rows: Tensor, basis: Tensor) -> Tensor:
    """The part of each row (n, d) in the span of its own directions (n, m, d)."""
    return ((basis @ rows[..., None]).mT @ basis)[:, 0]
