"""Variants of the trained prompt that rows are asked behind: itself, under noise, on other origins.

The rows of a step draw their variants as a function of seed and step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from promptport.evaluation import PromptsOf
from promptport.parameters.noise import draw, with_noise


class Variants(Protocol):
    """What `Distillation` asks for."""

    def for_step(self, prompt: Tensor, rows: int, seed: int, step: int) -> Tensor | PromptsOf:
        """Prompts of the rows of a step.

        Args:
            prompt: (n, d), a leaf.
            rows: of the step.
            seed: of the run.
            step: its number.
        """
        ...

    def for_check(self, prompt: Tensor, rows: int) -> Tensor | PromptsOf:
        """Prompts of rows that are held back."""
        ...


class Itself:
    """The prompt as it is, for all rows."""

    def for_step(self, prompt: Tensor, rows: int, seed: int, step: int) -> Tensor | PromptsOf:
        return prompt

    def for_check(self, prompt: Tensor, rows: int) -> Tensor | PromptsOf:
        return prompt


class UnderNoise(Itself):
    """The prompt under noise of its own for every row (`TuneJob.noise`); as it is when checked.

    Args:
        share: norm of the noise as a share of that of a virtual token, 0 or more.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def for_step(self, prompt: Tensor, rows: int, seed: int, step: int) -> Tensor | PromptsOf:
        if not self.share:
            return prompt
        noises = draw(self.share, rows, (prompt.shape[0], prompt.shape[1]), seed, step)
        return _in_order(lambda own: with_noise(prompt, [0] * len(own), noises[own].unbind()))


class OnOrigins(Itself):
    """The prompt on many origins: `P_i = P + (O_i - O)`, so that what is trained is one task prompt
    vector `P - O` for all of them.

    Args:
        learned: (k, n, d), `O_i - O` of the origins that are learned from; O itself has a 0.
        unseen: (u, n, d), likewise, of those that held-back rows take in turn.
    """

    def __init__(self, learned: Tensor, unseen: Tensor) -> None:
        self.learned, self.unseen = learned, unseen

    def for_step(self, prompt: Tensor, rows: int, seed: int, step: int) -> Tensor | PromptsOf:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = torch.randint(len(self.learned), (rows,), generator=generator)

        def moved(own: list[int]) -> tuple[Tensor, Sequence[int]]:
            table = (prompt + self.learned[drawn[own]]).flatten(0, 1)
            return table, [i * len(prompt) for i in range(len(own))]

        return _in_order(moved)

    def for_check(self, prompt: Tensor, rows: int) -> Tensor | PromptsOf:
        table = (prompt + self.unseen).flatten(0, 1)
        turns = [i % len(self.unseen) * len(prompt) for i in range(rows)]
        return lambda places: (table, [turns[i] for i in places])


def _in_order(prompts: Callable[[list[int]], tuple[Tensor, Sequence[int]]]) -> PromptsOf:
    """Prompts that stand in the order of the rows, in whichever order these are asked."""

    def of(places: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
        order = sorted(places)
        table, starts = prompts(order)
        start_of = dict(zip(order, starts, strict=True))
        return table, [start_of[i] for i in places]

    return of
