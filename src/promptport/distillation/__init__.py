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
    merge_settings,
)
from promptport.distillation.selection import Selection, select_transfer
from promptport.distillation.starts import Start, usual_distillation
from promptport.distillation.targets import Agreement, DistillTargets, agreement
from promptport.distillation.written_answers import WritingResult, move_by_writing
from promptport.distillation.written_text import written_rows

__all__ = [
    "INTO_MERGE",
    "OVER_ORIGINS",
    "Agreement",
    "AnswersResult",
    "CueWord",
    "DistillConfig",
    "DistillResult",
    "DistillTargets",
    "Selection",
    "Start",
    "Teacher",
    "Texts",
    "WritingResult",
    "agreement",
    "align",
    "choose_cue_word",
    "distill_merge",
    "distill_over_origins",
    "fit_mixture",
    "merge_settings",
    "move_by_answers",
    "move_by_writing",
    "select_transfer",
    "usual_distillation",
    "written_rows",
]
