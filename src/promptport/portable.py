"""PortablePrompt: a prompt told by words alone, to be read by a backbone that nobody knows yet.

A transfer looks at the source in two places only: the cosines of the virtual tokens to the words,
and their norms. Kept in a file, both can be read on any backbone without the source:
`encode_prompt` makes one, `transfer` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from promptport.errors import ShapeError
from promptport.mixture import Mixture
from promptport.provenance import Provenance

# For each virtual token, (token, cosine) of the nearest rows of a table.
Nearest = tuple[tuple[tuple[str, float], ...], ...]
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class PortablePrompt:
    """A soft prompt of `n` virtual tokens by its relation to `k` words.

    Attributes:
        words: k different words, single tokens of the source, in code point order.
        relative: (n, k) float32, cosine of every virtual token to every word, in [-1, 1].
        norms: (n,) float64, norms of the virtual tokens over the mean norm of the source's rows.
        provenance: of the prompt in its source.
        mixture: the words that the virtual tokens are mixed of, if it is a mixture prompt; weights
            below rounding are left out.
        nearest: for each virtual token, (token, cosine) of the nearest source rows, for the report.
        parallel: mean cosine between different virtual tokens in the source, for the report.

    Raises:
        ShapeError: other shapes or values.
    """

    words: tuple[str, ...]
    relative: Tensor
    norms: Tensor
    provenance: Provenance
    mixture: Mixture | None = None
    nearest: Nearest = ()
    parallel: float | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("relative", torch.float32), ("norms", torch.float64)):
            value = getattr(self, name).detach().to(dtype=dtype, device="cpu").contiguous()
            object.__setattr__(self, name, value.clone())
        n, k = len(self.norms), len(set(self.words))
        shape = tuple(self.relative.shape)
        if shape != (n, k) or k != len(self.words) or 0 in shape:
            _refuse("relative", f"({n}, {k}), a row per norm, a column per word", str(shape))
        if not bool((self.relative.abs() <= 1 + _ROUNDING).all()):  # NaN is not either
            _refuse("relative", "cosines in [-1, 1]", "others")
        if not bool(((self.norms > 0) & self.norms.isfinite()).all()):
            _refuse("norms", "finite numbers above 0", "others")
        if self.mixture is not None and len(self.mixture.weights) != n:
            _refuse("mixture", f"{n} rows", str(len(self.mixture.weights)))
        if self.nearest and len(self.nearest) != n:
            _refuse("nearest", f"none, or {n} rows", str(len(self.nearest)))

    def __repr__(self) -> str:
        made = self.provenance
        kind = "free" if self.mixture is None else "mixture"
        task = "" if made.task is None else f", task {made.task}"
        return (
            f"PortablePrompt({self.length} virtual tokens by {len(self.words)} words, {kind}, "
            f"from {made.backbone}{task})"
        )

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.relative.shape[0]


def _refuse(name: str, expected: str, got: str) -> NoReturn:
    raise ShapeError(name, expected=expected, got=got, fix="Encode the prompt again")
