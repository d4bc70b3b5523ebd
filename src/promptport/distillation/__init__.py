"""Distillation: prompts that learn from the answers of other prompts, without labels."""

from promptport.distillation.config import DistillConfig, Teacher, Texts
from promptport.distillation.cue_word import CueWord, choose_cue_word
from promptport.distillation.moving import AnswersResult, move_by_answers
from promptport.distillation.over_origins import OVER_ORIGINS, distill_over_origins
from promptport.distillation.recipes import (
    INTO_MERGE,
    DistillResult,
    align,
    distill_merge,
    fit_mixture,
)
from promptport.distillation.selection import Selection, select_transfer
from promptport.distillation.targets import Agreement, agreement

__all__ = [
    "INTO_MERGE",
    "OVER_ORIGINS",
    "Agreement",
    "AnswersResult",
    "CueWord",
    "DistillConfig",
    "DistillResult",
    "Selection",
    "Teacher",
    "Texts",
    "agreement",
    "align",
    "choose_cue_word",
    "distill_merge",
    "distill_over_origins",
    "fit_mixture",
    "move_by_answers",
    "select_transfer",
]
