"""What all benchmarks share: results on disk with all that is needed to repeat them."""

from __future__ import annotations

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


def environment() -> dict[str, Any]:
    """Commit, versions, device, threads and load of this run."""
    status = _git("status", "--porcelain")
    return {
        "promptport": __version__,
        "commit": _git("rev-parse", "--verify", "--quiet", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def write_results(folder: Path, summary: Mapping[str, float], full: Mapping[str, Any]) -> None:
    """Write `summary.json` (flat: figure name -> number) and `result.json` (with environment)."""
    everything = {"environment": environment(), "summary": dict(summary), **full}
    write_atomic(folder / "summary.json", json_bytes(dict(summary)))
    write_atomic(folder / "result.json", json_bytes(everything))


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
