"""How often the score of a moved prompt lay in the interval that was told before."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from scipy.optimize import minimize

from promptport.experiments.result_store import Cell
from promptport.moving.expected_score import (
    OF_SMALL,
    ExpectedScore,
    ForecastNumbers,
    deviation,
    forecast,
)

_START = (0.5, 0.3, 0.06)  # lost, apart, spread: where the fit begins
_FEWEST = 20  # cells to fit three numbers to


def fit(cells: Sequence[Cell]) -> ForecastNumbers:
    """The numbers of `forecast` under which the scores are most likely."""

    def unlikely(numbers: Any) -> float:
        own, total = ForecastNumbers(*numbers), 0.0
        for cell in cells:
            value = cell["dev"] * (1 - own.lost * (1 - cell["same"]))
            width = deviation(cell["dev"], cell["same"], cell["dev_rows"], own)
            # A score on few rows misses the expectation by chance as well.
            error = np.hypot(width, np.sqrt(max(value * (1 - value), 0.0) / cell["rows"]))
            total += np.log(error) + 0.5 * ((cell["score"] - value) / error) ** 2
        return float(total)

    bounds = [(0.0, 1.0), (0.0, 1.0), (0.01, 0.3)]
    found = minimize(unlikely, _START, bounds=bounds, method="L-BFGS-B").x
    return ForecastNumbers(*map(float, found))


def out_of_task(cells: Sequence[Cell]) -> list[tuple[Cell, ExpectedScore]]:
    """Every cell with the forecast of numbers that were fitted to all other tasks."""
    told = []
    for task in sorted({cell["task"] for cell in cells}):
        others = [cell for cell in cells if cell["task"] != task]
        if len(others) < _FEWEST:
            continue
        told += forecasts([cell for cell in cells if cell["task"] == task], fit(others))
    return told


def forecasts(cells: Sequence[Cell], numbers: ForecastNumbers) -> list[tuple[Cell, ExpectedScore]]:
    """Every cell with its forecast."""
    return [(c, forecast(c["dev"], c["same"], c["dev_rows"], numbers)) for c in cells]


def summarise(cells: Sequence[Cell]) -> dict[str, float]:
    """The figures of `summary.json`."""
    figures: dict[str, float] = {"cells": len(cells)}
    if len(cells) < _FEWEST:
        return figures
    figures |= vars(fit(cells))
    figures |= held(out_of_task(cells))
    shipped = held(forecasts(cells, OF_SMALL))
    figures |= {f"shipped.{name}": value for name, value in shipped.items()}
    return {name: round(value, 4) for name, value in figures.items()}


def held(told: Sequence[tuple[Cell, ExpectedScore]]) -> dict[str, float]:
    """Share of scores in their intervals, mean width, and the mean error of the middle."""
    if not told:
        return {}
    return {
        "predicted_within": fmean(own.low <= cell["score"] <= own.high for cell, own in told),
        "predicted_width": fmean(own.high - own.low for _, own in told),
        "predicted_error": fmean(abs(cell["score"] - own.value) for cell, own in told),
    }


def table(cells: Sequence[Cell]) -> str:
    """By agreement with the source: score, forecast, and how often its interval held."""
    lines = [
        "| answers like its source on | moves | source (dev) | score | expected | interval held |",
        "|---|---|---|---|---|---|",
    ]
    told = out_of_task(cells)
    for low, high in ((0.9, 1.01), (0.7, 0.9), (0.4, 0.7), (0.0, 0.4)):
        own = [(cell, e) for cell, e in told if low <= cell["same"] < high]
        if own:
            means = (
                fmean(cell["dev"] for cell, _ in own),
                fmean(cell["score"] for cell, _ in own),
                fmean(e.value for _, e in own),
                held(own)["predicted_within"],
            )
            shown = " | ".join(f"{value:.2f}" for value in means)
            lines.append(f"| {low:.0%} to {min(high, 1):.0%} | {len(own)} | {shown} |")
    return "\n".join([*lines, ""])
