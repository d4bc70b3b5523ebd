"""Noise on virtual tokens while they are tuned, so that what is learned still works nearby.

Another model has the same words in other places. A mixture that answers well only exactly where it
is loses its skill on the way; one that was tuned under noise keeps more of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MIXTURE_NOISE = 1.0  # share of the norm of a virtual token, of mixtures that are tuned
MOST_NOISE = 10.0


def with_noise(
    table: Tensor, starts: Sequence[int], noises: Sequence[Tensor | None]
) -> tuple[Tensor, list[int]]:
    """Prompts of questions with noise of their own, behind the table that they point into.

    Gradients of the copies flow into the rows that they were made from.

    Args:
        table: (N, d) virtual tokens.
        starts: for each question the first row of its prompt.
        noises: for each question (n, d) of deviation 1 times the share of noise (see `draw`), or
            None for a prompt as it is.

    Returns:
        (N + M, d), and the starts in it. The expected norm of what is added to a row is the share
        of that row's norm.
    """
    index: list[int] = []
    places = list(starts)
    for i, (start, noise) in enumerate(zip(starts, noises, strict=True)):
        if noise is not None:
            places[i] = len(table) + len(index)
            index += range(start, start + len(noise))
    if not index:
        return table, places
    added = torch.cat([noise for noise in noises if noise is not None]).to(table.device)
    own = table[torch.tensor(index, device=table.device)]
    scale = own.detach().norm(dim=1, keepdim=True) / math.sqrt(table.shape[1])
    return torch.cat([table, own + scale * added]), places


def draw(share: float, rows: int, shape: tuple[int, int], seed: int, step: int) -> Tensor:
    """Noise for the rows of a step: a function of seed and step alone, so that a run can resume.

    Args:
        share: expected norm of the noise as a share of that of a virtual token.
        rows: R rows of the step.
        shape: (n, d) of the prompt.
        seed: of the prompt.
        step: number of the step.

    Returns:
        (R, n, d)
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return share * torch.randn(rows, *shape, generator=generator)
