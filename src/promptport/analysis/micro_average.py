"""One number for many tasks: the share of right rows over all of them, as LAMA is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from promptport.errors import PromptPortError
from promptport.evaluation import Evaluation
from promptport.tasks.metrics import CONFIDENCE, Score, wilson

_RESAMPLES = 2000


@dataclass(frozen=True)
class MicroAverage:
    """The share of right rows over the rows of several tasks.

    Attributes:
        score: value over all rows. Its interval is for other tasks of the same kind: whole tasks
            are drawn with replacement.
        macro: mean of the tasks' own scores.
        tasks: task -> its own share.
        rows: task -> its rows.
        skipped: rows that could not be asked, of all tasks.
    """

    score: Score
    macro: float
    tasks: Mapping[str, float]
    rows: Mapping[str, int]
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"tasks": dict(self.tasks), "rows": dict(self.rows)}


def micro_average(
    evaluations: Mapping[str, Evaluation | Sequence[bool]], *, seed: int = 0
) -> MicroAverage:
    """Put evaluations of several tasks together, row by row.

    LAMA's usual number, P@1 over the rows of all relations: a relation with ten times as many rows
    counts ten times as much. The rows of a relation share its prompt and are not independent, so
    the interval draws relations, not rows; that of one task alone is Wilson's, of its rows, and so
    is that of tasks which are all right or all wrong, of as many rows as there are tasks.

    Args:
        evaluations: task -> what `evaluate` gave for it, or whether each of its rows is right.
        seed: of the drawing.

    Raises:
        PromptPortError: no tasks, a task without rows, metrics that differ or that are no share of
            rows.
    """
    right = {task: _right(task, given) for task, given in evaluations.items()}
    metrics = {e.score.metric for e in evaluations.values() if isinstance(e, Evaluation)}
    if not right or len(metrics) > 1:
        raise PromptPortError(
            "micro average",
            expected="evaluations of one task or more, all by the same metric",
            got=", ".join(sorted(metrics)) or "none",
            fix="Give evaluations of one kind of task",
        )
    counts = np.array([len(own) for own in right.values()], dtype=np.float64)  # (K,)
    hits = np.array([sum(own) for own in right.values()], dtype=np.float64)
    value, total = float(hits.sum() / counts.sum()), int(counts.sum())
    if len(right) == 1 or value in (0, 1):
        low, high = wilson(value, total if len(right) == 1 else len(right))
    else:
        low, high = _interval(hits, counts, seed)
    return MicroAverage(
        Score(metrics.pop() if metrics else "accuracy", value, low, high, total),
        float((hits / counts).mean()),
        {task: float(np.mean(own)) for task, own in right.items()},
        {task: len(own) for task, own in right.items()},
        sum(e.skipped for e in evaluations.values() if isinstance(e, Evaluation)),
    )


def _right(task: str, given: Evaluation | Sequence[bool]) -> Sequence[bool]:
    right = given.right if isinstance(given, Evaluation) else given
    if right is None or not len(right):
        raise PromptPortError(
            f"micro average, task {task!r}",
            expected="one row or more, each right or wrong",
            got="a metric that is no share of rows" if right is None else "no rows",
            fix="Leave the task out, or score it by accuracy, exact-match or p@K",
        )
    return right


def _interval(hits: Any, counts: Any, seed: int) -> tuple[float, float]:
    """Of the share, with whole tasks drawn: percentiles of 2,000 ratios."""
    size = len(hits)
    drawn = np.random.default_rng(seed).multinomial(size, [1 / size] * size, _RESAMPLES)  # (B, K)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((drawn @ hits) / (drawn @ counts), [tail, 1 - tail])
    return float(low), float(high)
