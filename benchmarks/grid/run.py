"""What a run of a recipe costs besides its cells, and whether kills change anything.

Run from the root of the repository:
    python -m benchmarks.grid.run

Parts: `overhead`, `speedup`, `kills`. With Ray installed, its overhead is measured too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from benchmarks._command import measured
from benchmarks._result import ROOT, environment, write_summary
from benchmarks.grid.outcomes import outcomes

from promptport.files import write_atomic
from promptport.recipes.recipe import Recipe, read_recipe, recipe_of
from promptport.recipes.reports import make_report, read_run
from promptport.recipes.running import RunConfig, run_recipe

RESULTS = Path(__file__).resolve().parent / "results"
PARTS = ("overhead", "speedup", "kills")
FEW, MANY = 20, 220  # cells of the two runs whose difference is the overhead
SETTINGS: dict[str, Any] = {
    "rows": {"train": 64, "dev": 16, "test": 40},
    "tune": {"epochs": 2, "batch_size": 8, "patience": 0},
    "length": 4,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the parts that are asked for.

    Returns:
        0, or 1 where something is missing.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return measured(_run, parser.parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    given.results.mkdir(parents=True, exist_ok=True)
    known = _known(given.results)
    recorded = environment(given.results)
    for part in given.part:
        known |= {"overhead": overhead, "speedup": speedup}.get(part, lambda: kills(given.kills))()
        write_summary(given.results, known, recorded)
    known |= _recipes() | outcomes(RESULTS / "runs")
    write_summary(given.results, known, recorded)
    lines = [f"| `{name}` | {value} |" for name, value in sorted(known.items())]
    text = "\n".join(["| figure | value |", "|---|---|", *lines, ""])
    write_atomic(given.results / "table.md", text.encode())
    return 0


def _known(results: Path) -> dict[str, Any]:
    file = results / "summary.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _recipes() -> dict[str, int]:
    """How many recipes there are, and how many published numbers stand beside ours in the reports
    of the runs that are kept."""
    files = sorted((ROOT / "recipes").rglob("*.yaml"))
    reports = [read_run(place.parent) for place in (RESULTS / "runs").rglob("recipe.json")]
    return {"recipes": len(files), "published_rows": sum(make_report(r).beside for r in reports)}


def _recipe(grid: list[dict[str, Any]], **settings: Any) -> Recipe:
    told = {"question": "What does a run cost?", "expected": "Little.", "time": "a minute"}
    values = {**told, "settings": {**SETTINGS, **settings}, "grid": grid}
    return recipe_of(values, "grid")


def overhead() -> dict[str, Any]:
    """Milliseconds of a cell besides its own work: more cells less few, so without the start."""
    found: dict[str, Any] = {}
    engines = ["local", *(["ray"] if importlib.util.find_spec("ray") else [])]
    for engine in engines:
        walls, own, driver = [], [], []
        for count in (FEW, FEW, MANY):  # the first one imports what is needed
            place = {"kind": "baseline", "backbone": "nano-bert", "task": "sentiment"}
            recipe = _recipe([{**place, "method": "majority", "seed": {"range": count}}])
            with tempfile.TemporaryDirectory() as folder:
                began, used = time.perf_counter(), _processor()
                result = run_recipe(recipe, folder, RunConfig(engine, workers=1))
                walls.append(time.perf_counter() - began)
                driver.append(_processor() - used)
                assert result.finished == count
                cells = [json.loads(f.read_text()) for f in Path(folder, "cells").iterdir()]
                own.append(sum(cell["seconds"] for cell in cells))
        more = MANY - FEW
        spent = (walls[-1] - walls[-2]) - (own[-1] - own[-2])
        found[f"overhead_ms_per_cell_{engine}"] = round(1000 * spent / more, 2)
        found[f"driver_ms_per_cell_{engine}"] = round(1000 * (driver[-1] - driver[-2]) / more, 2)
    return found


def _processor() -> float:
    """Processor seconds of this process, without its workers."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def speedup(pairs: int = 2) -> dict[str, Any]:
    """Wall time with one worker over that with two, on the same units, in turn."""
    place = {"kind": "tune", "backbone": "nano-bert", "task": ["sentiment", "topic"]}
    longer: dict[str, Any] = {"rows": {"train": 128, "dev": 16, "test": 40}}
    longer["tune"] = {"epochs": 12, "batch_size": 8, "patience": 0}
    recipe = _recipe([{**place, "seed": {"range": 6}}], together=1, **longer)
    ratios = []
    for _ in range(pairs):
        walls = []
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                result = run_recipe(recipe, folder, RunConfig(workers=workers))
                assert result.finished == 12
                walls.append(result.seconds)
        ratios.append(walls[0] / walls[1])
    return {
        "speedup_two_workers": round(statistics.median(ratios), 3),
        "speedup_two_workers_least": round(min(ratios), 3),
    }


