"""SoftPrompt: the learned vectors of prompt tuning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from promptport.errors import ShapeError
from promptport.mixture import Mixture
from promptport.provenance import Provenance


@dataclass(frozen=True)
class SoftPrompt:
    """A soft prompt of `n` virtual tokens for a backbone whose input rows are `d` wide.

    Two are equal if all their values and records are.

    Attributes:
        vectors: (n, d) float32, finite, in the space of the backbone's *input rows* (what the
            embedding module puts out, so after any embedding scale).
        provenance: where it comes from.
        origin: (n, d) float32, the prompt that tuning started from, if it is known.
        mixture: the words that the virtual tokens are mixed of, if it is a mixture prompt.

    Raises:
        ShapeError: not a finite 2-D tensor, or an origin of another shape.
    """

    vectors: Tensor
    provenance: Provenance
    origin: Tensor | None = field(default=None)
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", _checked("prompt", self.vectors))
        if self.mixture is not None and len(self.mixture.weights) != self.length:
            raise ShapeError(
                "mixture",
                expected=f"{self.length} rows, one per virtual token",
                got=str(len(self.mixture.weights)),
                fix="Give the mixture of this very prompt",
            )
        if self.origin is None:
            return
        object.__setattr__(self, "origin", _checked("origin", self.origin))
        if self.origin.shape != self.vectors.shape:
            raise ShapeError(
                "origin",
                expected=f"the prompt's shape {tuple(self.vectors.shape)}",
                got=str(tuple(self.origin.shape)),
                fix="Give the origin of this very prompt",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftPrompt):
            return NotImplemented
        left, right = (
            [p.vectors, *([] if p.origin is None else [p.origin])] for p in (self, other)
        )
        return (
            (self.provenance, self.mixture) == (other.provenance, other.mixture)
            and len(left) == len(right)
            and all(map(torch.equal, left, right))
        )

    def __hash__(self) -> int:
        return hash(tuple(self.vectors[0].tolist()))

    def __repr__(self) -> str:
        made = self.provenance
        kind = "free" if self.mixture is None else "mixture"
        task = "" if made.task is None else f", task {made.task}"
        return (
            f"SoftPrompt({self.length} virtual tokens, {self.width} wide, {kind}, "
            f"of {made.backbone}{task})"
        )

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.vectors.shape[0]

    @property
    def width(self) -> int:
        """Width d of the input rows."""
        return self.vectors.shape[1]

    def with_provenance(self, **changes: Any) -> SoftPrompt:
        """A copy whose provenance differs in the given fields."""
        return replace(self, provenance=replace(self.provenance, **changes))


def _checked(name: str, value: Tensor) -> Tensor:
    if value.ndim != 2 or 0 in value.shape:
        raise ShapeError(
            name,
            expected="a tensor (n, d) with n, d >= 1",
            got=str(tuple(value.shape)),
            fix="Give one row per virtual token",
        )
    if not value.is_floating_point():
        raise _no_values(name, str(value.dtype))
    plain = value.detach().to(dtype=torch.float32, device="cpu")
    if not bool(torch.isfinite(plain).all()):
        raise _no_values(name, "values that are not finite")
    return plain.contiguous().clone()


def _no_values(name: str, got: str) -> ShapeError:
    return ShapeError(
        name,
        expected="finite floating-point values (float32)",
        got=got,
        fix="Tune again with a lower learning rate, or restore the file",
    )
