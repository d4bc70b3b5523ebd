"""Experiments: whole comparisons, and reports on them."""

from promptport.experiments.demo import DemoResult, DemoSettings, run_demo
from promptport.experiments.demo_page import write_report
from promptport.experiments.few_shot import (
    Curve,
    Curves,
    CurvesConfig,
    few_shot_curves,
    write_curves,
)
from promptport.experiments.pairs import PairsConfig, score_pairs
from promptport.experiments.retention import Combined, Pairs

__all__ = [
    "Combined",
    "Curve",
    "Curves",
    "CurvesConfig",
    "DemoResult",
    "DemoSettings",
    "Pairs",
    "PairsConfig",
    "few_shot_curves",
    "run_demo",
    "score_pairs",
    "write_curves",
    "write_report",
]
