"""The forecast's coefficients, fitted to the pairs of this benchmark, and how often it is right.

Run from the root of the repository: python -m benchmarks.task_vectors.fit_forecast

Prints the `COEFFICIENTS` of promptport/analysis/forecast.py. Accuracy is out of fold: the answers
for one backbone come from a fit to the others (for one backbone alone, those for one pair from a
fit to the pairs that share no task with it).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.task_vectors.common import RESULTS, book_of
from numpy.typing import NDArray

from promptport.analysis import bootstrap_share
from promptport.analysis.forecast import COEFFICIENTS, probability_kept, verdict

KEPT = 0.8  # share of its score from which on a task counts as kept
PENALTY = 0.5  # on the squares of the coefficients, not of the intercept
NAMES = tuple(name for name in COEFFICIENTS if name != "intercept")
Floats = NDArray[np.float64]


def main() -> None:
    """Print coefficients and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    cells = book_of(arguments.results / "pairs" / "cells.jsonl").rows
    summary, known = fit_forecast(
        [c for c in cells if c["part"] == "pairs" and len(c["tasks"]) == 2]
    )
    print(json.dumps({**summary, **known}, indent=2))


def fit_logistic(features: Floats, kept: Floats, penalty: float = PENALTY) -> Floats:
    """Logistic regression with a ridge, by Newton's method.

    Args:
        features: (m, f).
        kept: (m,), 0 or 1.
        penalty: on the squares of the coefficients, above 0.

    Returns:
        (f + 1,), the intercept first.
    """
    design = np.column_stack([np.ones(len(features)), features])  # (m, f + 1)
    ridge = penalty * np.eye(design.shape[1])
    ridge[0, 0] = 1e-6  # keeps the intercept finite where all are kept or all lost
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        likely = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (likely - kept) + ridge @ weights
        curve = (design * (likely * (1 - likely))[:, None]).T @ design + ridge
        change = np.linalg.solve(curve, slope)
        # a long step can overshoot where the data can be separated
        weights -= change * min(1.0, 5.0 / max(float(np.abs(change).max()), 1e-12))
        if np.abs(change).max() < 1e-9:
            break
    return weights


def fit_forecast(pairs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Figures and a table from the cells of pairs.

    Args:
        pairs: cells with `forecasts`.

    Returns:
        Accuracies of the fitted and of the present formula and of the more frequent outcome; and
        the coefficients with the reliability of each verdict. Both empty without cells.
    """
    said = [(cell, forecast) for cell in pairs for forecast in cell["found"]["forecasts"]]
    if not said:
        return {}, {}
    features = np.array([[f["features"][name] for name in NAMES] for _, f in said])
    kept = np.array([float(f["kept"] >= KEPT) for _, f in said])
    likely = _out_of_fold([cell for cell, _ in said], features, kept)
    present = np.array([probability_kept(f["features"]) for _, f in said])
    accuracy = float(np.mean((likely >= 0.5) == kept))
    fitted = fit_logistic(features, kept)
    coefficients = dict(zip(("intercept", *NAMES), np.round(fitted, 2).tolist(), strict=True))
    summary = {
        "forecast_accuracy": round(accuracy, 4),
        "forecast_accuracy_present": round(float(np.mean((present >= 0.5) == kept)), 4),
        "forecast_accuracy_frequent": round(float(max(kept.mean(), 1 - kept.mean())), 4),
        "forecasts": len(said),
    }
    seeds = [cell["seed"] for cell, _ in said]
    if len(set(seeds)) > 1:
        right = (_of_other_seeds(seeds, features, kept) >= 0.5) == kept
        sums = np.array([f["of"] == "sum" for _, f in said])
        summary["forecast_accuracy_other_seed"] = round(float(right.mean()), 4)
        summary["forecast_accuracy_other_seed_sums"] = round(float(right[sums].mean()), 4)
    table = {
        "coefficients": coefficients,
        "reliability": _reliability(likely, kept),
        "by_way": {
            way: _record(
                [
                    (cell, p, k)
                    for (cell, f), p, k in zip(said, likely, kept, strict=True)
                    if f["of"] == way
                ]
            )
            for way in dict.fromkeys(f["of"] for _, f in said)
        },
        "reliability_present": _reliability(present, kept),
    }
    return summary, table


def _of_other_seeds(seeds: Sequence[int], features: Floats, kept: Floats) -> Floats:
    """P(kept) of each forecast from a fit to the other seeds, (m,)."""
    design = np.column_stack([np.ones(len(features)), features])
    found = np.zeros(len(kept))
    for seed in set(seeds):
        inside = np.array(seeds) == seed
        weights = fit_logistic(features[~inside], kept[~inside])
        found[inside] = 1 / (1 + np.exp(-design[inside] @ weights))
    return found


def _out_of_fold(cells: Sequence[Mapping[str, Any]], features: Floats, kept: Floats) -> Floats:
    """P(kept) of each forecast from a fit that has not seen its like, (m,)."""
    names = {cell["backbone"] for cell in cells}
    found = np.zeros(len(kept))
    for fold in {_fold(cell, len(names)) for cell in cells}:
        inside = np.array([_fold(cell, len(names)) == fold for cell in cells])
        seen = ~inside
        if len(names) == 1:
            tasks = set(fold)
            seen = np.array([not tasks & set(cell["tasks"]) for cell in cells])
        if not seen.any():
            found[inside] = 0.5
            continue
        weights = fit_logistic(features[seen], kept[seen])
        found[inside] = 1 / (1 + np.exp(-(weights[0] + features[inside] @ weights[1:])))
    return found


def _fold(cell: Mapping[str, Any], backbones: int) -> tuple[str, ...]:
    return (cell["backbone"],) if backbones > 1 else tuple(cell["tasks"])


def _reliability(likely: Floats, kept: Floats) -> list[dict[str, Any]]:
    """Per verdict: how often it was said, and how often it was right (at risk: how often kept)."""
    rows = []
    said = [verdict(float(p))[0] for p in likely]
    for name in ("kept", "at risk", "lost"):
        outcomes = [k for s, k in zip(said, kept, strict=True) if s == name]
        share = float(np.mean(outcomes)) if outcomes else None
        right = 1 - share if name == "lost" and share is not None else share
        rows.append(
            {
                "verdict": name,
                "said": len(outcomes),
                "right": None if right is None else round(right, 4),
            }
        )
    return rows


def _record(said: Sequence[tuple[Mapping[str, Any], float, float]]) -> dict[str, Any]:
    """`RELIABILITY` of one way: accuracy, and of each verdict times said, share right, interval.

    The interval draws tasks, which pairs share.
    """
    found: dict[str, Any] = {
        "forecasts": len(said),
        "accuracy": round(float(np.mean([(p >= 0.5) == k for _, p, k in said])), 4),
        "frequent": round(max(float(np.mean([k == c for _, _, k in said])) for c in (0, 1)), 4),
    }
    for name in ("kept", "at risk", "lost"):
        own = [(cell, k) for cell, p, k in said if verdict(float(p))[0] == name]
        right = [1 - k if name == "lost" else k for _, k in own]
        share = bootstrap_share(right, units=[cell["tasks"] for cell, _ in own]) if own else None
        found[name] = share and [
            len(own),
            *(round(x, 3) for x in (share.value, share.low, share.high)),
        ]
    return found


if __name__ == "__main__":
    main()
