"""Coefficients of a combination, chosen on dev data: paper B's grid, and what repairs it.

Paper B (arXiv 2408.01119) takes `P' = P_0' + λ Σ_i T_i` and chooses λ from 0, 0.05, ... 1 by the
mean dev score of the tasks. A mean cannot see that one task is kept whole and the other
wiped out; the smallest kept share, or the harmonic mean of the shares, can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from statistics import fmean, harmonic_mean
from typing import Any

from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TuningError
from promptport.evaluation import Evaluation, score_prompts
from promptport.merging.engine import merge
from promptport.merging.search_settings import (
    MOST_VALUES,
    SearchConfig,
    SearchResult,
    Trial,
    kept_share,
)
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.storage import PromptLike, VectorLike, as_prompt, as_vector
from promptport.tasks import Task, TaskLike, as_task
from promptport.vector import TaskPromptVector

_MOST_COMBINATIONS = 64  # of the usual levels
_MOST_ROUNDS = 500  # of moves: where ever larger coefficients do better, they would never end
_ALONE = 0.25  # distance to the next value of a grid of one
_DIGITS = 12


def search_coefficients(
    backbone: BackboneLike,
    vectors: Sequence[VectorLike],
    tasks: Sequence[TaskLike],
    origin: PromptLike | Tensor,
    config: SearchConfig | None = None,
    *,
    terms: Sequence[float] | None = None,
    made: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Choose the coefficients of a combination by labelled dev rows.

    All coefficients of a grid are scored on all tasks in one pass of shared batches. Separate
    coefficients, and with a precision also one, are refined afterwards, with one pass for each
    round of neighbours.

    Args:
        backbone: the frozen model.
        vectors: m >= 1, (n, d) each.
        tasks: those that the combination must serve, one or more.
        origin: (n, d), what the combination is added to.
        config: how to search.
        terms: coefficients of the expression, which the chosen ones multiply; None for 1 each.
        made: how the origin was made, for the provenance.

    Returns:
        The best combination. If one coefficient is searched and every value of the criterion is 0,
        it is 1 (as in paper B's code).

    Raises:
        TuningError: no tasks, or one twice.
        PromptPortError: as `merge`.
        MismatchError: vectors, origin and backbone do not belong together.
        TaskError: data or templates that do not fit.
    """
    backbone, asked = as_backbone(backbone), [as_task(task) for task in tasks]
    parts = [as_vector(vector) for vector in vectors]
    start = origin if isinstance(origin, Tensor) else as_prompt(origin)
    search = _Search(backbone, parts, asked, start, config or SearchConfig(), terms, made)
    return search.run()


