"""Settings of distillation, and who is learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.checks import refuse_out_of_range
from promptport.parameters.noise import MIXTURE_NOISE, MOST_NOISE
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.storage import PromptLike, as_prompt

Texts = Literal["task", "words", "write"]

FEWEST_ROWS = 8


@dataclass(frozen=True)
class DistillConfig:
    """Budget and rates.

    Attributes:
        texts: `task` (texts of the task, unlabelled), `write` (texts that one of the backbones
            writes, `written_text.written_rows`) or `words` (random words that the backbones share:
            nothing of the task is read but its templates and label words).
        rows: most unlabelled rows that are read or made, 8 or more.
        shown: with `write`, texts of the task that the writer is shown, 0 or more.
        about: with `write`, what the texts are, for instance `short film reviews`.
        written: the texts of the task were written by a model (`with_written_texts` says so): of
            twice as many those are kept whose first answers differ most.
        fill: fewer texts of a task are filled up to so many, but not more than `rows`, with
            some that are only learned from (words swapped for near ones,
            `synthetic_text.swapped_rows`). 0: none.
        held_back: share of them that only decides when to stop, above 0 and below 1.
        epochs: most passes over the others; of several tasks, over those of the longest. 0: only
            `steps` limit it.
        steps: most updates for each task; 0: only `epochs` limit it.
        check: updates for each task between two looks at the held-back rows; 0: a pass.
        patience: looks without a lower loss there after which it ends, 1 or more.
        enough: it ends when of every task less than this share is missed (`DistillResult.missed`),
            0 (never) or more.
        least_gain: from half of the updates on it ends when a look finds that less than this share
            of what was missed is gone; 0 (never) or more, below 1.
        enough_same: from half of the updates on it ends when of every task this share of the first
            answers is the teachers', and half of what the teachers' commonest answer would leave
            wrong is right; 0 (never) to 1.
        average: what is looked at and kept of free vectors is their running mean over about so
            many updates for each task; 0: the latest ones.
        batch_size: rows per step, 1 or more.
        relative_lr: step of free vectors as a share of the spread of the backbone's input rows.
        logit_lr: step of the logits of a mixture.
        manual_weight: what the answers of the learning backbone's own manual template, its label
            prior off, count beside those of the teachers, 0 (nothing) or more: log-probabilities
            are added. Of classifications with such a template.
        noise: on the virtual tokens of a mixture (`TuneJob.noise`), 0 to 10.
        seed: of the order of the rows and of the mixture to start from.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        TuningError: a value out of its range.
    """

    texts: Texts = "task"
    rows: int = 256
    shown: int = 8
    about: str = ""
    written: bool = False
    fill: int = 0
    held_back: float = 0.2
    epochs: int = 10
    steps: int = 0
    check: int = 0
    patience: int = 3
    enough: float = 0.0
    least_gain: float = 0.0
    enough_same: float = 0.0
    average: int = 0
    batch_size: int = 16
    relative_lr: float = 0.03
    logit_lr: float = 1.0
    manual_weight: float = 0.0
    noise: float = MIXTURE_NOISE
    seed: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "texts": (self.texts in get_args(Texts), " or ".join(get_args(Texts))),
            "rows": (self.rows >= FEWEST_ROWS, f"{FEWEST_ROWS} or more"),
            "shown": (self.shown >= 0, "0 or more"),
            "fill": (self.fill >= 0, "0 or more"),
            "held_back": (0 < self.held_back < 1, "above 0 and below 1"),
            "epochs": (self.epochs >= (not self.steps), "1 or more, or 0 with a limit of steps"),
            "steps": (self.steps >= 0, "0 or more"),
            "check": (self.check >= 0, "0 or more"),
            "patience": (self.patience >= 1, "1 or more"),
            "enough": (0 <= self.enough < math.inf, "0 or more"),
            "least_gain": (0 <= self.least_gain < 1, "0 or more, and below 1"),
            "enough_same": (0 <= self.enough_same <= 1, "0 to 1"),
            "average": (self.average >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "relative_lr": (0 < self.relative_lr < math.inf, "a number above 0"),
            "logit_lr": (0 < self.logit_lr < math.inf, "a number above 0"),
            "manual_weight": (0 <= self.manual_weight < math.inf, "0 or more"),
            "noise": (0 <= self.noise <= MOST_NOISE, f"0 to {MOST_NOISE:g}"),
        }
        refuse_out_of_range(self, ranges)
        check_seed(self.seed)


@dataclass(frozen=True, init=False)
class Teacher:
    """A prompt whose answers are to be learned.

    Attributes:
        backbone: the frozen model that the prompt belongs to; may be given by name or folder.
        prompt: the prompt; may be given by its folder.
        weight: its say among the teachers, above 0.
    """

    backbone: Backbone
    prompt: SoftPrompt
    weight: float = 1.0

    def __init__(self, backbone: BackboneLike, prompt: PromptLike, weight: float = 1.0) -> None:
        object.__setattr__(self, "backbone", as_backbone(backbone))
        object.__setattr__(self, "prompt", as_prompt(prompt))
        object.__setattr__(self, "weight", weight)
