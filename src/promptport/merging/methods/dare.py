"""DARE: drop entries at random and rescale the rest, so that fewer of them collide."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.errors import PromptPortError
from promptport.merging.registry import MergeProblem, merge_method


@merge_method("dare.v1", paper="Yu et al. 2023, arXiv 2311.03099: δ̃ = (1 − m) ⊙ δ / (1 − p)")
def dare(problem: MergeProblem, *, drop: float = 0.5) -> Tensor:
    """Drop each entry of each vector with probability p, rescale by 1 / (1 − p), add.

    The expectation over seeds is the sum.

    Args:
        problem: the vectors, their coefficients and the generator of the masks.
        drop: p in [0, 1). The paper goes to 0.9 and beyond for whole models of billions of entries;
            a prompt has few.

    Returns:
        (n, d).

    Raises:
        PromptPortError: drop outside [0, 1).
    """
    if not 0 <= drop < 1:
        raise PromptPortError(
            "option drop of dare",
            expected="a probability in [0, 1)",
            got=repr(drop),
            fix="Leave it out for 0.5",
        )
    drawn = torch.rand(problem.deltas.shape, generator=problem.generator)  # (m, n, d)
    return (problem.terms * (drawn >= drop)).sum(0) / (1 - drop)
