"""Few-shot curves: how starts for a new task do with more and more labelled rows."""

from promptport.experiments.few_shot.config import CurvesConfig, few_shot_config
from promptport.experiments.few_shot.measuring import few_shot_curves
from promptport.experiments.few_shot.page import CURVES_PAGE, write_curves
from promptport.experiments.few_shot.summary import Curve, Curves, curves_of, right_per_row

__all__ = [
    "CURVES_PAGE",
    "Curve",
    "Curves",
    "CurvesConfig",
    "curves_of",
    "few_shot_config",
    "few_shot_curves",
    "right_per_row",
    "write_curves",
]
