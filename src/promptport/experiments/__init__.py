"""Experiments: whole comparisons, and reports on them."""

from promptport.experiments.demo import DemoResult, DemoSettings, run_demo
from promptport.experiments.report import write_report

__all__ = ["DemoResult", "DemoSettings", "run_demo", "write_report"]
