"""How alike are prompts, and task prompt vectors, of one backbone?

Every measure compares two matrices (n, d) of virtual tokens. Only rows that reach the model may be
given: PEFT stores a second, inert half for encoder-decoders, which points the same way for all
tasks of one origin and so raises every cosine. `load_prompt` and `load_vector` drop it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, cast

import torch
from torch import Tensor

from promptport.belonging import check_same_backbone
from promptport.errors import PromptPortError, ShapeError
from promptport.library.library import Library
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

Of = Literal["prompts", "vectors"]

_TINY = 1e-6  # of the largest singular value: directions below it are rounding errors


def cosine(left: Tensor, right: Tensor) -> float:
    """Cosine of the whole matrices (n, d), flattened; 0 if one is zero."""
    return _cosine(left.flatten()[None], right.flatten()[None])


def token_cosine(left: Tensor, right: Tensor) -> float:
    """Mean cosine of virtual token i to virtual token i: (n, d) each; rows of zeros count as 0."""
    return _cosine(left, right)


def sign_conflict(left: Tensor, right: Tensor) -> float:
    """Share of entries whose signs differ, among those where neither is zero; 0.5 is chance."""
    product = torch.sign(left) * torch.sign(right)
    used = int((product != 0).sum())
    return int((product < 0).sum()) / used if used else 0.0


def norm_ratio(left: Tensor, right: Tensor) -> float:
    """Length of left over length of right, as flat vectors; infinite if only right is zero."""
    above, below = float(left.double().norm()), float(right.double().norm())
    if below:
        return above / below
    return float("inf") if above else 1.0


def principal_cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines of the principal angles between the row spaces of (n, d) and (m, d).

    Returns:
        (r,) float64 in [0, 1], largest first, with r the smaller of the two ranks; empty if one
        of them is zero.
    """
    cosines: Tensor = torch.linalg.svdvals(_row_basis(left) @ _row_basis(right).T)
    return cosines.clamp(0, 1)


def subspace_overlap(left: Tensor, right: Tensor) -> float:
    """Mean squared cosine of the principal angles: 1 if one row space lies in the other, 0 at
    right angles. Random ones have about max(n, m) / d, which is 1 once a prompt has d rows."""
    return _overlap(_row_basis(left), _row_basis(right))


def label_overlap(left: Task, right: Task) -> float | None:
    """Label words of both tasks over label words of either, without case; None without labels."""
    first, second = (
        {word.casefold() for words in (task.labels or {}).values() for word in words}
        for task in (left, right)
    )
    return len(first & second) / len(first | second) if first and second else None


MEASURES: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "cosine": cosine,
    "token_cosine": token_cosine,
    "sign_conflict": sign_conflict,
    "norm_ratio": norm_ratio,
    "subspace_overlap": subspace_overlap,
}


@dataclass(frozen=True)
class Similarity:
    """All pairs of some prompts or task prompt vectors.

    Attributes:
        of: `prompts` or `vectors`.
        names: m names.
        tasks: of each, None if unknown.
        origins: how each origin was made, as text; None if unknown.
        matrices: measure -> (m, m) float64; `norm_ratio` is row over column, the others are
            symmetric.
    """

    of: str
    names: tuple[str, ...]
    tasks: tuple[str | None, ...]
    origins: tuple[str | None, ...]
    matrices: Mapping[str, Tensor] = field(repr=False)

    def groups(self) -> dict[str, dict[str, float]]:
        """Mean cosines over pairs whose tasks and origins are known, as in paper B, section 2.6.

        Returns:
            `same task, other origin` and so on -> `pairs`, `cosine`, `token_cosine`; empty groups
            are left out.
        """
        groups: dict[str, list[tuple[int, int]]] = {}
        for i, j in combinations(range(len(self.names)), 2):
            facts = (self.tasks[i], self.tasks[j], self.origins[i], self.origins[j])
            if None not in facts:
                task = "same" if facts[0] == facts[1] else "other"
                origin = "same" if facts[2] == facts[3] else "other"
                groups.setdefault(f"{task} task, {origin} origin", []).append((i, j))
        return {
            group: {
                "pairs": len(pairs),
                **{
                    name: sum(float(self.matrices[name][p]) for p in pairs) / len(pairs)
                    for name in ("cosine", "token_cosine")
                },
            }
            for group, pairs in sorted(groups.items(), reverse=True)
        }

    @property
    def verdict(self) -> str:
        """In plain words which two are most alike, and which two stand most against each other."""
        cosines = self.matrices["cosine"]
        pairs = sorted(combinations(range(len(self.names)), 2), key=lambda p: float(cosines[p]))
        near, far = pairs[-1], pairs[0]
        said = f"most alike: {self._pair(near)}"
        return said if near == far else f"{said}; least: {self._pair(far)}"

    def _pair(self, pair: tuple[int, int]) -> str:
        first, second = (self.names[i] for i in pair)
        conflict = float(self.matrices["sign_conflict"][pair])
        cosine = float(self.matrices["cosine"][pair])
        return f"{first} and {second} (cosine {cosine:.2f}, signs differ in {conflict:.0%})"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "of": self.of,
            "verdict": self.verdict,
            "names": list(self.names),
            "tasks": list(self.tasks),
            "origins": list(self.origins),
            **{name: matrix.tolist() for name, matrix in self.matrices.items()},
            "groups": self.groups(),
        }


