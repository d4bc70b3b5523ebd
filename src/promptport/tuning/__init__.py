"""Tuning: origins and the one loop that tunes many prompts per batch."""

from promptport.tuning.adapting import AdaptConfig, AdaptResult, adapt
from promptport.tuning.attention import AttentionPrompts, start_attention, tune_attention
from promptport.tuning.baselines import random_prompt, score_baselines
from promptport.tuning.coefficients import (
    SearchConfig,
    SearchResult,
    Trial,
    search_coefficients,
)
from promptport.tuning.config import Progress, TuneConfig, TuneJob, TuneResult
from promptport.tuning.consensus import Voice
from promptport.tuning.distil import (
    RECONCILE,
    WIDEN,
    DistilResult,
    anchor,
    calibrate,
    reconcile,
    widen,
)
from promptport.tuning.joint import JointResult, tune_jointly
from promptport.tuning.lesson import Agreement, DistilConfig, Teacher, Texts, agreement
from promptport.tuning.loop import tune
from promptport.tuning.moving import MoveResult, move
from promptport.tuning.origins import OriginSpec, make_origin
from promptport.tuning.readout import Readout, choose_readout
from promptport.tuning.selection import Selection, select_transfer
from promptport.tuning.together import TogetherResult, few_shot, tune_together

__all__ = [
    "RECONCILE",
    "WIDEN",
    "AdaptConfig",
    "AdaptResult",
    "Agreement",
    "AttentionPrompts",
    "DistilConfig",
    "DistilResult",
    "JointResult",
    "MoveResult",
    "OriginSpec",
    "Progress",
    "Readout",
    "SearchConfig",
    "SearchResult",
    "Selection",
    "Teacher",
    "Texts",
    "TogetherResult",
    "Trial",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "Voice",
    "adapt",
    "agreement",
    "anchor",
    "calibrate",
    "choose_readout",
    "few_shot",
    "make_origin",
    "move",
    "random_prompt",
    "reconcile",
    "score_baselines",
    "search_coefficients",
    "select_transfer",
    "start_attention",
    "tune",
    "tune_attention",
    "tune_jointly",
    "tune_together",
    "widen",
]
