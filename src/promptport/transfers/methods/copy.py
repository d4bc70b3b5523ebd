"""The vectors as they are, for two spaces of one width."""

from __future__ import annotations

from torch import Tensor

from promptport.errors import MismatchError
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "copy.v1", paper="baseline 'direct copy' of Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691), Table 1"
)
def copy(problem: TransferProblem) -> Tensor:
    """Use the same numbers: right for a fine-tuned copy of the source, noise for anything else.

    Costs nothing. Dimensions of models trained apart have nothing to do with each other.

    Args:
        problem: what to move.

    Returns:
        (n, d_t): v.

    Raises:
        MismatchError: the spaces are not of one width.
    """
    width_src, width_tgt = problem.anchors_src.shape[1], problem.anchors_tgt.shape[1]
    if width_src != width_tgt:
        raise MismatchError(
            "method copy",
            expected="spaces of one width",
            got=f"{width_src} and {width_tgt}",
            fix="Choose another method, least_squares for instance",
        )
    return problem.vectors.float().clone()