def compare(
    library: Library | Mapping[str, SoftPrompt] | Mapping[str, TaskPromptVector],
    of: Of = "prompts",
) -> Similarity:
    """Compare all pairs of prompts, or of task prompt vectors.

    Args:
        library: two or more by name, of one backbone and one length.
        of: of a `Library` and of prompts: `prompts`, or `vectors` for what tuning added to their
            origins.

    Raises:
        PromptPortError: fewer than two, or a vector folder among prompts.
        MismatchError: of different backbones, or a prompt without origin where vectors are asked.
        ShapeError: of different lengths.
    """
    parts = _compared(library, of)
    names = tuple(parts)
    if len(names) < 2:
        raise PromptPortError(
            "similarity",
            expected="two prompts or more",
            got=str(len(names)),
            fix="Name another prompt folder",
        )
    rows = [p.vectors if isinstance(p, SoftPrompt) else p.delta for p in parts.values()]
    sources = [p.provenance for p in parts.values()]
    _check_alike(names, rows, sources)
    bases = [_row_basis(own) for own in rows]  # once each: the one costly step
    matrices = {
        name: _pairwise(_overlap, bases) if name == "subspace_overlap" else _pairwise(measure, rows)
        for name, measure in MEASURES.items()
    }
    prompts = isinstance(next(iter(parts.values())), SoftPrompt)
    return Similarity(
        "prompts" if prompts else "vectors",
        names,
        tuple(source.task for source in sources),
        tuple(_origin_text(source) for source in sources),
        matrices,
    )


def _compared(
    library: Library | Mapping[str, SoftPrompt] | Mapping[str, TaskPromptVector], of: Of
) -> Mapping[str, SoftPrompt] | Mapping[str, TaskPromptVector]:
    if isinstance(library, Library):
        if len(library) > 1:
            library.check_one_backbone()
        if of == "vectors":
            return library.vectors()
        vectors = [entry.name for entry in library.entries if entry.kind == "vector"]
        if vectors:
            raise PromptPortError(
                "similarity of prompts",
                expected="prompt folders",
                got=f"the vector of {', '.join(vectors)}",
                fix="Compare the vectors of all: --of vectors",
            )
        return library
    if of == "prompts" or any(isinstance(own, TaskPromptVector) for own in library.values()):
        return library
    return Library.of(cast("Mapping[str, SoftPrompt]", library)).vectors()


def _check_alike(
    names: Sequence[str], rows: Sequence[Tensor], sources: Sequence[Provenance]
) -> None:
    """Refuse what cannot be compared, and name all of it."""
    for source in sources:
        check_same_backbone(sources[0], source)
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name, own in zip(names, rows, strict=True):
        shapes.setdefault(tuple(own.shape), []).append(name)
    if len(shapes) > 1:
        raise ShapeError(
            "prompts to compare",
            expected="one shape (virtual tokens, width)",
            got="; ".join(f"{shape}: {', '.join(own)}" for shape, own in shapes.items()),
            fix="Leave out the others, or tune them with the same --length",
        )


def _origin_text(source: Provenance) -> str | None:
    return None if source.origin is None else json.dumps(source.origin, sort_keys=True)


def _pairwise(measure: Callable[[Tensor, Tensor], float], rows: Sequence[Tensor]) -> Tensor:
    values = [[measure(left, right) for right in rows] for left in rows]
    return torch.tensor(values, dtype=torch.float64)  # (m, m)


def _cosine(left: Tensor, right: Tensor) -> float:
    left, right = left.double(), right.double()
    lengths = left.norm(dim=1) * right.norm(dim=1)
    products = (left * right).sum(1) / lengths.where(lengths > 0, 1.0)
    return float(products.clamp(-1, 1).mean())


def _overlap(left: Tensor, right: Tensor) -> float:
    smaller = min(len(left), len(right))
    return float((left @ right.T).square().sum()) / smaller if smaller else 0.0


def _row_basis(rows: Tensor) -> Tensor:
    """Orthonormal rows (r, d) that span the rows of (n, d)."""
    _, singular, right = torch.linalg.svd(rows.double(), full_matrices=False)
    basis: Tensor = right[singular > _TINY * singular.max().clamp_min(1e-300)]
    return basis
