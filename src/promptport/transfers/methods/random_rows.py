"""What a transfer must beat: rows of random words of the target."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "random.v1",
    paper="baseline; an untuned prompt of random vocabulary rows (arXiv 2104.08691, section 3.2)",
)
def random_rows(problem: TransferProblem) -> Tensor:
    """Draw each virtual token from the target's rows of the shared words, whatever the prompt says.

    Costs O(n d_t). It knows nothing of the prompt but how many virtual tokens it has; with a
    magnitude rule other than `keep` the rows are scaled like any other result.

    Args:
        problem: what to move.

    Returns:
        (n, d_t): A_t[i], i uniform and with repetition, the same for the same seed.
    """
    n, k = len(problem.vectors), len(problem.anchors_tgt)
    ids = torch.randint(k, (n,), generator=problem.generator)
    return problem.anchors_tgt[ids.to(problem.anchors_tgt.device)].float()  # (n, d_t)
