"""The orthogonalised sum: what the vectors share is not counted twice."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.errors import MismatchError
from promptport.merging.registry import MergeProblem, merge_method

_TINY = 1e-6  # of the largest singular value of the unit vectors: below this they are dependent


@merge_method(
    "orthogonal.v1",
    paper="symmetric orthogonalisation of Löwdin 1950, J. Chem. Phys. 18, 365: (UUᵀ)^(-1/2) U",
)
def orthogonal(problem: MergeProblem) -> Tensor:
    """Replace the vectors by the nearest ones at right angles, with their own norms, and add.

    Each vector counts as one direction of n*d entries. Of all sets at right angles the one nearest
    to the unit vectors U is taken; it does not depend on their order, as Gram-Schmidt does.

    Returns:
        (n, d): Σ_i c_i ‖T_i‖ q_i, rows q_i of (UUᵀ)^(-1/2) U. A zero vector adds nothing.

    Raises:
        MismatchError: vectors that are combinations of each other have no such directions.
    """
    flat = problem.deltas.flatten(1)  # (m, n*d)
    norms = flat.norm(dim=1)
    used = norms > 0
    if not bool(used.any()):
        return torch.zeros_like(problem.deltas[0])
    units = flat[used] / norms[used, None]
    left, singular, right = torch.linalg.svd(units, full_matrices=False)
    if len(units) > flat.shape[1] or float(singular[-1] / singular[0]) < _TINY:
        raise MismatchError(
            "method orthogonal",
            expected="independent vectors",
            got="some that are combinations of the others",
            fix="Give each vector once, or use the method sum",
        )
    turned = left @ right  # (m, n*d), rows at right angles
    sizes = problem.coefficients[used] * norms[used]
    added: Tensor = sizes @ turned  # (n*d,)
    return added.view_as(problem.deltas[0])  # (n, d)
