"""What few-shot curves measure, and how a start is tuned on few rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from promptport.checks import is_once, refuse_out_of_range
from promptport.library.starts import WAYS
from promptport.seeds import check_seed
from promptport.tuning import TuneConfig

BATCH = 8  # rows per update
_SMALL_BATCH, _FEW = 4, 25  # small batches up to so many rows, as in the paper


@dataclass(frozen=True)
class CurvesConfig:
    """What is measured.

    Attributes:
        rows: numbers of labelled training rows, each 0 or more; 0 is scored as it starts.
        starts: of `WAYS`, each once. `random`: words of the vocabulary. `single`: every prompt of
            the library. `picked`: the one that ranks first by unlabelled text. `ranked`: by text
            and the few labels. `mean`, `sum`: of the vectors. `attention`: over the library
            (ATTEMPT). `adapt`: what the library says together, and the few labels.
        seeds: of the few rows and their order, of random words, of the texts that are read.
        reference: the start that the others are compared with, by its name in the result.
        steps: updates of a run, but at least one pass over its rows; 1 or more.
        max_train_rows: take rows and texts from so many training rows (the first ones); 0 for all.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        TuningError: a value out of its range, or an unknown start.
        PromptPortError: a seed out of its range.
    """

    rows: tuple[int, ...] = (0, 5, 10, 25, 50, 100)
    starts: tuple[str, ...] = ("random", "picked", "ranked", "mean", "sum", "adapt")
    seeds: tuple[int, ...] = (0,)
    reference: str = "random"
    steps: int = 32
    max_train_rows: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        for seed in self.seeds:
            check_seed(seed)
        known = set(self.starts) <= set(WAYS) and (not self.starts or is_once(self.starts))
        ranges = {
            "rows": (min(self.rows, default=-1) >= 0, "one number or more, each 0 or more"),
            "starts": (known, f"some of {', '.join(WAYS)}, each once"),
            "seeds": (is_once(self.seeds), "one seed or more, each once"),
            "steps": (self.steps >= 1, "1 or more"),
            "max_train_rows": (self.max_train_rows >= 0, "0 or more"),
        }
        refuse_out_of_range(self, ranges)


def few_shot_config(rows: int, steps: int, *, truncate: bool = False) -> TuneConfig:
    """As many epochs as give the steps, one at least; small batches for few rows.

    Args:
        rows: labelled rows, 1 or more.
        steps: updates.
        truncate: cut texts that are too long.
    """
    size = _SMALL_BATCH if rows <= _FEW else BATCH
    epochs = math.ceil(steps / math.ceil(rows / size))
    return TuneConfig(epochs=epochs, patience=0, batch_size=size, truncate=truncate)
