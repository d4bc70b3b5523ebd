"""Tuning: origins and the one loop that tunes many prompts per batch."""

from promptport.tuning.baselines import random_prompt, score_baselines
from promptport.tuning.coefficients import (
    SearchConfig,
    SearchResult,
    Trial,
    search_coefficients,
)
from promptport.tuning.config import Progress, TuneConfig, TuneJob, TuneResult
from promptport.tuning.distil import (
    Agreement,
    DistilConfig,
    DistilResult,
    Teacher,
    agreement,
    anchor,
    calibrate,
)
from promptport.tuning.joint import JointResult, tune_jointly
from promptport.tuning.loop import tune
from promptport.tuning.origins import OriginSpec, make_origin
from promptport.tuning.selection import Selection, select_transfer

__all__ = [
    "Agreement",
    "DistilConfig",
    "DistilResult",
    "JointResult",
    "OriginSpec",
    "Progress",
    "SearchConfig",
    "SearchResult",
    "Selection",
    "Teacher",
    "Trial",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "agreement",
    "anchor",
    "calibrate",
    "make_origin",
    "random_prompt",
    "score_baselines",
    "search_coefficients",
    "select_transfer",
    "tune",
    "tune_jointly",
]
