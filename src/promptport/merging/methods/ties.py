"""TIES: keep the large entries, agree on a sign, average those that have it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from promptport.errors import PromptPortError
from promptport.merging.registry import MergeProblem, merge_method


@merge_method("ties.v1", paper="Yadav et al. 2023, arXiv 2306.01708, Algorithm 1")
def ties(problem: MergeProblem, *, density: float = 0.2, scale: float = 1.0) -> Tensor:
    """Trim every vector, elect a sign for each entry, take the mean of the entries that agree.

    With all coefficients 1 this is the paper's algorithm; others scale the vectors beforehand.

    Args:
        problem: the vectors and their coefficients.
        density: share of the entries of each vector that are kept, the largest ones; in (0, 1] (the
            paper: 0.2); at least one entry is kept.
        scale: λ of the result (the paper: 1 without a validation set).

    Returns:
        (n, d).

    Raises:
        PromptPortError: density outside (0, 1].
    """
    if not 0 < density <= 1:
        raise PromptPortError(
            "option density of ties",
            expected="a share in (0, 1]",
            got=repr(density),
            fix="Leave it out for the paper's 0.2",
        )
    flat = problem.terms.flatten(1)  # (m, n*d)
    kept = max(1, math.floor(density * flat.shape[1] + 0.5))
    largest = flat.abs().topk(kept, dim=1).indices
    trimmed = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest))
    elected = trimmed.sum(0).sign()  # (n*d,)
    agreeing = (trimmed.sign() == elected) & (trimmed != 0)
    count = agreeing.sum(0).clamp_min(1)
    merged = scale * (trimmed * agreeing).sum(0) / count
    return merged.view_as(problem.deltas[0])  # (n, d)
