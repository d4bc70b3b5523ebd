"""Recipes on real processes: the same numbers after kills, and on Ray."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
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


def children(of: int) -> list[int]:
    """Worker processes that a process has started."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                stat = (place / "stat").read_text().rsplit(")", 1)[1].split()
                line = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == of and b"promptport.recipes.worker" in line:
                found.append(int(place.name))
    return found


@pytest.mark.slow
def test_kills_change_nothing(recipe: Recipe, tmp_path: Path) -> None:
    calm = run_recipe(recipe, tmp_path / "calm", RunConfig(workers=1))
    assert calm.finished == calm.cells == 17
    wanted = values_in(tmp_path / "calm")

    # Workers die while the run goes on.
    kills = 0

    def kill() -> None:
        nonlocal kills
        while kills < 2:
            time.sleep(0.05)
            there = values_in(tmp_path / "worker") if (tmp_path / "worker/cells").exists() else {}
            for pid in children(os.getpid()):
                if len(there) >= 3 * (kills + 1):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                    break

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    result = run_recipe(recipe, tmp_path / "worker", RunConfig(workers=1))
    assert result.complete
    assert kills >= 1
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
    workers = children(process.pid)
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


def test_two_workers(recipe: Recipe, tmp_path: Path) -> None:
    config = RunConfig(workers=2, only={"kind": ["baseline"], "task": ["sentiment", "topic"]})
    result = run_recipe(recipe, tmp_path / "run", config)
    assert (result.cells, result.finished) == (8, 8)
    records = [json.loads(f.read_text()) for f in (tmp_path / "run" / "cells").glob("*.json")]
    assert {record["worker"] for record in records} <= {"local-0", "local-1"}
    assert all(record["attempt"] == 1 for record in records)
    assert not (tmp_path / "run" / "unfinished").exists()
