"""The weighted mean: only the proportions of the coefficients count."""

from __future__ import annotations

from torch import Tensor

from promptport.errors import PromptPortError
from promptport.merging.registry import MergeProblem, merge_method


@merge_method(
    "weighted.v1",
    paper="weighted average, after Wortsman et al. 2022, arXiv 2203.05482: Σ_i c_i T_i / Σ_i |c_i|",
    linear=True,
)
def weighted(problem: MergeProblem) -> Tensor:
    """Divide the sum by the sum of the coefficients' sizes.

    Returns:
        (n, d): Σ_i c_i T_i / Σ_i |c_i|.

    Raises:
        PromptPortError: all coefficients are 0.
    """
    total = problem.coefficients.abs().sum()
    if float(total) == 0:
        raise PromptPortError(
            "method weighted",
            expected="a coefficient other than 0",
            got="none",
            fix="Give every task that shall count a coefficient",
        )
    return problem.terms.sum(0) / total
