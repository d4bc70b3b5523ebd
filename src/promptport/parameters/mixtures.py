"""Mixture prompts while they are trained: logits over words instead of free vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from promptport.errors import AnchorError, MismatchError
from promptport.mixture import Mixture
from promptport.parameters.optimiser import RowAdam
from promptport.parameters.parametrisation import FreeVectors, Parametrisation, TrainedRows
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace

# Logits have no unit, so one learning rate and one spread suit every backbone.
LOGIT_RATE = 1.0
LOGIT_SPREAD = 0.5


def mixture_words(space: EmbeddingSpace, words: Collection[str] | None = None) -> tuple[str, ...]:
    """The words that mixture prompts mix, in a fixed order: single tokens of the backbone.

    Args:
        space: space of the backbone.
        words: use only these, for instance those that a target knows as well; None for all.

    Raises:
        AnchorError: fewer than two of them are single tokens.
    """
    known = tuple(sorted(space.words if words is None else space.words.keys() & set(words)))
    if len(known) < 2:
        raise AnchorError(
            "words",
            expected=f"at least two that are single tokens of {space.backbone}",
            got=str(len(known)),
            fix="Give more words",
        )
    return known


def starting_logits(count: int, length: int, seed: int) -> Tensor:
    """Logits (length, count) that the tuning of mixtures starts from: N(0, 0.5)."""
    generator = torch.Generator().manual_seed(seed)
    return LOGIT_SPREAD * torch.randn(length, count, generator=generator)


def starting_mixture(prompt: SoftPrompt, space: EmbeddingSpace) -> Mixture:
    """The mixture that tuning of a mixture prompt started from, made again from its seed.

    Args:
        prompt: a mixture prompt, with the origin that its provenance tells.
        space: of its backbone.

    Raises:
        MismatchError: it is no mixture prompt, or that mixture is not its origin.
    """
    made, origin = prompt.provenance.origin or {}, prompt.origin
    mixture = prompt.mixture
    if mixture is not None and origin is not None and made.get("kind") == "mixture":
        logits = starting_logits(len(mixture.words), prompt.length, int(made["seed"]))
        start = Mixture(mixture.words, logits.softmax(1))
        if torch.allclose(start.vectors(space), origin, rtol=1e-3, atol=1e-4):
            return start
    raise MismatchError(
        "prompt",
        expected="a mixture prompt with the mixture that tuning started from",
        got="none that its record makes again",
        fix="Tune with --mixture, make it again (promptport move --only mixture), or use the "
        "vector of its rows",
    )


class WordMixtures(Parametrisation):
    """Virtual tokens that are mixtures of words: `P = softmax(L) A + R` with logits `L (M, k)`.

    The rest `R` is zero unless a limit allows it.

    Args:
        space: space of the backbone.
        words: k words to mix, single tokens of the backbone.
        logits: (M, k) to start from; changed in place.
        device: where to compute.
        rows: (M,) which rows of a larger table these are; None if they are the table.
        rest: (M, 2) for every row the largest norm of its rest as a share of its mixture's, and
            the learning rate of the rest as a share of that of the logits; None for no rest.
    """

    def __init__(
        self,
        space: EmbeddingSpace,
        words: tuple[str, ...],
        logits: Tensor,
        device: torch.device,
        *,
        rows: Tensor | None = None,
        rest: Tensor | None = None,
    ) -> None:
        self.words = words
        self.anchors = space.rows([space.words[word] for word in self.words]).to(device)  # (k, d)
        self.rows = torch.arange(len(logits)) if rows is None else rows
        self.logits = logits.to(device).requires_grad_(True)
        self.best = logits.detach().cpu().clone()
        self.rest: Tensor | None = None
        trained = [TrainedRows(RowAdam(self.logits), self.rows)]
        if rest is not None and bool((rest[:, 0] > 0).any()):
            self.rest = torch.zeros(len(logits), self.anchors.shape[1], device=device)
            self.rest.requires_grad_(True)
            self._limits = rest[:, :1].to(device)
            trained.append(TrainedRows(RowAdam(self.rest), self.rows, rest[:, 1:]))
        self.trained: Sequence[TrainedRows] = trained

    def forward(self) -> tuple[Tensor, ...]:
        mixed = self._mixed()
        return (mixed if self.rest is None else mixed + self.rest,)

    def _mixed(self) -> Tensor:
        return softmax(self.logits) @ self.anchors  # (M, d)

    @torch.no_grad()
    def limit(self) -> None:
        """Shorten what is added to the mixtures to its limit."""
        if self.rest is None:
            return
        largest = self._limits * self._mixed().norm(dim=1, keepdim=True)
        norm = self.rest.norm(dim=1, keepdim=True).clamp_min(1e-30)
        self.rest.mul_((largest / norm).clamp_max(1.0))

    def keep(self, rows: slice) -> None:
        own = self._among(rows)
        self.best[own] = self.logits.detach()[own.to(self.logits.device)].cpu()

    def mixture(self, rows: slice) -> Mixture:
        """The best mixture of some rows of the table."""
        return Mixture(self.words, self.best[self._among(rows)].softmax(1))

    def _among(self, rows: slice) -> Tensor:
        return torch.nonzero((self.rows >= rows.start) & (self.rows < rows.stop)).flatten()

    def state(self) -> dict[str, Tensor]:
        state = {"logits": self.logits, "logits_best": self.best}
        state |= self.trained[0].adam.state("logits_")
        if self.rest is not None:
            state |= {"rest": self.rest, **self.trained[1].adam.state("rest_")}
        return state


class PromptRows(FreeVectors):
    """Prompts of any kind in one table: free vectors, and mixtures of words in some of the rows.

    Args:
        vectors: (N, d); changed in place. Rows that are mixtures do not count.
        mixtures: of those rows; None if all are free.
        weight_decay: of the free vectors.
    """

    def __init__(
        self, vectors: Tensor, mixtures: WordMixtures | None = None, weight_decay: float = 0.0
    ) -> None:
        super().__init__(vectors, weight_decay)
        self.mixtures = mixtures
        if mixtures is not None:
            self.trained = [*self.trained, *mixtures.trained]
            self._rows = mixtures.rows.to(vectors.device)

    def forward(self) -> tuple[Tensor, ...]:
        if self.mixtures is None:
            return (self.vectors,)
        (mixed,) = self.mixtures.forward()
        return (self.vectors.index_copy(0, self._rows, mixed),)

    def limit(self) -> None:
        if self.mixtures is not None:
            self.mixtures.limit()

    def keep(self, rows: slice) -> None:
        if self.mixtures is not None:
            self.mixtures.keep(rows)

    def state(self) -> dict[str, Tensor]:
        own = super().state()
        return own if self.mixtures is None else {**own, **self.mixtures.state()}


class SharedMixtures(Parametrisation):
    """Mixtures with the same weights in several backbones: a table for each.

    Args:
        mixtures: of each backbone, of the same words; the logits are those of the first.
    """

    def __init__(self, mixtures: Sequence[WordMixtures]) -> None:
        self.mixtures = mixtures
        for own in mixtures[1:]:
            own.logits = mixtures[0].logits
        self.trained = mixtures[0].trained

    def forward(self) -> tuple[Tensor, ...]:
        return tuple(own.forward()[0] for own in self.mixtures)

    def keep(self, rows: slice) -> None:
        self.mixtures[0].keep(rows)

    def state(self) -> dict[str, Tensor]:
        return self.mixtures[0].state()


class _Softmax(torch.autograd.Function):
    """Softmax over rows with its gradient written out.

    The last bit of torch's own differs. Adam at the rate of the logits makes that large enough to
    change which of two equally good epochs is chosen, and so the results in `benchmarks/`.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        weights = logits.softmax(1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (weights,) = ctx.saved_tensors
        inner: Tensor = (weights * gradient).sum(1, keepdim=True)
        along: Tensor = weights * (gradient - inner)
        return along


def softmax(logits: Tensor) -> Tensor:
    """Weights (M, k) of the words of each row, which sum to 1."""
    weights: Tensor = _Softmax.apply(logits)  # type: ignore[no-untyped-call]
    return weights
