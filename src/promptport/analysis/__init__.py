"""Looking at prompts and results: statistics, similarity, forecasts of interference.

Names are imported when they are first used: statistics of finished results need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptport.analysis.forecast import Forecast, TaskForecast, forecast_pair, forecast_pairs
    from promptport.analysis.heat_map import write_heat
    from promptport.analysis.micro_average import MicroAverage, micro_average
    from promptport.analysis.robustness import OriginRobustness, origin_robustness
    from promptport.analysis.similarity import Similarity, compare, label_overlap
    from promptport.analysis.statistics import (
        Comparison,
        Interval,
        bootstrap_difference,
        bootstrap_mean,
        bootstrap_ratio,
        bootstrap_share,
        compare_crossed,
        compare_to,
        holm,
        sign_flip_test,
    )

_HOMES = {
    "Comparison": "statistics",
    "Forecast": "forecast",
    "Interval": "statistics",
    "MicroAverage": "micro_average",
    "OriginRobustness": "robustness",
    "Similarity": "similarity",
    "TaskForecast": "forecast",
    "bootstrap_difference": "statistics",
    "bootstrap_mean": "statistics",
    "bootstrap_ratio": "statistics",
    "bootstrap_share": "statistics",
    "compare": "similarity",
    "compare_crossed": "statistics",
    "compare_to": "statistics",
    "forecast_pair": "forecast",
    "forecast_pairs": "forecast",
    "holm": "statistics",
    "label_overlap": "similarity",
    "micro_average": "micro_average",
    "origin_robustness": "robustness",
    "sign_flip_test": "statistics",
    "write_heat": "heat_map",
}

__all__ = [
    "Comparison",
    "Forecast",
    "Interval",
    "MicroAverage",
    "OriginRobustness",
    "Similarity",
    "TaskForecast",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_share",
    "compare",
    "compare_crossed",
    "compare_to",
    "forecast_pair",
    "forecast_pairs",
    "holm",
    "label_overlap",
    "micro_average",
    "origin_robustness",
    "sign_flip_test",
    "write_heat",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'promptport.analysis' has no attribute {name!r}")
    value = getattr(import_module(f"promptport.analysis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
