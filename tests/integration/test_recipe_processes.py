"""Recipes on real processes: the same numbers after kills, and on Ray."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from benchmarks.grid.run import workers_of
from tests.small_recipe import changed

from promptport.recipes.recipe import Recipe, recipe_of
from promptport.recipes.running import RunConfig, run_recipe

SETTINGS = {
    "rows": {"train": 16, "dev": 8, "test": 20},
    "tune": {"epochs": 1, "batch_size": 8, "patience": 0},
    "length": 2,
    "together": 2,
}
GRID = [
    {"kind": "tune", "backbone": "nano-bert", "task": ["sentiment", "topic"], "seed": [0, 1]},
    {
        "kind": "baseline",
        "backbone": "nano-bert",
        "task": ["sentiment", "topic", "question"],
        "method": ["majority", "manual", "no_prompt", "random"],
    },
    {"kind": "sum", "backbone": "nano-bert", "tasks": [["sentiment", "topic"]], "method": "sum"},
]


@pytest.fixture
def recipe() -> Recipe:
    return recipe_of(changed(settings=SETTINGS, grid=GRID), "small")


def values_in(folder: Path) -> dict[str, Any]:
    records = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    return {record["id"]: record["values"] for record in records}


@contextmanager
def killing(folder: Path, wanted: int) -> Iterator[list[int]]:
    """Kill so many workers of this process, each after a few more cells are there."""
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while len(killed) < wanted and not over.wait(0.05):
            there = values_in(folder) if (folder / "cells").exists() else {}
            alive = [pid for pid in workers_of(os.getpid()) if pid not in killed]
            if alive and len(there) >= 3 * (len(killed) + 1):
                os.kill(alive[0], signal.SIGKILL)
                killed.append(alive[0])

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_kills_change_nothing(recipe: Recipe, tmp_path: Path) -> None:
    calm = run_recipe(recipe, tmp_path / "calm", RunConfig(workers=1))
    assert calm.finished == calm.cells == 17
    wanted = values_in(tmp_path / "calm")

    # Workers die while the run goes on.
    with killing(tmp_path / "worker", 2) as kills:
        result = run_recipe(recipe, tmp_path / "worker", RunConfig(workers=1))
    assert result.complete
    assert kills
    assert values_in(tmp_path / "worker") == wanted

    # The run itself dies, and its workers with it; the same command goes on.
    file = tmp_path / "small.yaml"
    import yaml

    file.write_text(yaml.safe_dump({**recipe.to_dict(), "name": None} | {"report": {}}))
    content = yaml.safe_load(file.read_text())
    content.pop("name")
    file.write_text(yaml.safe_dump(content))
    out = tmp_path / "driver"
    command = [sys.executable, "-m", "promptport", "run", str(file), "--out", str(out)]
    command += ["--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "cells").exists() or len(values_in(out)) < 5:
        assert process.poll() is None
        time.sleep(0.05)
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = {path.name: path.read_bytes() for path in (out / "cells").glob("*.json")}
    assert 5 <= len(before) < 17
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert values_in(out) == wanted
    for name, content in before.items():  # nothing twice
        assert (out / "cells" / name).read_bytes() == content


@pytest.mark.slow
def test_ray_gives_the_same_cells(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'promptport[ray]'")
    here = run_recipe(recipe, tmp_path / "local", RunConfig(workers=1))
    there = run_recipe(recipe, tmp_path / "ray", RunConfig("ray", workers=2))
    assert here.finished == there.finished == 17
    assert values_in(tmp_path / "ray") == values_in(tmp_path / "local")
    prompts = [
        sorted(p.name for p in (tmp_path / n / "prompts").iterdir()) for n in ("local", "ray")
    ]
    assert prompts[0] == prompts[1]
    again = run_recipe(recipe, tmp_path / "ray", RunConfig("ray", workers=2))
    assert again.measured == 0

    # Its workers die while the run goes on.
    with killing(tmp_path / "killed", 2) as kills:
        killed = run_recipe(recipe, tmp_path / "killed", RunConfig("ray", workers=1))
    assert killed.complete
    assert kills
    assert values_in(tmp_path / "killed") == values_in(tmp_path / "local")


@pytest.mark.long
def test_two_workers(recipe: Recipe, tmp_path: Path) -> None:
    config = RunConfig(workers=2, only={"kind": ["baseline"], "task": ["sentiment", "topic"]})
    result = run_recipe(recipe, tmp_path / "run", config)
    assert (result.cells, result.finished) == (8, 8)
    records = [json.loads(f.read_text()) for f in (tmp_path / "run" / "cells").glob("*.json")]
    assert {record["worker"] for record in records} <= {"local-0", "local-1"}
    assert all(record["attempt"] == 1 for record in records)
    assert not (tmp_path / "run" / "unfinished").exists()
