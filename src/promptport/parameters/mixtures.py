"""Anchored prompts in the tuning loop: logits over words instead of free vectors."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from promptport.errors import AnchorError, MismatchError
from promptport.mixture import Mixture
from promptport.parameters.optimiser import RowAdam
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace

# Logits have no unit, so one learning rate and one spread suit every backbone.
LOGIT_RATE = 1.0
LOGIT_SPREAD = 0.5


def mixture_words(space: EmbeddingSpace, words: Collection[str] | None = None) -> tuple[str, ...]:
    """The words that anchored prompts mix, in a fixed order: single tokens of the backbone.

    Args:
        space: space of the backbone.
        words: use only these, for instance those that a target knows as well; None for all.

    Raises:
        AnchorError: fewer than two of them are single tokens.
    """
    found = tuple(sorted(space.words if words is None else space.words.keys() & set(words)))
    if len(found) < 2:
        raise AnchorError(
            "words",
            expected=f"at least two that are single tokens of {space.backbone}",
            got=str(len(found)),
            fix="Give more words",
        )
    return found


def starting_logits(count: int, length: int, seed: int) -> Tensor:
    """Logits (length, count) that anchored tuning starts from: N(0, 0.5)."""
    generator = torch.Generator().manual_seed(seed)
    return LOGIT_SPREAD * torch.randn(length, count, generator=generator)


def starting_mixture(prompt: SoftPrompt, space: EmbeddingSpace) -> Mixture:
    """The mixture that tuning of an anchored prompt started from, made again from its seed.

    Args:
        prompt: anchored, with the origin that its provenance tells.
        space: of its backbone.

    Raises:
        MismatchError: it is not anchored, or that mixture is not its origin.
    """
    made, origin = prompt.provenance.origin or {}, prompt.origin
    mixture = prompt.mixture
    if mixture is not None and origin is not None and made.get("kind") == "mixture":
        logits = starting_logits(len(mixture.words), prompt.length, int(made["seed"]))
        found = Mixture(mixture.words, logits.softmax(1))
        if torch.allclose(found.vectors(space), origin, rtol=1e-3, atol=1e-4):
            return found
    raise MismatchError(
        "prompt",
        expected="an anchored prompt with the mixture that tuning started from",
        got="none that its record makes again",
        fix="Tune with --mixture, make it again (promptport move --only mixture), or use the "
        "vector of its rows",
    )


class MixtureRows:
    """The logits of all anchored prompts of a run, one row per virtual token.

    `P = softmax(L) A + R`; the loop gives the gradient of `P`, the chain rule gives that of `L`.
    The rest `R` is zero unless a limit allows it.

    Args:
        space: space of the backbone.
        words: k words to mix, single tokens of the backbone.
        rows: (M,) which rows of the run's vectors are anchored.
        logits: (M, k) to start from.
        device: where to compute.
        rest: (M, 2) for every row the largest length of its rest as a share of its mixture's, and
            the learning rate of the rest as a share of that of the logits; None for no rest.
    """

    def __init__(
        self,
        space: EmbeddingSpace,
        words: tuple[str, ...],
        rows: Tensor,
        logits: Tensor,
        device: torch.device,
        rest: Tensor | None = None,
    ) -> None:
        self.words = words
        self.anchors = space.rows([space.words[word] for word in self.words]).to(device)  # (k, d)
        self.rows = rows.to(device)
        self.logits = logits.to(device)
        self.optimiser = RowAdam(self.logits)
        self.best = self.logits.cpu().clone()
        self.rest: RowAdam | None = None
        if rest is not None and bool((rest[:, 0] > 0).any()):
            self.rest = RowAdam(torch.zeros(len(logits), self.anchors.shape[1], device=device))
            self.limits, self.rest_rates = rest[:, :1].to(device), rest[:, 1:].to(device)

    def vectors(self) -> Tensor:
        """(M, d): the virtual tokens."""
        mixed = self.logits.softmax(1) @ self.anchors
        return mixed if self.rest is None else mixed + self.rest.vectors

    def step(self, gradient: Tensor, rates: Tensor, active: Tensor) -> None:
        """Update the logits of the active rows.

        Args:
            gradient: (N, d) of all vectors of the run.
            rates: (N, 1) learning rates.
            active: (N, 1) bool.
        """
        self.update(self.chain(gradient, active), rates, active)
        if self.rest is not None:
            own = self.rest_rates * rates[self.rows]
            self.rest.step(gradient[self.rows], own, active[self.rows])
            longest = self.limits * (self.logits.softmax(1) @ self.anchors).norm(
                dim=1, keepdim=True
            )
            length = self.rest.vectors.norm(dim=1, keepdim=True).clamp_min(1e-30)
            self.rest.vectors.mul_((longest / length).clamp_max(1.0))

    def chain(self, gradient: Tensor, active: Tensor) -> Tensor:
        """Gradient of the logits (M, k) from that of all vectors of the run (N, d)."""
        weights = self.logits.softmax(1)  # (M, k)
        along = torch.where(active[self.rows], gradient[self.rows], 0) @ self.anchors.T  # (M, k)
        return weights * (along - (weights * along).sum(1, keepdim=True))

    def update(self, gradient: Tensor, rates: Tensor, active: Tensor) -> None:
        """Move the logits of the active rows along their gradient (M, k)."""
        self.optimiser.step(gradient, rates[self.rows], active[self.rows])

    def keep_best(self, first: int, length: int) -> None:
        """Note the logits of one prompt as its best so far.

        Args:
            first: first row of the prompt among the run's vectors.
            length: its number of virtual tokens.
        """
        own = self._own(first, length)
        self.best[own] = self.logits[own].cpu()

    def mixture(self, first: int, length: int) -> Mixture:
        """The best mixture of one prompt."""
        return Mixture(self.words, self.best[self._own(first, length)].softmax(1))

    def _own(self, first: int, length: int) -> Tensor:
        rows = self.rows.cpu()
        return torch.nonzero((rows >= first) & (rows < first + length)).flatten()

    def tensors(self) -> dict[str, Tensor]:
        """State by name, for saving and restoring in place."""
        found = {
            "logits": self.logits,
            "logits_best": self.best,
            "logits_first": self.optimiser.first,
            "logits_second": self.optimiser.second,
            "logits_updates": self.optimiser.updates,
        }
        if self.rest is not None:
            found |= {
                "rest": self.rest.vectors,
                "rest_first": self.rest.first,
                "rest_second": self.rest.second,
                "rest_updates": self.rest.updates,
            }
        return found
