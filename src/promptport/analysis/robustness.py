"""Does a task prompt vector work on other origins than the one it was tuned from?

Paper B's first question (arXiv 2408.01119, RQ1): `P_j + T_i` against `P_i + T_i = P*_i`. On five of
its six tasks the vectors move; on TREC, tuned longest on the fewest rows, 95.5 falls to 26.5. What
the paper does not ask is what the bare origin P_j scores: where that is nearly as much, a share of
the score says nothing about the vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Tensor

from promptport.analysis.statistics import Interval, bootstrap_ratio
from promptport.backbone import Backbone, with_origin
from promptport.errors import MismatchError
from promptport.evaluation import Evaluation, score_prompts
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

Movement = Literal["moves", "moves with a loss", "does not move", "nothing to move"]

MOVES, LOSES = 0.99, 0.8  # kept shares from which on a vector moves, and moves with a loss
_ALIKE = 0.3  # cosine from which on vectors of different origins count as one and the same


@dataclass(frozen=True)
class OriginRobustness:
    """Own against other origins, for one task.

    Attributes:
        task: its name.
        own: score of each vector on its own origin.
        other: per vector, its scores on all other origins.
        bare: per vector, what these other origins score without it.
        alone: score of each vector without an origin.
        majority: score of the most frequent training answer.
        kept: share of the score that is left on other origins (mean of other over mean of own),
            with an interval for both the origins and the rows; None where no vector counts. A
            vector counts if the interval of its own score lies above the majority answer and above
            the mean of the bare origins.
        added: the same of what is above the bare origins: how far of the way from their scores to
            the own one the vector leads; below 0 where it does harm.
        length_ratio: mean length of the vectors over that of their origins.
        cosine: mean cosine of vectors tuned from different origins; None without such a pair.
        movement: the verdict, by `added`.
        reason: in plain words.
    """

    task: str
    own: tuple[float, ...]
    other: tuple[tuple[float, ...], ...]
    bare: tuple[tuple[float, ...], ...]
    alone: tuple[float, ...]
    majority: float
    kept: Interval | None
    added: Interval | None
    length_ratio: float
    cosine: float | None
    movement: Movement
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class OnOrigins:
    """Evaluations of one vector.

    Attributes:
        own: on its own origin.
        alone: without an origin.
        other: on each other origin.
        bare: of each other origin without it.
        places: numbers of these origins.
    """

    own: Evaluation
    alone: Evaluation
    other: Sequence[Evaluation]
    bare: Sequence[Evaluation]
    places: Sequence[int]


def origin_robustness(
    backbone: Backbone,
    task: Task,
    prompts: Sequence[SoftPrompt],
    *,
    unseen: Sequence[Tensor] = (),
    split: str = "test",
    rows: int = 0,
    truncate: bool = False,
) -> OriginRobustness:
    """Put the vector of every prompt on every other origin, and score all in one pass, with the
    bare origins and the bare vectors.

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
    # In the template that the prompts were tuned in, origins too.
    plain = replace(applied[0], origin=None)
    bare = [replace(plain, vectors=origin) for origin in origins]
    alone = [replace(plain, vectors=vector.delta) for vector in vectors]
    with stage(f"scoring {task.name} on other origins"):
        evaluations = score_prompts(
            backbone, [*applied, *bare, *alone], [task], split=split, rows=rows, truncate=truncate
        )
    scores = [row[0] for row in evaluations]
    count = len(origins)
    table = [scores[i : i + count] for i in range(0, len(applied), count)]
    without = scores[len(applied) : len(applied) + count]
    each = [
        OnOrigins(
            own=row[i],
            alone=scores[len(applied) + count + i],
            other=[row[j] for j in places],
            bare=[without[j] for j in places],
            places=places,
        )
        for i, (row, places) in enumerate(zip(table, others, strict=True))
    ]
    return judge_robustness(task.name, each, task.majority_score(split).value, vectors, origins)


