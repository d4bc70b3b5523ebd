"""Running an engine in a process of its own, by the interpreter that has its packages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError

_RUNNERS = Path(__file__).parent / "runners"
_SHOWN = 200  # characters of an engine's last words


def run_engine(
    name: str, runner: str, packages: str, python: Path, request: Mapping[str, Any]
) -> dict[str, Any]:
    """Let an engine answer a request.

    Args:
        name: of the engine, for messages.
        runner: its module among the runners.
        packages: what `pip install` needs for it.
        python: interpreter that has them.
        request: plain JSON values.

    Raises:
        MissingPackageError: a package is missing.
        PromptPortError: the engine failed.
    """
    command = [str(python), str(_RUNNERS), runner]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise PromptPortError(
            "--engine-python",
            expected="a Python interpreter",
            got=f"{python} ({error.strerror})",
            fix="Name the interpreter of the environment that has the engine",
        ) from error
    try:
        made: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        raise _failed(name, f"exit status {done.returncode}: {said[-1]}") from error
    if made.get("failed") is not None:
        raise _failed(name, str(made["failed"]))
    if made.get("missing") is not None:
        raise MissingPackageError(
            name,
            expected=f"the package {made['missing']!r} in {python}",
            got="none",
            fix=f"pip install {packages}, or name an interpreter that has it: --engine-python",
        )
    return made


def _failed(name: str, reason: str) -> PromptPortError:
    return PromptPortError(
        name,
        expected="an engine that runs",
        got=" ".join(reason.split())[:_SHOWN],
        fix="Try another version of its packages, or report this line",
    )
