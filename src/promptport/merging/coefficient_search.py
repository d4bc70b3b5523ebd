"""Coefficients of a combination, chosen on dev data: paper B's grid, and what repairs it.

Paper B (arXiv 2408.01119) takes `P' = P_0' + λ Σ_i T_i` and chooses λ from 0, 0.05, ... 1 by the
mean dev score of the tasks. A mean cannot see that one task is kept whole and the other
wiped out; the smallest kept share, or the harmonic mean of the shares, can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from statistics import fmean, harmonic_mean
from typing import Any, Literal, get_args

from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TuningError
from promptport.evaluation import Evaluation, score_prompts
from promptport.merging.engine import merge
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.storage import PromptLike, VectorLike, as_prompt, as_vector
from promptport.tasks import Score, Task, TaskLike, as_task
from promptport.vector import TaskPromptVector

Criterion = Literal["mean", "min", "harmonic"]
Coefficients = Literal["one", "separate"]
Ties = Literal["smallest", "loss"]

PAPER_GRID = tuple(round(0.05 * i, 2) for i in range(21))  # np.arange(0, 1.05, 0.05)
LEVELS = (0.25, 0.5, 0.75, 1.0)  # of separate coefficients
MOST_VALUES = 1_000  # of a grid, and combinations of a given one
_MOST_COMBINATIONS = 64  # of the usual levels
_MOST_ROUNDS = 500  # of moves: where ever larger coefficients do better, they would never end
_ALONE = 0.25  # distance to the next value of a grid of one
_DIGITS = 12


@dataclass(frozen=True)
class SearchConfig:
    """How coefficients are searched.

    Attributes:
        criterion: `mean` of the dev scores (paper B), or of the kept shares the smallest (`min`)
            or the `harmonic` mean. A kept share is the score over that of the best single vector
            on the same origin.
        coefficients: `one` for the whole combination, or `separate` ones for its vectors.
        grid: finite numbers, at most 1,000. None: 0, 0.05, ... 1 (paper B) for one coefficient,
            0.25, 0.5, 0.75, 1 for separate ones. Those try every combination if these are no more
            than 1,000 (64 of the usual levels), else one number for all.
        precision: 0 or more. Above 0 the coefficients go on from the best of the grid: up and down
            by half the grid's widest gap as long as that helps, then by half of that, until a step
            is no larger than this. They may leave the grid, but have no sign that it has not.
            Separate ones are moved by the first step also with 0.
        ties: between equal values the `smallest` coefficients (paper B), or the lowest dev `loss`,
            which sees differences that a few dev rows do not show. None: `loss` with a precision,
            else `smallest`.
        method: a merge method.
        options: of the method.
        seed: of methods that draw random numbers.
        split: whose labels are used.
        rows: most rows of each task; 0 for all.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        TuningError: an unknown choice, or a number out of its range.
    """

    criterion: Criterion = "mean"
    coefficients: Coefficients = "one"
    grid: tuple[float, ...] | None = None
    precision: float = 0.0
    ties: Ties | None = None
    method: str = "sum"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    split: str = "dev"
    rows: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        choices = {"criterion": Criterion, "coefficients": Coefficients, "ties": Ties}
        for name, kind in choices.items():
            known = get_args(kind) if name != "ties" else (None, *get_args(kind))
            if getattr(self, name) not in known:
                raise TuningError(
                    f"{name} of the search",
                    expected=", ".join(get_args(kind)),
                    got=repr(getattr(self, name)),
                    fix="Choose one of them",
                )
        check_seed(self.seed)
        if not 1 <= len(self.values) <= MOST_VALUES or not all(map(math.isfinite, self.values)):
            raise TuningError(
                "search",
                expected=f"a grid of one to {MOST_VALUES:,} finite numbers",
                got=f"{len(self.values)} numbers" if self.values else "none",
                fix="Leave it out for paper B's grid",
            )
        ranges = {
            "precision": (0 <= self.precision < math.inf, "0, or a number above it"),
            "rows": (self.rows >= 0, "0 or more"),
        }
        for name, (fits, expected) in ranges.items():
            if not fits:
                raise TuningError(
                    f"{name} of the search",
                    expected=expected,
                    got=str(getattr(self, name)),
                    fix="Leave it out",
                )

    @property
    def values(self) -> tuple[float, ...]:
        """The grid, also where it is the usual one."""
        if self.grid is not None:
            return self.grid
        return PAPER_GRID if self.coefficients == "one" else LEVELS


@dataclass(frozen=True)
class Trial:
    """One set of coefficients and how it did.

    Attributes:
        factors: on top of the terms: one, or one per vector.
        scores: one per task.
        loss: mean over the tasks.
        value: of the criterion.
    """

    factors: tuple[float, ...]
    scores: tuple[float, ...]
    loss: float
    value: float


@dataclass(frozen=True)
class SearchResult:
    """The chosen combination.

    Attributes:
        prompt: on the origin of the search; its history says what data was used.
        vector: the combination without the origin.
        coefficients: one per vector, terms included.
        scores: per task on the data of the search, with intervals. They are the best of many, so
            take the test split for a figure to report.
        alone: per task the score of the best single vector on the same origin.
        value: of the criterion.
        trials: everything that was tried, in order.
        config: how it was searched.
    """

    prompt: SoftPrompt
    vector: TaskPromptVector
    coefficients: tuple[float, ...]
    scores: Mapping[str, Score]
    alone: Mapping[str, float]
    value: float
    trials: tuple[Trial, ...]
    config: SearchConfig = field(default_factory=SearchConfig)

    def to_dict(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """As plain JSON values, without the vectors.

        Args:
            names: of the vectors; None for those of the combination.
        """
        config, named = self.config, names or list(self.vector.coefficients)
        return {
            "criterion": config.criterion,
            "value": self.value,
            "coefficients": dict(zip(named, self.coefficients, strict=True)),
            "grid": list(config.values),
            "precision": config.precision,
            "tried": len(self.trials),
            "split": config.split,
            "tasks": {
                name: {**score.to_dict(), "alone": self.alone[name], "kept": self.kept[name]}
                for name, score in self.scores.items()
            },
        }

    @property
    def kept(self) -> dict[str, float]:
        """Kept share of each task: its score over that of the best single vector."""
        return {t: _share(s.value, self.alone[t]) for t, s in self.scores.items()}


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
        found = score_prompts(
            self.backbone,
            prompts,
            self.tasks,
            split=config.split,
            rows=config.rows,
            truncate=config.truncate,
        )
        if not self.alone:
            single = found[len(new) :]
            self.alone = [
                max(e.score.value for e in column) for column in zip(*single, strict=True)
            ]
        for factors, evaluations in zip(new, found, strict=False):
            scores = tuple(e.score.value for e in evaluations)
            loss = fmean(e.loss for e in evaluations)
            self.trials[factors] = Trial(factors, scores, loss, self._value(scores))
            self.scores[factors] = evaluations

    def _value(self, scores: Sequence[float]) -> float:
        if self.config.criterion == "mean":
            return fmean(scores)
        shares = [max(0.0, _share(s, a)) for s, a in zip(scores, self.alone, strict=True)]
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
        found = [
            tuple(
                round(min(high, max(low, f + m)), _DIGITS)
                for f, m in zip(factors, move, strict=True)
            )
            for move in moves
        ]
        return [candidate for candidate in found if any(candidate)]  # all zero is the origin alone

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


def _share(score: float, alone: float) -> float:
    return score / alone if alone > 0 else score
