"""Experiments: whole comparisons, and reports on them."""

from promptport.experiments.demo import DemoResult, DemoSettings, run_demo
from promptport.experiments.pairs import Pairs, PairsConfig, score_pairs
from promptport.experiments.report import write_report

__all__ = [
    "DemoResult",
    "DemoSettings",
    "Pairs",
    "PairsConfig",
    "run_demo",
    "score_pairs",
    "write_report",
]
