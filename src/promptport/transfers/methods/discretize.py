"""Each virtual token becomes the word that it is nearest to."""

from __future__ import annotations

from torch import Tensor

from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "discretize.v1",
    paper="baseline 'discretization' of Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691)",
    from_description=True,
)
def discretize(problem: TransferProblem) -> Tensor:
    """Take the target's row of the anchor word with the largest cosine.

    Costs O(n k d_s). Tuned virtual tokens are seldom near any word: most of what they say is lost.

    Args:
        problem: what to move.

    Returns:
        (n, d_t): A_t[argmax_i r_i], rows of the target as they are.
    """
    return problem.anchors_tgt[problem.relative.argmax(dim=1)].float()  # (n, d_t)
