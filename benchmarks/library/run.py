"""How long it takes to list and search a library of 10,000 prompts, with and without its index.

Run from the root of the repository: python -m benchmarks.library.run
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks._result import environment, write_runs

from promptport.catalog.index import INDEX_FILE
from promptport.files import json_bytes, read_json, write_atomic
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt

HERE = Path(__file__).resolve().parent
TASKS = ("sentiment", "topic", "question", "emotion", "formality")
KINDS = 100  # prompts that are made; the rest are copies under other names
LENGTH, WIDTH = 5, 128
_SETTLED = 3.0  # seconds until what was written may be kept in the index
_REPEATS = 5


def make_library(folder: Path, count: int) -> None:
    """Write so many prompt folders.

    Args:
        folder: of the library.
        count: 1 or more.
    """
    with tempfile.TemporaryDirectory() as place:
        kinds = []
        for seed in range(min(KINDS, count)):
            generator = torch.Generator().manual_seed(seed)
            vectors, origin = torch.randn(2, LENGTH, WIDTH, generator=generator)
            made = Provenance(
                "nano-bert",
                kind="masked",
                fingerprint="0" * 64,
                template="{soft} {text} It was {answer} .",
                task=TASKS[seed % len(TASKS)],
                origin={"kind": "vocabulary", "seed": seed},
                tuning={"dev_score": 0.5 + seed / 250, "epochs": 20},
            )
            saved = save_prompt(SoftPrompt(vectors, made, origin), Path(place) / str(seed))
            kinds.append({file.name: file.read_bytes() for file in saved.iterdir()})
    for i in range(count):
        kind = i % len(kinds)
        target = folder / f"{TASKS[kind % len(TASKS)]}-seed{i:05d}"
        target.mkdir(parents=True)
        for name, data in kinds[kind].items():
            (target / name).write_bytes(data)


def clocked(*words: str) -> dict[str, float]:
    """A whole command in a process of its own.

    Returns:
        `wall` and `processor`, in seconds.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "promptport", *words]
    silent = subprocess.DEVNULL
    subprocess.run(command, check=True, stdout=silent, stderr=silent)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "processor": used}


def measured(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Every command, the cold one first; what follows finds the index."""
    library = str(folder)
    time.sleep(_SETTLED)
    runs: dict[str, list[dict[str, float]]] = {"cold": []}
    for _ in range(_REPEATS):
        (folder / INDEX_FILE).unlink(missing_ok=True)
        runs["cold"].append(clocked("library", "list", library))
    runs["list"] = [clocked("library", "list", library) for _ in range(_REPEATS)]
    runs["best"] = [
        clocked("library", "list", library, "--sort", "score", "--limit", "20")
        for _ in range(_REPEATS)
    ]
    runs["json"] = [clocked("library", "list", library, "--json") for _ in range(_REPEATS)]
    runs["search"] = [
        clocked("library", "search", "formality seed00004", library) for _ in range(_REPEATS)
    ]
    runs["version"] = [clocked("--version") for _ in range(_REPEATS)]
    return runs


def summary(runs: dict[str, list[dict[str, float]]], count: int) -> dict[str, float]:
    """The figures: medians."""

    def median(name: str, of: str = "wall") -> float:
        return round(statistics.median(run[of] for run in runs[name]), 3)

    names = {"list": "list", "cold": "list_cold", "best": "list_best", "json": "list_json"}
    names["search"] = "search"
    told = {}
    for run, name in names.items():
        first, _, rest = name.partition("_")
        key = f"{first}_{count}{f'_{rest}' if rest else ''}"
        told[f"{key}_seconds"] = median(run)
        told[f"{key}_processor_seconds"] = median(run, "processor")
    told["start_seconds"] = median("version")
    told["start_processor_seconds"] = median("version", "processor")
    return told


def merge_summary(
    results: Path, figures: Mapping[str, float], part: str, recorded: Mapping[str, Any]
) -> None:
    """Write the figures of a part beside those of the other parts.

    Args:
        results: folder of the results.
        figures: by key; they replace those of the same keys.
        part: key of what was recorded in `environment.json`.
        recorded: what `environment` said at the start of the run.
    """
    for name, own in (("summary.json", dict(figures)), ("environment.json", {part: recorded})):
        file = results / name
        old = read_json(file) if file.is_file() else {}
        write_atomic(file, json_bytes({**old, **own}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the library, measure, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args(arguments)
    recorded: dict[str, Any] = environment(given.results)
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        make_library(library, given.prompts)
        runs = measured(library)
    figures = summary(runs, given.prompts)
    merge_summary(given.results, figures, "listing", recorded)
    write_runs(given.results, runs)
    for name, value in figures.items():
        print(f"{name:45} {value:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
