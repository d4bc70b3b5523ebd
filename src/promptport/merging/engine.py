"""Merging: several task prompt vectors into one by a method of the registry.

Coefficients come from the expression (`sst2 + 0.5*mnli`); a method decides what is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch

from promptport._version import __version__
from promptport.errors import PromptPortError
from promptport.merging import methods  # noqa: F401  (they register)
from promptport.merging.registry import (
    MergeMethod,
    MergeProblem,
    find_merge,
)
from promptport.seeds import check_seed
from promptport.storage import VectorLike, as_vector
from promptport.vector import TaskPromptVector


def merge(
    vectors: Sequence[VectorLike],
    coefficients: Sequence[float] | None = None,
    *,
    method: str = "sum",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> TaskPromptVector:
    """Merge task prompt vectors of the same backbone, with as many virtual tokens.

    Args:
        vectors: m >= 1 of them, (n, d) each, or their folders.
        coefficients: one per vector, any finite numbers; None for 1 each.
        method: name of a merge method, with or without version.
        seed: of methods that draw random numbers.
        options: of the method.

    Returns:
        (n, d). Its `coefficients` are those of the result where the method is linear (the mean of
        two tasks has 0.5 of each), and otherwise those that were asked for, counted apart
        from those of the parts. Vectors of one task have names of their own. The last entry of
        `provenance.history` says method, options and seed.

    Raises:
        PromptPortError: no vectors, coefficients that are too few, too many or not finite, or a
            seed out of its range.
        MismatchError: vectors of different backbones.
        ShapeError: vectors with different numbers of virtual tokens.
        UnknownNameError: no such method or option.
    """
    check_seed(seed)
    chosen = find_merge(method)
    settings = chosen.complete(options or {})
    asked = [1.0] * len(vectors) if coefficients is None else list(coefficients)
    if not vectors or len(asked) != len(vectors):
        raise PromptPortError(
            "merge",
            expected="one vector or more and a coefficient for each",
            got=f"{len(vectors)} vectors, {len(asked)} coefficients",
            fix="Give as many coefficients as vectors, or none",
        )
    parts = [as_vector(vector) for vector in vectors]
    asked_sum = _sum(parts, asked)
    problem = MergeProblem(
        torch.stack([v.delta for v in parts]).double(),
        torch.tensor(asked, dtype=torch.float64),
        torch.Generator().manual_seed(seed),
    )
    if chosen.linear:
        merged = _sum(parts, _weights(chosen, problem, settings))
    else:
        delta = chosen.function(problem, **settings).float()  # (n, d)
        merged = asked_sum.with_values(delta)
    step = {
        "step": "merge",
        "method": chosen.name,
        "source": asked_sum.label,
        "options": settings,
        "seed": seed,
        "promptport": __version__,
    }
    old = merged.provenance
    return replace(merged, provenance=replace(old, history=(*old.history, step)))


def _sum(vectors: Sequence[TaskPromptVector], weights: Sequence[float]) -> TaskPromptVector:
    return reduce(TaskPromptVector.__add__, [w * v for w, v in zip(weights, vectors, strict=True)])


def _weights(method: MergeMethod, problem: MergeProblem, options: Mapping[str, Any]) -> list[float]:
    """Weights of a linear method: what it makes of unit vectors."""
    units = torch.eye(len(problem.deltas), dtype=torch.float64)[:, None, :]  # (m, 1, m)
    weights: list[float] = method.function(replace(problem, deltas=units), **options)[0].tolist()
    return weights
