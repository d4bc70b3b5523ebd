"""Rules for the norms of ported virtual tokens. They only scale: a shift would turn vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor

from promptport.registry import unknown_name
from promptport.transfers.problem import TransferProblem

MagnitudeRule = Callable[[Tensor, TransferProblem], Tensor]
_TINY = 1e-30


def paper(vectors: Tensor, problem: TransferProblem) -> Tensor:
    """One scale for the whole prompt: the target's deviation over all entries (paper A, Eq. 7)."""
    return vectors * (problem.stats_tgt.std / vectors.std(correction=0).clamp_min(_TINY))


def token(vectors: Tensor, problem: TransferProblem) -> Tensor:
    """Every virtual token keeps its norm relative to the mean embedding of its space."""
    ratio = problem.stats_tgt.mean_norm / problem.stats_src.mean_norm
    wanted = problem.vectors.double().norm(dim=1, keepdim=True) * ratio  # (n, 1)
    norms = vectors.double().norm(dim=1, keepdim=True).clamp_min(_TINY)  # (n, 1)
    scaled: Tensor = vectors.double() * (wanted / norms)
    return scaled.to(vectors.dtype)


def dimension(vectors: Tensor, problem: TransferProblem) -> Tensor:
    """Dimensions in which the target's words differ little shrink; then norms as `token`.

    Solving for a description divides by these differences, so it blows such dimensions up.
    """
    spread = problem.stats_tgt.dimension_std.to(vectors.device, vectors.dtype)  # (d_t,)
    return token(vectors * (spread / spread.mean().clamp_min(_TINY)), problem)


def keep(vectors: Tensor, problem: TransferProblem) -> Tensor:
    """The norm that the method gave: right for mixtures, which carry their own."""
    return vectors


MAGNITUDES: Mapping[str, MagnitudeRule] = MappingProxyType(
    {"paper": paper, "token": token, "dimension": dimension, "keep": keep}
)


def find_magnitude(name: str) -> MagnitudeRule:
    """The rule of a name.

    Raises:
        UnknownNameError: no such rule.
    """
    if name not in MAGNITUDES:
        raise unknown_name("magnitude rule", name, MAGNITUDES)
    return MAGNITUDES[name]
