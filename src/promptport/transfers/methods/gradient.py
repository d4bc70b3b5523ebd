"""Paper A's search: Adam on the candidate vectors, normalised inside the loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from promptport.errors import PromptPortError
from promptport.relative import topk_mask, unit_rows
from promptport.space import SpaceStatistics
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method


@transfer_method(
    "gradient.v1",
    paper="Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691), Eq. 5 and 7",
    from_description=True,
)
def gradient(
    problem: TransferProblem,
    *,
    steps: int = 2000,
    learning_rate: float = 5e-3,
    topk: int | None = None,
    absolute: bool = False,
) -> Tensor:
    """Search the target space by gradient descent for vectors with the same description.

    As in the released code, with one difference: there the returned candidate is the one with the
    best score on a labelled dev set of the target; here no label is used and it is the one with the
    lowest matching loss.

    Args:
        problem: what to move.
        steps: Adam steps, 1 or more (the paper: 2,000).
        learning_rate: of Adam.
        topk: per virtual token, keep only the anchors with the largest source cosines.
        absolute: rank them by absolute value.

    Returns:
        (n, d_t), with the target's scalar mean and standard deviation over all entries.

    Raises:
        PromptPortError: no steps or no learning rate.
    """
    if steps < 1 or not learning_rate > 0:
        raise PromptPortError(
            "gradient",
            expected="steps >= 1 and learning_rate > 0",
            got=f"steps={steps}, learning_rate={learning_rate}",
            fix="Leave both out for the paper's values",
        )
    mask = topk_mask(problem.relative, topk, absolute)
    wanted = problem.relative if mask is None else problem.relative * mask  # (n, k)
    anchors = unit_rows(problem.anchors_tgt, "anchors_tgt")  # (k, d_t)
    candidate = _xavier_start(problem).requires_grad_()
    adam = torch.optim.Adam([candidate], lr=learning_rate)
    best, best_loss = candidate.detach(), float("inf")
    for step in range(steps + 1):
        normalised = _to_statistics(candidate, problem.stats_tgt)
        cosines = normalize(normalised, dim=1) @ anchors.T  # (n, k)
        described = cosines if mask is None else cosines * mask
        loss = (1 - cosine_similarity(wanted, described, dim=1)).mean()
        if loss.item() < best_loss:
            best, best_loss = normalised.detach(), loss.item()
        if step == steps:
            break
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        if problem.progress is not None:
            problem.progress(step + 1, steps)
    return best


def _xavier_start(problem: TransferProblem) -> Tensor:
    start = torch.empty(len(problem.vectors), problem.anchors_tgt.shape[1])
    torch.nn.init.xavier_normal_(start, generator=problem.generator)
    return start.to(problem.anchors_tgt.device)


def _to_statistics(candidate: Tensor, stats: SpaceStatistics) -> Tensor:
    """One scalar mean and deviation for the whole candidate (Eq. 7): this turns its vectors too."""
    centred = candidate - candidate.mean()
    return centred / candidate.std(correction=0) * stats.std + stats.mean