class _Search:
    def __init__(
        self,
        backbone: Backbone,
        vectors: Sequence[TaskPromptVector],
        tasks: Sequence[Task],
        origin: SoftPrompt | Tensor,
        config: SearchConfig,
        terms: Sequence[float] | None,
        made: Mapping[str, Any] | None,
    ) -> None:
        names = [task.name for task in tasks]
        if not names or len(set(names)) < len(names):
            raise TuningError(
                "tasks of the search",
                expected="one or more, each once",
                got=", ".join(names) or "none",
                fix="Name the tasks that the combination must serve",
            )
        self.backbone, self.tasks, self.config, self.origin = backbone, tasks, config, origin
        self.vectors, self.made = vectors, made
        self.terms = [1.0] * len(vectors) if terms is None else list(terms)
        self.whole = self._merge(self.terms)
        self.alone: list[float] = []
        self.trials: dict[tuple[float, ...], Trial] = {}
        self.scores: dict[tuple[float, ...], list[Evaluation]] = {}

    def run(self) -> SearchResult:
        separate = self.config.coefficients == "separate"
        self._try(self._combinations() if separate else [(x,) for x in self.config.values])
        best = self._refine(self._best())
        if not separate and all(trial.value == 0 for trial in self.trials.values()):
            # paper B's evaluator takes 1 where every coefficient scores nothing
            self._try([(1.0,)])
            best = self.trials[1.0,]
        return self._result(best)

    def _merge(self, coefficients: Sequence[float]) -> TaskPromptVector:
        config = self.config
        return merge(
            self.vectors,
            coefficients,
            method=config.method,
            seed=config.seed,
            options=config.options,
        )

    def _vector(self, factors: tuple[float, ...]) -> TaskPromptVector:
        """One factor scales the combination; so methods that look at proportions only have one."""
        if self.config.coefficients == "one":
            return factors[0] * self.whole
        return self._merge(self._coefficients(factors))

    def _coefficients(self, factors: Sequence[float]) -> list[float]:
        """One per vector, terms included; without minus zero."""
        return [f * t + 0.0 for f, t in zip(factors, self.terms, strict=True)]

    def _prompt(self, vector: TaskPromptVector) -> SoftPrompt:
        return vector.apply(self.origin, self.made)

    def _combinations(self) -> list[tuple[float, ...]]:
        count, levels = len(self.vectors), self.config.values
        most = _MOST_COMBINATIONS if self.config.grid is None else MOST_VALUES
        if len(levels) ** count <= most:
            return list(product(levels, repeat=count))
        return [(level,) * count for level in levels]

    def _try(self, candidates: Sequence[tuple[float, ...]]) -> None:
        """Score what has not been scored yet, the single vectors with the first of them."""
        new = [c for c in dict.fromkeys(candidates) if c not in self.trials]
        prompts = [self._prompt(self._vector(factors)) for factors in new]
        if not self.alone:
            prompts += [self._prompt(vector) for vector in self.vectors]
        if not prompts:
            return
        config = self.config
        with stage(f"searching coefficients, {len(self.trials) + len(new)} so far"):
            scored = score_prompts(
                self.backbone,
                prompts,
                self.tasks,
                split=config.split,
                rows=config.rows,
                truncate=config.truncate,
            )
        if not self.alone:
            single = scored[len(new) :]
            self.alone = [
                max(e.score.value for e in column) for column in zip(*single, strict=True)
            ]
        for factors, evaluations in zip(new, scored, strict=False):
            scores = tuple(e.score.value for e in evaluations)
            loss = fmean(e.loss for e in evaluations)
            self.trials[factors] = Trial(factors, scores, loss, self._value(scores))
            self.scores[factors] = evaluations

    def _value(self, scores: Sequence[float]) -> float:
        if self.config.criterion == "mean":
            return fmean(scores)
        shares = [max(0.0, kept_share(s, a)) for s, a in zip(scores, self.alone, strict=True)]
        return min(shares) if self.config.criterion == "min" else harmonic_mean(shares)

    def _best(self) -> Trial:
        ties = self.config.ties or ("loss" if self.config.precision else "smallest")

        def order(trial: Trial) -> tuple[float, float, float]:
            size = sum(abs(f) for f in trial.factors)
            second = -trial.loss if ties == "loss" else 0.0
            return trial.value, second, -size

        return max(self.trials.values(), key=order)

    def _refine(self, best: Trial) -> Trial:
        """Move coefficients by ever smaller steps, by each as long as that helps."""
        rounds = _MOST_ROUNDS
        for step in self._steps():
            while rounds:
                rounds -= 1
                self._try(self._neighbours(best.factors, step))
                better = self._best()
                if better is best:
                    break
                best = better
        return best

    def _steps(self) -> Iterator[float]:
        config = self.config
        levels = sorted(set(config.values))
        step = max((b / 2 - a / 2 for a, b in pairwise(levels)), default=_ALONE / 2)
        if config.precision or config.coefficients == "separate":
            yield step
        while 0 < config.precision < step:
            step /= 2
            yield step

    def _neighbours(self, factors: tuple[float, ...], step: float) -> list[tuple[float, ...]]:
        """Up and down in each coefficient, and in two at once if there are two: the smallest of two
        shares may rise only where both coefficients move."""
        moves = list(product((-step, 0.0, step), repeat=2)) if len(factors) == 2 else []
        if not moves:
            units = [tuple(float(i == j) for j in range(len(factors))) for i in range(len(factors))]
            moves = [tuple(s * u for u in unit) for unit in units for s in (-step, step)]
        low = -math.inf if min(self.config.values) < 0 else 0.0
        high = math.inf if max(self.config.values) > 0 else 0.0
        moved = [
            tuple(
                round(min(high, max(low, f + m)), _DIGITS)
                for f, m in zip(factors, move, strict=True)
            )
            for move in moves
        ]
        return [candidate for candidate in moved if any(candidate)]  # all zero is the origin alone

    def _result(self, best: Trial) -> SearchResult:
        config = self.config
        factors = best.factors * len(self.vectors) if len(best.factors) == 1 else best.factors
        coefficients = tuple(self._coefficients(factors))
        names = [task.name for task in self.tasks]
        evaluations = self.scores[best.factors]
        step = {
            "step": "search",
            "criterion": config.criterion,
            "coefficients": list(coefficients),
            "value": best.value,
            **({"precision": config.precision} if config.precision else {}),
            "tried": len(self.trials),
            "split": config.split,
            "rows": {n: e.score.rows for n, e in zip(names, evaluations, strict=True)},
            "scores": dict(zip(names, best.scores, strict=True)),
            "promptport": __version__,
        }
        vector = self._vector(best.factors)
        history = (*vector.provenance.history, step)
        vector = replace(vector, provenance=replace(vector.provenance, history=history))
        return SearchResult(
            self._prompt(vector),
            vector,
            coefficients,
            {n: e.score for n, e in zip(names, evaluations, strict=True)},
            dict(zip(names, self.alone, strict=True)),
            best.value,
            tuple(self.trials.values()),
            config,
        )
