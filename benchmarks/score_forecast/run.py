"""Whether the score that `move` expects holds: many moves between small models, and their scores.

Run from the root of the repository: python -m benchmarks.score_forecast.run [--data FOLDER]

Prompts are kept in build/score_forecast and finished cells in results/cells.jsonl, so a stopped
run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

from benchmarks._command import measured
from benchmarks._inputs import backbone, digest_of, limited, weights_of
from benchmarks._result import ROOT, environment, write_summary
from benchmarks.score_forecast.table import summarise, table

from promptport.evaluation import evaluate
from promptport.experiments.result_store import ResultStore
from promptport.files import write_atomic
from promptport.moving import MoveConfig, move
from promptport.moving.result import dev_score
from promptport.parameters import OriginSpec
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

RESULTS = Path(__file__).resolve().parent / "results"
WORK = ROOT / "build" / "score_forecast"
BACKBONES = ("nano-bert", "nano-gpt2", "nano-t5", "nano-llama")
EMBEDDED = (
    *("country-capital", "past-tense", "company-country", "person-country", "opposite"),
    *("sentiment", "topic", "question"),
)
LAMA = ("P17", "P106")
NLU = ("ag_news", "trec", "subj")
ROWS = {"train": 200, "dev": 64, "test": 300}
WORDS = 24  # most words of a text that are read
LENGTHS = {"probe": 5, "classification": 8}
TUNING = TuneConfig(epochs=12, patience=4, batch_size=16, truncate=True)
# Two budgets, so that there are good moves and bad ones.
BUDGETS: Mapping[str, Mapping[str, Any]] = {"usual": {}, "short": {"epochs": 1, "fill": 0}}
VALUES = (
    *("dev", "dev_rows", "same", "held_back", "answers", "commonest", "random", "divergence"),
    *("score", "rows", "source"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder with lama/ and nlu/; without it: no such tasks")
    add("--seed", type=int, nargs="*", default=[0])
    add("--budget", nargs="*", default=list(BUDGETS), choices=BUDGETS)
    add("--results", type=Path, default=RESULTS)
    return measured(_run, parser.parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    recorded = environment(given.results)
    book = ResultStore(given.results / "cells.jsonl", _stamp, *VALUES)

    def written() -> None:
        write_summary(given.results, summarise(book.rows), recorded)
        write_atomic(given.results / "table.md", table(book.rows).encode())

    tasks = _tasks(given.data)
    written()
    for seed in given.seed:
        for source, target in permutations(BACKBONES, 2):
            for task in tasks:
                for budget in given.budget:
                    place = {"from": source, "to": target, "task": task.name}
                    place |= {"budget": budget, "seed": seed}
                    if not book.has(**place):
                        with stage(", ".join(map(str, place.values()))):
                            book.add(_measure(source, target, task, budget, seed), **place)
            written()
    return 0


def _stamp(place: Mapping[str, Any]) -> str:
    settings = digest_of(TUNING, ROWS, WORDS, LENGTHS, dict(BUDGETS[place["budget"]]))
    return f"{weights_of(place['from'], place['to'])}-{settings}"


def _tasks(data: Path | None) -> list[Task]:
    found = [open_task(name) for name in EMBEDDED]
    if data is None:
        print("LAMA and NLU tasks are left out: no --data", file=sys.stderr)
    else:
        found += [open_task(f"lama:{name}", data / "lama") for name in LAMA]
        found += [open_task(f"nlu:{name}", data / "nlu") for name in NLU]
    return [limited(task, ROWS, WORDS) for task in found]


def _tuned(name: str, task: Task, seed: int) -> SoftPrompt:
    place = WORK / f"{name}-{weights_of(name)}" / f"{task.name.replace(':', '-')}-{seed}"
    if not place.is_dir():
        origin = OriginSpec("vocabulary", seed)
        result = tune(backbone(name), [TuneJob(task, origin, LENGTHS[task.kind], seed)], TUNING)[0]
        if result.prompt is None:
            raise RuntimeError(f"{name} {task.name}: {result.error}")
        save_prompt(result.prompt, place)
    return load_prompt(place)


def _measure(source: str, target: str, task: Task, budget: str, seed: int) -> dict[str, Any]:
    prompt = _tuned(source, task, seed)
    learning = {"rows": 160, "seed": seed, "truncate": True, **BUDGETS[budget]}
    moved = move(
        prompt,
        to=backbone(target),
        backbone=backbone(source),
        task=task,
        method="answers",
        texts="task",
        config=MoveConfig(learning=learning),
    )
    check = moved.check
    assert check is not None
    scored = evaluate(backbone(target), task, moved.prompt, truncate=True).score
    return {
        **{"dev": dev_score(prompt), "dev_rows": (prompt.provenance.tuning or {})["dev_rows"]},
        **{"same": check.same, "held_back": check.rows, "answers": check.answers},
        **{"commonest": check.commonest, "random": check.random, "divergence": check.divergence},
        **{"score": scored.value, "rows": scored.rows},
        "source": evaluate(backbone(source), task, prompt, truncate=True).score.value,
    }


if __name__ == "__main__":
    sys.exit(main())
