"""Does a task prompt vector work on other origins than the one it was tuned from?

Paper B's first question (arXiv 2408.01119, RQ1): `P_j + T_i` against `P_i + T_i = P*_i`. On five of
its six tasks the vectors move; on TREC, tuned longest on the fewest rows, 95.5 falls to 26.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from promptport.analysis.statistics import Interval, bootstrap_mean
from promptport.backbone import Backbone, with_origin
from promptport.errors import MismatchError
from promptport.evaluation import score_prompts
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

Movement = Literal["moves", "moves with a loss", "does not move", "nothing to move"]

MOVES, LOSES = 0.99, 0.8  # kept shares from which on a vector moves, and moves with a loss
_SHORT = 1.0  # times the length of the origins: below, a prompt is mostly its origin
_ALIKE = 0.3  # cosine from which on vectors of different origins count as one and the same


@dataclass(frozen=True)
class Independence:
    """Own against other origins, for one task.

    Attributes:
        task: its name.
        own: score of each vector on its own origin.
        other: per vector, its scores on all other origins.
        majority: score of the most frequent training answer.
        kept: mean of other / own over all pairs of vector and other origin, with its interval over
            these pairs; None if no vector beats the majority answer.
        length_ratio: mean length of the vectors over that of their origins.
        cosine: mean cosine of vectors tuned from different origins; None without such a pair.
        movement: the verdict.
        reason: in plain words.
    """

    task: str
    own: tuple[float, ...]
    other: tuple[tuple[float, ...], ...]
    majority: float
    kept: Interval | None
    length_ratio: float
    cosine: float | None
    movement: Movement
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def origin_independence(
    backbone: Backbone,
    task: Task,
    prompts: Sequence[SoftPrompt],
    *,
    unseen: Sequence[Tensor] = (),
    split: str = "test",
    rows: int = 0,
    truncate: bool = False,
) -> Independence:
    """Put the vector of every prompt on every other origin, and score all in one pass.

    Args:
        backbone: the frozen model.
        task: the task of all prompts.
        prompts: (n, d), tuned, with their origins.
        unseen: (n, d) further origins that nothing was tuned from.
        split: `train`, `dev` or `test`.
        rows: most rows; 0 for all.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        MismatchError: no prompts, no other origin, a prompt without origin or of another backbone.
        ShapeError: origins of another length.
    """
    prompts = [with_origin(prompt, backbone) for prompt in prompts]
    vectors = [TaskPromptVector.of(prompt, task.name) for prompt in prompts]
    origins = [p.origin for p in prompts if p.origin is not None] + list(unseen)
    others = [
        [j for j, other in enumerate(origins) if not torch.equal(own, other)]
        for own in origins[: len(vectors)]
    ]
    if not vectors or not all(others):
        raise MismatchError(
            f"origins of {task.name}",
            expected="two or more different ones, one of them tuned from",
            got=str(len(origins)) if not vectors or len(origins) < 2 else "only the same one",
            fix="Tune from another origin, or give an unseen one",
        )
    applied = [vector.apply(origin) for vector in vectors for origin in origins]
    found = score_prompts(backbone, applied, [task], split=split, rows=rows, truncate=truncate)
    scores = [row[0].score.value for row in found]
    table = [scores[i : i + len(origins)] for i in range(0, len(scores), len(origins))]
    own = tuple(row[i] for i, row in enumerate(table))
    other = tuple(tuple(row[j] for j in places) for row, places in zip(table, others, strict=True))
    return judge_independence(
        task.name, own, other, task.majority_score(split).value, vectors, origins
    )


def judge_independence(
    task: str,
    own: Sequence[float],
    other: Sequence[Sequence[float]],
    majority: float,
    vectors: Sequence[TaskPromptVector],
    origins: Sequence[Tensor],
) -> Independence:
    """The verdict on scores that are there already.

    Args:
        task: its name.
        own: one score per vector.
        other: per vector its scores on other origins.
        majority: score of the most frequent training answer.
        vectors: as tuned, (n, d) each.
        origins: (n, d) each, first those of the vectors.
    """
    shares = [s / o for o, row in zip(own, other, strict=True) if o > majority for s in row]
    kept = bootstrap_mean(shares) if shares else None
    lengths = fmean(float(v.delta.norm()) for v in vectors)
    ratio = lengths / max(fmean(float(o.norm()) for o in origins), 1e-12)
    cosines = [
        float(torch.cosine_similarity(a.delta.flatten(), b.delta.flatten(), dim=0))
        for (a, start), (b, other) in combinations(zip(vectors, origins, strict=False), 2)
        if not torch.equal(start, other)
    ]
    cosine = fmean(cosines) if cosines else None
    movement, reason = _verdict(kept, ratio, cosine)
    return Independence(
        task,
        tuple(own),
        tuple(tuple(row) for row in other),
        majority,
        kept,
        ratio,
        cosine,
        movement,
        reason,
    )


def _verdict(kept: Interval | None, ratio: float, cosine: float | None) -> tuple[Movement, str]:
    if kept is None:
        return "nothing to move", "the tuned prompts do not beat the majority answer"
    share = f"{kept.value:.1%} of the score is kept on other origins"
    if kept.value >= MOVES:
        return "moves", share
    because = []
    if ratio < _SHORT:
        because.append(f"the vector is short ({ratio:.2f} of its origin), so the origin decides")
    if cosine is not None and cosine < _ALIKE:
        because.append(
            f"vectors tuned from different origins differ (cosine {cosine:.2f}), so each is fitted "
            "to its own"
        )
    cause = " and ".join(because) or "the origins disturb it"
    return (
        "moves with a loss" if kept.value >= LOSES else "does not move"
    ), f"{share}, because {cause}"
