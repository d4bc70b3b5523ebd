"""What all benchmarks share: results on disk with all that is needed to repeat them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from promptport._version import __version__
from promptport.files import json_bytes, write_atomic

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "peft")
ROOT = Path(__file__).resolve().parent.parent


def environment(results: Path) -> dict[str, Any]:
    """Commit, versions, device, threads and load: take it before anything is written.

    Args:
        results: folder of the benchmark's results. Files in it do not make the commit `dirty`: a
            run that goes on finds those of its first half there.
    """
    return {
        "promptport": __version__,
        "commit": _git("rev-parse", "--verify", "--quiet", "HEAD"),
        "dirty": _is_dirty(results),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def write_summary(folder: Path, summary: Mapping[str, float], recorded: Mapping[str, Any]) -> None:
    """Write `summary.json` (flat: figure name -> number) and `environment.json`.

    Args:
        folder: of the results.
        summary: the figures.
        recorded: what `environment` said at the start of the run.
    """
    write_atomic(folder / "summary.json", json_bytes(dict(summary)))
    write_atomic(folder / "environment.json", json_bytes(dict(recorded)))


def merge_summary(
    folder: Path,
    summary: Mapping[str, float],
    recorded: Mapping[str, Any],
    file: str,
    runs: Mapping[str, Any],
) -> None:
    """Put figures into a `summary.json` that several benchmarks share.

    Args:
        folder: of the results.
        summary: the figures of this one; those of others stay.
        recorded: what `environment` said at the start of the run.
        file: for what was measured, with the environment: `kills.json`.
        runs: what was measured.
    """
    place = folder / "summary.json"
    known = json.loads(place.read_text()) if place.is_file() else {}
    write_atomic(place, json_bytes({**known, **summary}))
    write_atomic(folder / file, json_bytes({"environment": dict(recorded), **runs}))


def write_runs(folder: Path, runs: Mapping[str, Any]) -> None:
    """Write `runs.json`: what was measured, where no book of cells keeps it."""
    write_atomic(folder / "runs.json", json_bytes(dict(runs)))


def _is_dirty(results: Path) -> bool | None:
    """Whether tracked or new files beside the results differ from the commit; None without git."""
    status = _git("status", "--porcelain", "--", ".", f":(exclude){_inside(results)}")
    return None if status is None else bool(status)


def _inside(results: Path) -> str:
    """The folder as git is told of it: relative to the root, or one that matches nothing."""
    place = results.resolve()
    return place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else "results"


def _git(*arguments: str) -> str | None:
    """Output of a git command, None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
