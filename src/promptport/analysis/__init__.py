"""Looking at prompts and results: statistics, similarity, forecasts of interference."""

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
