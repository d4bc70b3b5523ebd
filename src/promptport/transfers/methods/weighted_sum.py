"""No learning at all: the target's rows of the nearest words, weighted by nearness."""

from __future__ import annotations

from torch import Tensor

from promptport.errors import PromptPortError
from promptport.relative import topk_mask
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method

_COLDEST = 1e-6  # cosines divided by less may overflow


@transfer_method(
    "weighted_sum.v1",
    paper="Minixhofer et al., NAACL 2022 (WECHSEL, arXiv 2112.06598); the learning-free baseline "
    "that a reviewer of arXiv 2310.01691 asked for",
    from_description=True,
)
def weighted_sum(
    problem: TransferProblem, *, k: int | None = 10, temperature: float = 0.1
) -> Tensor:
    """Mean of the target's rows of the nearest words: softmax(cosine / temperature) over k of them.

    Costs O(n k_anchors (d_s + d_t)). All results lie between words, and the more words are mixed
    the closer they come to the table's mean row: several virtual tokens then look alike.

    Args:
        problem: what to move.
        k: nearest anchors per virtual token, 1 or more; None for all. 1 is `discretize`.
        temperature: 1e-6 or more; the smaller, the more the nearest word counts.

    Returns:
        (n, d_t): softmax(r / temperature) A_t, with norms like those of words.

    Raises:
        PromptPortError: k below 1, or a temperature below 1e-6.
    """
    if (k is not None and k < 1) or not temperature >= _COLDEST:
        raise PromptPortError(
            "weighted_sum",
            expected=f"k >= 1 and temperature >= {_COLDEST:g}",
            got=f"k={k}, temperature={temperature}",
            fix="Leave both out for the defaults",
        )
    logits = problem.relative / temperature  # (n, k_anchors)
    mask = topk_mask(problem.relative, k)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return logits.softmax(dim=1) @ problem.anchors_tgt.float()  # (n, d_t)
