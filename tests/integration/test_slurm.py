"""The engine `slurm` against a SLURM of small scripts: jobs are processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.small_recipe import changed

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'promptport[slurm]'")

from promptport.errors import MissingPackageError, PromptPortError
from promptport.recipes.recipe import Recipe, recipe_of
from promptport.recipes.runners import on_slurm
from promptport.recipes.running import RunConfig, run_recipe

# A job is a copy of the script that is handed in, in a session of its own, by its number.
SBATCH = """
script="${@: -1}"
if grep -q "partition=nowhere" "$script"; then
  echo "invalid partition specified: nowhere" >&2
  exit 1
fi
id=$(( $(cat "$STATE/last" 2>/dev/null || echo 100) + 1 ))
echo "$id" > "$STATE/last"
cp "$script" "$STATE/$id.sh"
export SLURM_JOB_ID=$id SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0
setsid bash "$STATE/$id.sh" < /dev/null > /dev/null 2>&1 &
echo $! > "$STATE/$id.pid"
echo "Submitted batch job $id"
"""
SRUN = """
while [[ "$1" == --* ]]; do
  case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
done
exec "$@"
"""
SACCT = """
echo "JobID|State|NodeList"
for word in "$@"; do
  [[ -s "$STATE/$word.pid" ]] || continue
  if kill -0 "$(cat "$STATE/$word.pid")" 2>/dev/null; then state=RUNNING; else state=FAILED; fi
  echo "$word|$state|here"
done
"""
SCANCEL = """
for word in "$@"; do
  [[ -f "$STATE/$word.pid" ]] || continue
  echo "$word" >> "$STATE/cancelled"
  kill -TERM -- "-$(cat "$STATE/$word.pid")" 2>/dev/null
done
exit 0
"""
SETTINGS = {
    "rows": {"train": 16, "dev": 8, "test": 20},
    "tune": {"epochs": 1, "batch_size": 8, "patience": 0},
    "length": 2,
}
GRID = [
    {"kind": "tune", "backbone": "nano-bert", "task": ["sentiment", "topic"]},
    {"kind": "baseline", "backbone": "nano-bert", "task": "question", "method": "majority"},
    {"kind": "sum", "backbone": "nano-bert", "tasks": [["sentiment", "topic"]], "method": "sum"},
]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the scripts keep jobs."""
    state, programs = tmp_path / "state", tmp_path / "programs"
    for folder in (state, programs):
        folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STATE", str(state))
    monkeypatch.setattr(on_slurm, "CHECK", 0.5)
    yield state
    for file in state.glob("*.pid"):
        _stop(file, signal.SIGKILL)


def _stop(file: Path, how: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(int(file.read_text()), how)


def alive(state: Path) -> list[Path]:
    found = []
    for file in state.glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), 0)
        except ProcessLookupError:
            continue
        found.append(file)
    return found


@pytest.fixture
def recipe() -> Recipe:
    return recipe_of(changed(settings=SETTINGS, grid=GRID, report={}), "small")


def values_in(folder: Path) -> dict[str, Any]:
    records = [json.loads(file.read_text()) for file in (folder / "cells").glob("*.json")]
    return {record["id"]: record["values"] for record in records}


@pytest.mark.slow
def test_jobs_give_the_same_cells_and_a_killed_one_is_sent_again(
    recipe: Recipe, slurm: Path, tmp_path: Path
) -> None:
    here = run_recipe(recipe, tmp_path / "local", RunConfig(workers=1))
    there = run_recipe(recipe, tmp_path / "jobs", RunConfig("slurm", slurm={"time": 5, "mem": 2}))
    assert here.finished == there.finished == 4
    assert values_in(tmp_path / "jobs") == values_in(tmp_path / "local")
    sent = [file.read_text() for file in slurm.glob("*.sh")]
    assert sent
    assert all("--time=5\n" in text and "--mem=2GB\n" in text for text in sent)
    records = [json.loads(f.read_text()) for f in (tmp_path / "jobs" / "cells").glob("*.json")]
    assert {record["worker"] for record in records} == {f"slurm-{os.uname().nodename}"}

    # The run dies, its job lives, and the next run cancels that.
    file = tmp_path / "small.yaml"
    content = {k: v for k, v in recipe.to_dict().items() if k not in ("name", "report")}
    file.write_text(yaml.safe_dump(content))
    out = tmp_path / "small"
    command = [sys.executable, "-m", "promptport", "run", str(file), "--out", str(out)]
    command += ["--engine", "slurm", "--workers", "1", "--no-report"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = {file.name for file in slurm.glob("*.pid")}
    deadline = time.monotonic() + 300
    kept: list[str] = []
    while not kept:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
        if (out / "slurm" / "jobs.json").is_file():
            kept = json.loads((out / "slurm" / "jobs.json").read_text())["jobs"]
    process.kill()
    process.wait()
    new = [file for file in slurm.glob("*.pid") if file.name not in before]
    assert [file.stem for file in new] == kept
    assert new[0] in alive(slurm)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert kept[0] in (slurm / "cancelled").read_text().split()
    assert values_in(out) == values_in(tmp_path / "local")


@pytest.mark.slow
def test_a_job_that_dies_is_sent_again(recipe: Recipe, slurm: Path, tmp_path: Path) -> None:
    import threading

    def kill() -> None:
        while not (there := list(slurm.glob("*.pid"))):
            time.sleep(0.05)
        time.sleep(0.5)
        _stop(there[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    result = run_recipe(recipe, tmp_path / "run", RunConfig("slurm", workers=1))
    thread.join()
    assert result.complete
    assert result.finished == 4
    attempts = [
        json.loads(f.read_text())["attempt"] for f in (tmp_path / "run" / "cells").glob("*.json")
    ]
    assert max(attempts) == 2


def test_what_cannot_be_asked(
    recipe: Recipe, slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(**options: str | int) -> None:
        run_recipe(recipe, tmp_path / "run", RunConfig("slurm", workers=1, slurm=options))

    for options, told in (
        ({"time": "1:00:00"}, "times in minutes"),
        ({"partitoin": "short"}, "partitoin"),
        ({"setup": "module load x"}, "--slurm: expected"),
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
    ):
        with pytest.raises(PromptPortError, match=told) as caught:
            asked(**options)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PromptPortError, match="no sbatch and srun on the PATH"):
        asked()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'promptport\[slurm\]'"):
        asked()
    assert not list((tmp_path / "run").glob("cells/*"))
