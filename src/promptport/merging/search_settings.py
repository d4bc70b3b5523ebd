"""What a search for coefficients is asked, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from promptport.errors import TuningError
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.tasks import Score
from promptport.vector import TaskPromptVector

Criterion = Literal["mean", "min", "harmonic"]
Coefficients = Literal["one", "separate"]
Ties = Literal["smallest", "loss"]

PAPER_GRID = tuple(round(0.05 * i, 2) for i in range(21))  # np.arange(0, 1.05, 0.05)
LEVELS = (0.25, 0.5, 0.75, 1.0)  # of separate coefficients
MOST_VALUES = 1_000  # of a grid, and combinations of a given one


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
        return {t: kept_share(s.value, self.alone[t]) for t, s in self.scores.items()}


def kept_share(score: float, alone: float) -> float:
    """Share of a score of the best single vector; the score itself where that is 0."""
    return score / alone if alone > 0 else score