def kills(count: int) -> dict[str, Any]:
    """Kill workers and runs at random moments, go on each time, and compare with a calm run.

    With Ray installed, half as many kills are of its workers and of runs on it.
    """
    tasks = ["sentiment", "topic", "question"]
    grid: list[dict[str, Any]] = [
        {"kind": "tune", "backbone": "nano-bert", "task": tasks, "seed": [0, 1]},
        {
            "kind": "baseline",
            "backbone": ["nano-bert", "nano-gpt2"],
            "task": tasks,
            "method": ["majority", "manual", "no_prompt", "random"],
        },
        {
            "kind": "sum",
            "backbone": "nano-bert",
            "tasks": {"choose": 2, "of": tasks},
            "method": ["sum", "mean"],
        },
    ]
    told = {"question": "What do kills change?", "expected": "Nothing.", "time": "a minute"}
    values = {**told, "settings": {**SETTINGS, "together": 2, "attempts": 1000}, "grid": grid}
    rng, killed_runs, totals = random.Random(0), 0, Counter({"local": 0, "ray": 0})
    lost = twice = other = 0
    quotas = {"local": count, "ray": count // 2 if importlib.util.find_spec("ray") else 0}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "kills.yaml"
        file.write_text(yaml.safe_dump(values))
        recipe = read_recipe(file)
        asked = {cell.id for cell in recipe.with_needs(recipe.cells())}
        run_recipe(recipe, Path(place) / "calm", RunConfig(workers=2))
        wanted = _values(Path(place) / "calm")
        for engine, quota in quotas.items():
            while totals[engine] < quota:
                out = Path(place) / f"run{killed_runs}"
                killed_runs += 1
                finished: dict[str, bytes] = {}
                while True:
                    more = totals[engine] < quota
                    code, killed = _killed_run(file, out, engine, rng if more else None)
                    totals[engine] += killed
                    now = {f.name: f.read_bytes() for f in (out / "cells").glob("*.json")}
                    twice += sum(now.get(name) != content for name, content in finished.items())
                    finished = now
                    if code == 0:
                        break
                values_now = _values(out)
                lost += len(asked - set(values_now))
                other += sum(values_now[cell] != wanted[cell] for cell in set(values_now) & asked)
    return {
        "kills": totals.total(),
        "kills_on_ray": totals["ray"],
        "kill_runs": killed_runs,
        "cells_killed_at": len(asked),
        "cells_lost": lost,
        "cells_twice": twice,
        "cells_with_other_values": other,
    }


def _values(folder: Path) -> dict[str, Any]:
    records = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    return {record["id"]: record["values"] for record in records}


def _killed_run(file: Path, out: Path, engine: str, rng: random.Random | None) -> tuple[int, int]:
    """One run; with `rng`, a worker or the run itself is killed. Its exit status, and kills."""
    words = ["run", str(file), "--out", str(out), "--workers", "2", "--no-report"]
    process = subprocess.Popen(
        [sys.executable, "-m", "promptport", *words, "--engine", engine],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    killed = 0
    stop = threading.Event()

    def attack(rng: random.Random) -> None:
        nonlocal killed
        while not stop.wait(rng.uniform(0.2, 3.0)):
            there = workers_of(process.pid)
            if not there:  # not begun, or ending
                continue
            victim = rng.choice([process.pid, *there])
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed += 1
            if victim == process.pid:
                return

    thread = threading.Thread(target=attack, args=(rng,)) if rng is not None else None
    if thread is not None:
        thread.start()
    code = process.wait()
    stop.set()
    if thread is not None:
        thread.join()
    return code, killed


def workers_of(ancestor: int) -> list[int]:
    """Processes below this one that measure cells: workers of either engine."""
    parents, found = {}, []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = (place / "stat").read_text().rsplit(")", 1)[1].split()
                line = (place / "cmdline").read_bytes()
                parents[int(place.name)] = int(stat[1])
                if b"promptport.recipes.worker" in line or line.startswith(b"ray::_measure"):
                    found.append(int(place.name))

    def below(pid: int) -> bool:
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor

    return [pid for pid in found if below(pid)]


if __name__ == "__main__":
    sys.exit(main())
