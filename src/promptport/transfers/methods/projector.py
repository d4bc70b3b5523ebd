"""A neural projector: a two-layer network that learns from the anchors where words go."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, gelu, mse_loss

from promptport.errors import AnchorError, PromptPortError
from promptport.relative import row_norms, unit_rows
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import transfer_method

_HELD_SHARE = 0.1
_CHECK_STEPS = 20
_PATIENCE = 10


@transfer_method(
    "projector.v1",
    paper="baseline 'neural projector' of Wu, Wu, Mou, ICLR 2024 (arXiv 2310.01691)",
)
def projector(
    problem: TransferProblem,
    *,
    hidden: int | None = None,
    steps: int = 2000,
    learning_rate: float = 1e-3,
    batch: int = 256,
) -> Tensor:
    """Train f(x) = gelu(x W₁ + b₁) W₂ + b₂ on source row -> target row, and apply it to the prompt.

    Loss: mean(1 - cos) + mse, Adam, at most `steps` batches; a tenth of the anchors is held back,
    and the result is that of the step that does best on them. x is a row's direction alone: to the
    network, a prompt with 100 x the norm of words would be like nothing it has seen. So the
    result has the norm of words. Costs O(steps · batch · hidden (d_s + d_t)). Fails for virtual
    tokens that point where no word does: a network is right only near what it was trained on.

    Args:
        problem: what to move.
        hidden: width of the layer between, 1 or more; None for the wider of the two spaces.
        steps: Adam steps at most, 1 or more.
        learning_rate: of Adam.
        batch: anchors per step, 1 or more.

    Returns:
        (n, d_t): f(v).

    Raises:
        PromptPortError: an option out of range, or one with which the loss is never finite.
        AnchorError: fewer than two anchors.
    """
    if min(steps, batch, 1 if hidden is None else hidden) < 1 or not learning_rate > 0:
        raise PromptPortError(
            "projector",
            expected="steps, batch and hidden >= 1, learning_rate > 0",
            got=f"steps={steps}, batch={batch}, hidden={hidden}, learning_rate={learning_rate}",
            fix="Leave them out for the defaults",
        )
    given, wanted, unit = _training_pairs(problem)  # (k, d_s), (k, d_t), norm of a target unit
    order = torch.randperm(len(given), generator=problem.generator).to(given.device)
    count = max(1, round(_HELD_SHARE * len(order)))
    held, kept = order[:count], order[count:]
    weights = _start(given.shape[1], hidden, wanted.shape[1], problem)
    adam = torch.optim.Adam(weights, lr=learning_rate)
    prompt = _directions(problem.vectors, "vectors")
    best, best_loss, waited = None, float("inf"), 0
    for step in range(1, steps + 1):
        drawn = torch.randint(len(kept), (min(batch, len(kept)),), generator=problem.generator)
        rows = kept[drawn.to(kept.device)]
        loss = _loss(_apply(weights, given[rows]), wanted[rows])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        if problem.progress is not None:
            problem.progress(step, steps)
        if step % _CHECK_STEPS and step != steps:
            continue
        with torch.no_grad():
            held_loss = _loss(_apply(weights, given[held]), wanted[held]).item()
            waited += 1
            if held_loss < best_loss:
                best, best_loss, waited = _apply(weights, prompt), held_loss, 0
        if waited == _PATIENCE:
            break
    if best is None:
        raise PromptPortError(
            "projector",
            expected="a finite loss",
            got="none",
            fix=f"Lower learning_rate, now {learning_rate}",
        )
    return best * unit  # (n, d_t)


def _training_pairs(problem: TransferProblem) -> tuple[Tensor, Tensor, float]:
    """Inputs (k, d_s) and outputs (k, d_t) with entries around 1, and the norm of that 1."""
    target = problem.anchors_tgt.float()
    if len(target) < 2:
        raise AnchorError(
            "projector",
            expected="two anchors or more",
            got=str(len(target)),
            fix="Add words that both backbones know",
        )
    unit = float(row_norms(target, "anchors_tgt").mean()) / math.sqrt(target.shape[1])
    return _directions(problem.anchors_src, "anchors_src"), target / unit, unit


def _directions(rows: Tensor, name: str) -> Tensor:
    return unit_rows(rows.float(), name) * math.sqrt(rows.shape[1])


def _start(inner: int, hidden: int | None, outer: int, problem: TransferProblem) -> list[Tensor]:
    """W₁, b₁, W₂, b₂."""
    middle = hidden or max(inner, outer)
    device = problem.anchors_tgt.device

    def layer(rows: int, columns: int) -> list[Tensor]:
        weight = torch.randn(rows, columns, generator=problem.generator) / rows**0.5
        return [
            weight.to(device).requires_grad_(),
            torch.zeros(columns, device=device).requires_grad_(),
        ]

    return [*layer(inner, middle), *layer(middle, outer)]


def _apply(weights: list[Tensor], rows: Tensor) -> Tensor:
    first, first_bias, second, second_bias = weights
    moved: Tensor = gelu(rows @ first + first_bias) @ second + second_bias
    return moved


def _loss(moved: Tensor, wanted: Tensor) -> Tensor:
    turned: Tensor = (1 - cosine_similarity(moved, wanted, dim=1)).mean()
    return turned + mse_loss(moved, wanted)
