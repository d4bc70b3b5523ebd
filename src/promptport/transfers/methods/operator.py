"""The closed form of a pair of backbones as one matrix, kept for the next prompts of the pair."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from promptport.relative import unit_rows
from promptport.transfers.methods.least_squares import DEFAULT_RIDGE, operator
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method

# Matrices (d_t, d_s) of the last pairs, float32: 256 MB each for two models 8,192 wide.
_KEPT = 4
_cache: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()


@transfer_method(
    "operator.v1",
    paper="closed form of Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691), Eq. 5, as a matrix",
    linear="directions",
)
def apply_operator(problem: TransferProblem, *, ridge: float = DEFAULT_RIDGE) -> Tensor:
    """Multiply the unit prompt by T = (ĀᵀĀ + λI)⁻¹ Āᵀ Ā_s: what `least_squares` gives, for many.

    The matrix is made once per pair of spaces and words and kept in memory, so every further
    prompt of the pair costs one product. Worth it from about as many virtual tokens as the source
    is wide; for a single prompt `least_squares` is cheaper.

    Args:
        problem: what to move.
        ridge: as in `least_squares`.

    Returns:
        (n, d_t).

    Raises:
        PromptPortError: a negative ridge.
    """
    key = None if problem.pair is None else (*problem.pair, ridge)
    matrix = None if key is None else _cache.get(key)
    if matrix is None:
        matrix = operator(problem.anchors_src, problem.anchors_tgt, ridge=ridge)  # (d_t, d_s)
        if key is not None:
            _cache[key] = matrix
            while len(_cache) > _KEPT:
                _cache.popitem(last=False)
    moved: Tensor = unit_rows(problem.vectors.float(), "vectors") @ matrix.T
    return moved
