"""The plain sum: paper B's addition and negation."""

from __future__ import annotations

from torch import Tensor

from promptport.merging.registry import MergeProblem, merge_method


@merge_method(
    "sum.v1",
    paper="Belanec et al. 2024, arXiv 2408.01119: P' = P_0' + λ Σ_i T_i",
    linear=True,
)
def weighted_sum(problem: MergeProblem) -> Tensor:
    """Add the vectors with their coefficients.

    Returns:
        (n, d): Σ_i c_i T_i.
    """
    return problem.terms.sum(0)
