"""Re-use of the weights of a mixture prompt: no search, and nothing lost but missing words."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from promptport.errors import MismatchError
from promptport.transfers.methods.linear_map import linear_map
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "mixture.v1",
    paper="mixture prompts: P_s = W A_s, P_t = W A_t (the weights of OMP tokenizer transplants, "
    "arXiv 2506.06607, but learned with the task)",
    from_mixture=True,
)
def mixture(problem: TransferProblem, *, rest: bool = True) -> Tensor:
    """Mix the target's rows of the same words with the same weights.

    Args:
        problem: what to move.
        rest: also carry what the prompt holds beside the mixture of words that was tuned with it
            (by `linear_map`).

    Returns:
        (n, d_t): W A_t, W scaled to the words that both backbones know; and the rest.

    Raises:
        MismatchError: the prompt is no mixture prompt.
    """
    if problem.mixture is None:
        raise MismatchError(
            "method mixture",
            expected="a mixture prompt",
            got="a free prompt",
            fix="Tune it with --mixture, or choose the method least_squares",
        )
    mixed = problem.mixture @ problem.anchors_tgt.float()
    if not rest or problem.rest is None or not bool(problem.rest.any()):
        return mixed
    return mixed + linear_map(replace(problem, vectors=problem.rest))