def judge_robustness(
    task: str,
    each: Sequence[OnOrigins],
    majority: float,
    vectors: Sequence[TaskPromptVector],
    origins: Sequence[Tensor],
) -> OriginRobustness:
    """The verdict on evaluations that are there already.

    Args:
        task: its name.
        each: one per vector.
        majority: score of the most frequent training answer.
        vectors: as tuned, (n, d) each.
        origins: (n, d) each, first those of the vectors.
    """
    counted = [
        (number, scores)
        for number, scores in enumerate(each)
        if scores.own.score.low > max(majority, fmean(e.score.value for e in scores.bare))
    ]
    lengths = fmean(float(v.delta.norm()) for v in vectors)
    ratio = lengths / max(fmean(float(o.norm()) for o in origins), 1e-12)
    cosines = [
        float(torch.cosine_similarity(a.delta.flatten(), b.delta.flatten(), dim=0))
        for (a, start), (b, other) in combinations(zip(vectors, origins, strict=False), 2)
        if not torch.equal(start, other)
    ]
    robustness = OriginRobustness(
        task=task,
        own=tuple(e.own.score.value for e in each),
        other=tuple(tuple(o.score.value for o in e.other) for e in each),
        bare=tuple(tuple(o.score.value for o in e.bare) for e in each),
        alone=tuple(e.alone.score.value for e in each),
        majority=majority,
        kept=_share(counted, bare=False),
        added=_share(counted, bare=True),
        length_ratio=ratio,
        cosine=fmean(cosines) if cosines else None,
        movement="nothing to move",
        reason="",
    )
    movement, reason = _verdict(robustness)
    return replace(robustness, movement=movement, reason=reason)


def _share(counted: Sequence[tuple[int, OnOrigins]], *, bare: bool) -> Interval | None:
    """Of the own scores, or of what these are above the bare origins, the share on others."""
    if not counted:
        return None
    above, below, units = [], [], []
    several = len(counted) > 1
    for number, scores in counted:
        own = _rows(scores.own)
        for evaluation, without, place in zip(
            scores.other, scores.bare, scores.places, strict=True
        ):
            other, less = _rows(evaluation), _rows(without)
            above.append(_less(other, less) if bare else other)
            below.append(_less(own, less) if bare else own)
            units.append((number, place) if several else (place,))
    return bootstrap_ratio(above, below, units=units)


def _rows(evaluation: Evaluation) -> list[float]:
    """Per row 1 if it is right, else 0; the score itself where that is no share of rows."""
    return (
        [evaluation.score.value]
        if evaluation.right is None
        else [float(r) for r in evaluation.right]
    )


def _less(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(left, right, strict=True)]


def _verdict(robustness: OriginRobustness) -> tuple[Movement, str]:
    if robustness.kept is None or robustness.added is None:
        own, bare = fmean(robustness.own), fmean(fmean(row) for row in robustness.bare)
        if bare > robustness.majority:
            return "nothing to move", (
                f"the tuned prompts ({own:.3f}) are not above bare origins ({bare:.3f}) beyond "
                "noise"
            )
        return "nothing to move", "the tuned prompts do not beat the majority answer beyond noise"
    value, low, high = robustness.added.value, robustness.added.low, robustness.added.high
    said = _movement(value)
    share = (
        f"on other origins {robustness.kept.value:.1%} of the score is kept, and the vector leads "
        f"{value:.0%} [{low:.0%}, {high:.0%}] of the way from bare origins to it"
    )
    if said != "moves":
        share += f", because {_cause(robustness)}"
    if not _movement(low) == said == _movement(high):
        share += "; more origins or rows would make it surer"
    return said, share


def _movement(share: float) -> Movement:
    if share >= MOVES:
        return "moves"
    return "moves with a loss" if share >= LOSES else "does not move"


def _cause(robustness: OriginRobustness) -> str:
    """By taking the origin away: either other origins stand in the way, or its own is missing."""
    own, alone = fmean(robustness.own), fmean(robustness.alone)
    if alone >= LOSES * own:
        cause = f"other origins disturb it: without any origin it has {alone:.3f}"
    else:
        cause = f"it leans on its own origin: without any it has {alone:.3f}"
    if robustness.cosine is not None and robustness.cosine < _ALIKE:
        cause += (
            f", and vectors tuned from different origins have little in common (cosine "
            f"{robustness.cosine:.2f})"
        )
    return cause
