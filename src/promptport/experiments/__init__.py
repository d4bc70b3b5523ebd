"""Experiments: whole comparisons, and reports on them."""

from promptport.experiments.areas import Curve, Curves
from promptport.experiments.curves import CurvesConfig, few_shot_curves
from promptport.experiments.demo import DemoResult, DemoSettings, run_demo
from promptport.experiments.kept import Pairs
from promptport.experiments.pairs import PairsConfig, score_pairs
from promptport.experiments.plot import write_curves
from promptport.experiments.report import write_report

__all__ = [
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
