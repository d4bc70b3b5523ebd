"""Which method, and which of its settings, becomes the default: on tasks and pairs that the
benchmark does not report.

Run from the root of the repository: python -m benchmarks.transfer_quality.choose
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import permutations
from statistics import fmean
from typing import Any

import numpy as np
from benchmarks._inputs import backbone, limited, weights_of
from benchmarks._result import environment, write_runs, write_summary
from benchmarks.transfer_quality.run import CONFIG as TUNING
from benchmarks.transfer_quality.run import LENGTHS, RESULTS, ROWS, WORDS, WORK

from promptport.evaluation import evaluate
from promptport.parameters import OriginSpec
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import open_task
from promptport.transfers import transfer
from promptport.tuning import TuneJob, tune

BACKBONES = ("nano-albert", "nano-llama", "nano-bert-wide")
TASKS = (
    *("country-continent", "plural", "country-demonym", "comparative", "capital-continent"),
    *("symbol-element", "setting", "tense", "formality"),
)
BEFORE = "least_squares {'ridge': 1e-09} token"  # what the others are compared with
CANDIDATES: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("least_squares", {"ridge": ridge}) for ridge in (1e-9, 1e-2, 0.1, 0.3, 1.0)),
    *(("linear_map", {"ridge": ridge}) for ridge in (1e-9, 1e-2, 0.1, 0.3)),
    ("linear_map", {"ridge": 0.1, "centre": True}),
    ("procrustes", {}),
    ("omp", {"k": 16}),
    ("omp", {"k": 64}),
    ("weighted_sum", {}),
    ("discretize", {}),
    ("random", {}),
)


def main() -> None:
    """Tune, carry by every candidate, print mean retention."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--seed", type=int, default=10)
    arguments = parser.parse_args()
    recorded = environment(RESULTS)
    tasks = [limited(open_task(name), ROWS, WORDS) for name in arguments.tasks]
    prompts = {}
    for name in arguments.backbones:
        places = {t.name: WORK / "choose" / f"{name}-{weights_of(name)}" / t.name for t in tasks}
        missing = [task for task in tasks if not places[task.name].is_dir()]
        jobs = [
            TuneJob(t, OriginSpec("vocabulary", arguments.seed), LENGTHS[t.kind]) for t in missing
        ]
        results = tune(backbone(name), jobs, TUNING) if jobs else []
        for task, result in zip(missing, results, strict=True):
            assert result.prompt is not None, result.error
            save_prompt(result.prompt, places[task.name])
        prompts |= {(name, task.name): load_prompt(places[task.name]) for task in tasks}
    kept: dict[str, list[float]] = defaultdict(list)
    for source, target in permutations(arguments.backbones, 2):
        for task in tasks:
            best = evaluate(backbone(target), task, prompts[target, task.name]).score.value
            for method, options in CANDIDATES:
                for magnitude in ("token", "keep"):
                    found = transfer(
                        prompts[source, task.name],
                        backbone(source).space,
                        backbone(target).space,
                        method=method,
                        magnitude=magnitude,
                        options=options,
                        roundtrip=False,
                    )
                    score = evaluate(backbone(target), task, found.prompt).score.value
                    name = f"{method} {options or ''} {magnitude}"
                    kept[name].append(score / best)
    table = {name: compared(values, kept[BEFORE]) for name, values in kept.items()}
    for name, row in sorted(table.items(), key=lambda item: -item[1]["retention"]):
        low, high = row["low"], row["high"]
        print(f"{row['retention']:.3f}  {name}  ({low:+.3f} to {high:+.3f} against {BEFORE})")
    described = {"backbones": arguments.backbones, "tasks": arguments.tasks}
    write_summary(RESULTS / "choice", {"candidates": len(table)}, recorded)
    write_runs(RESULTS / "choice", {"candidates": table, **described})


def compared(values: list[float], others: list[float]) -> dict[str, float]:
    """Mean, and the 95% interval of the mean difference to another candidate, cells paired."""
    apart = np.array(values) - np.array(others)
    rng = np.random.default_rng(0)
    means = apart[rng.integers(0, len(apart), (2000, len(apart)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    figures = {"retention": fmean(values), "low": float(low), "high": float(high)}
    return {name: round(value, 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
