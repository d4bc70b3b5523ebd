"""Tests promptport with the oldest and the newest versions of torch, transformers and PEFT.

Run from the root of the repository: python -m tools.packaging.compat [CASE ...], or make compat.
Every case gets an environment of its own under build/compat; one that is there is used again.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "peft")
# What touches the three: architectures, layouts, PEFT's folders, losses, states, tuning.
TESTS = (
    "tests/unit/backbone/test_layout.py",
    "tests/unit/backbone/test_checkpoint.py",
    "tests/unit/backbone/test_chat.py",
    "tests/unit/storage/test_prompt_folder.py",
    "tests/unit/storage/test_bare_tensor.py",
    "tests/unit/test_objective.py",
    "tests/unit/tuning/test_trainer.py",
)
_WITH = ("pytest>=9.0", "pytest-xdist>=3.8", "hypothesis>=6.150", "accelerate>=1.5", "gguf>=0.17")
_ASK = (
    "import json; from importlib.metadata import version; "
    f"print(json.dumps({{p: version(p) for p in {(*PACKAGES, 'tokenizers', 'huggingface-hub')}}}))"
)


def minimums() -> dict[str, str]:
    """The oldest version of each package that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    found = {}
    for line in asked:
        low = re.match(r"([\w-]+)>=([\d.]+)", line)
        if low is not None and low[1] in PACKAGES:
            found[low[1]] = ".".join([*low[2].split("."), "0", "0"][:3])
    return found


def cases() -> dict[str, list[str]]:
    """Name -> what pip is asked for."""
    low = minimums()
    return {
        "lowest": [f"{name}=={low[name]}" for name in PACKAGES],
        # The newest of the others with a torch that is at hand almost everywhere.
        "newest-libraries": [f"torch=={low['torch']}", "transformers>=5,<6", "peft"],
        "newest": ["torch", "transformers>=5,<6", "peft"],
    }  # fmt: skip


def main() -> int:
    """Make the environments, run the tests, write what was found; 1 if a case fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(cases())}; default: all")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "compat")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "trust" / "results" / "compat.json"
    )
    given = parser.parse_args()
    unknown = sorted(set(given.cases) - set(cases()))
    if unknown:
        parser.error(f"no case {unknown[0]!r}: {', '.join(cases())}")
    found = json.loads(given.results.read_text()) if given.results.is_file() else {}
    for name in given.cases or cases():
        print(f"{name}: {', '.join(cases()[name])}", file=sys.stderr, flush=True)
        found[name] = run_case(given.work / name, cases()[name])
        given.results.parent.mkdir(parents=True, exist_ok=True)
        given.results.write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps({name: found[name]}), flush=True)
        _write_summary(given.results.parent / "summary.json", found)
    return 0 if all(found[name]["ok"] for name in given.cases or cases()) else 1


def run_case(place: Path, wanted: list[str]) -> dict[str, Any]:
    """Versions that were installed, and what the tests said.

    Args:
        place: of the environment.
        wanted: what pip is asked for.
    """
    python = place / "bin" / "python"
    made = place / ".installed"
    if not made.is_file():
        uv = shutil.which("uv")  # much quicker, if it is there
        if not python.exists():
            venv.create(place, with_pip=uv is None)
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        if uv is not None:
            pip = [uv, "pip", "install", "--quiet", "--python", str(python)]
        torch, *others = wanted
        for asked in ([torch], [torch, *others, *_WITH, "-e", str(ROOT)]):
            done = subprocess.run([*pip, *asked], capture_output=True, text=True, cwd=ROOT)
            if done.returncode:
                said = " ".join(done.stderr.split())[-300:]
                return {"ok": False, "versions": {}, "said": f"not installed: {said}"}
        made.touch()
    versions = json.loads(_output([str(python), "-c", _ASK]))
    tests = subprocess.run(
        # Warnings of other versions are no failures; the locked ones are watched by `make test`.
        [str(python), "-m", "pytest", "-o", "filterwarnings=default", *TESTS],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    lines = tests.stdout.strip().splitlines() or ["nothing"]
    ends = [line for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {
        "ok": tests.returncode == 0,
        "versions": versions,
        "said": re.sub(r" in [\d.:ms() ]+.*$", "", (ends or lines)[-1]).strip("= "),
        **({"failed": failed[:20]} if failed else {}),
    }


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def versions_tested(found: dict[str, Any]) -> dict[str, list[str]]:
    """Versions of each package with which the tests passed."""
    passed: dict[str, set[str]] = {name: set() for name in PACKAGES}
    for case in found.values():
        if case["ok"]:
            for name in PACKAGES:
                passed[name].add(case["versions"][name])
    return {name: sorted(those, key=_numbers) for name, those in passed.items()}


def _write_summary(file: Path, found: dict[str, Any]) -> None:
    """Add the versions to the figures that are there."""
    known = json.loads(file.read_text()) if file.is_file() else {}
    known["versions_tested"] = versions_tested(found)
    file.write_text(json.dumps(known, indent=2) + "\n")


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]


if __name__ == "__main__":
    sys.exit(main())
