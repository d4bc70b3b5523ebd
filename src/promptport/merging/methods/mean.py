"""The plain mean: a sum whose size does not grow with the number of tasks."""

from __future__ import annotations

from torch import Tensor

from promptport.merging.registry import MergeProblem, merge_method


@merge_method(
    "mean.v1",
    paper="uniform soup of Wortsman et al. 2022, arXiv 2203.05482: (1/m) Σ_i c_i T_i",
    linear=True,
)
def mean(problem: MergeProblem) -> Tensor:
    """Divide the sum by the number of vectors.

    Returns:
        (n, d): (1/m) Σ_i c_i T_i.
    """
    return problem.terms.mean(0)
