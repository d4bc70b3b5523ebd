"""Looking at prompts and results: statistics, similarity, forecasts of interference."""

from promptport.analysis.forecast import Forecast, Part, TaskForecast, forecast_pair, forecast_pairs
from promptport.analysis.heat import write_heat
from promptport.analysis.independence import Independence, origin_independence
from promptport.analysis.ranking import Candidate, Ranked, Ranking, rank
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
    "Candidate",
    "Comparison",
    "Forecast",
    "Independence",
    "Interval",
    "Part",
    "Ranked",
    "Ranking",
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
    "origin_independence",
    "rank",
    "sign_flip_test",
    "write_heat",
]
