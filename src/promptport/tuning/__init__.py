"""Tuning: origins and the one loop that tunes many prompts per batch."""

from promptport.tuning.baselines import random_prompt, score_baselines
from promptport.tuning.config import Progress, TuneConfig, TuneJob, TuneResult
from promptport.tuning.distil import DistilConfig, DistilResult, Teacher, anchor, calibrate
from promptport.tuning.joint import JointResult, tune_jointly
from promptport.tuning.loop import tune
from promptport.tuning.origins import OriginSpec, make_origin

__all__ = [
    "DistilConfig",
    "DistilResult",
    "JointResult",
    "OriginSpec",
    "Progress",
    "Teacher",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "anchor",
    "calibrate",
    "make_origin",
    "random_prompt",
    "score_baselines",
    "tune",
    "tune_jointly",
]
