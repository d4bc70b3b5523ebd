"""Embedding spaces made by hand, without any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from promptport.space import EmbeddingSpace

SpaceMaker = Callable[..., EmbeddingSpace]


def _made_space(
    name: str,
    matrix: Tensor,
    tokens: Sequence[str] | None = None,
    *,
    dropped: Mapping[str, int] | None = None,
    kind: str | None = None,
    scale: float = 1.0,
) -> EmbeddingSpace:
    """A space in which every token is a word, unless it starts with `#`."""
    names = tuple(f"word{i:04d}" for i in range(len(matrix))) if tokens is None else tuple(tokens)
    words = {token: i for i, token in enumerate(names) if not token.startswith("#")}
    return EmbeddingSpace(name, matrix, names, words, dropped or {}, scale=scale, kind=kind)


@pytest.fixture
def made_space() -> SpaceMaker:
    """Factory: (name, matrix, tokens, *, dropped, kind, scale) -> EmbeddingSpace."""
    return _made_space


@pytest.fixture
def alike_pair() -> Callable[..., tuple[EmbeddingSpace, EmbeddingSpace]]:
    """Factory: two spaces of different width: a shared latent part, own noise, a common mean."""

    def make(
        k: int = 600, widths: tuple[int, int] = (24, 16), noise: float = 0.3, seed: int = 0
    ) -> tuple[EmbeddingSpace, EmbeddingSpace]:
        generator = torch.Generator().manual_seed(seed)
        latent = torch.randn(k, 12, generator=generator)
        matrices = [
            latent @ torch.randn(12, d, generator=generator) / d**0.5
            + noise * torch.randn(k, d, generator=generator)
            + 0.5 * torch.randn(1, d, generator=generator)
            for d in widths
        ]
        return (
            _made_space("left", matrices[0], kind="masked"),
            _made_space("right", matrices[1], kind="masked"),
        )

    return make
