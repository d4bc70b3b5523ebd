"""Tuning: the trainer of many prompts per batch, and the ways to tune that are built on it."""

from promptport.tuning.attention import AttentionPrompts, start_attention
from promptport.tuning.attention_loading import load_attention
from promptport.tuning.attention_training import tune_attention
from promptport.tuning.baselines import random_prompt, score_baselines
from promptport.tuning.config import Progress, TuneConfig, TuneJob, TuneResult
from promptport.tuning.independent import tune
from promptport.tuning.joint import JointResult, tune_jointly
from promptport.tuning.multitask import TogetherResult, few_shot, tune_together
from promptport.tuning.usual import UsualSettings, usual_place, usual_settings

__all__ = [
    "AttentionPrompts",
    "JointResult",
    "Progress",
    "TogetherResult",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "UsualSettings",
    "few_shot",
    "load_attention",
    "random_prompt",
    "score_baselines",
    "start_attention",
    "tune",
    "tune_attention",
    "tune_jointly",
    "tune_together",
    "usual_place",
    "usual_settings",
]
