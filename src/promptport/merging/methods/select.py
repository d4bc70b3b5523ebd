"""Selection: every virtual token is taken whole from one task."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.merging.registry import MergeProblem, merge_method


@merge_method("select.v1", paper="ours: j -> c_i T_i[j] with i = argmax_i ‖c_i T_i[j]‖")
def select(problem: MergeProblem) -> Tensor:
    """For each virtual token take the scaled vector with the largest norm; the first one of equals.

    Returns:
        (n, d).
    """
    terms = problem.terms
    norms = terms.norm(dim=2)  # (m, n)
    chosen = (norms == norms.amax(0)).int().argmax(0)  # (n,)
    return terms[chosen, torch.arange(terms.shape[1])]  # (n, d)
