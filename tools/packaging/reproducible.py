"""Builds wheel and source archive twice, from two copies of the repository, and compares them.

Run from the root of the repository: python -m tools.packaging.reproducible [--out FOLDER]
It needs hatchling, which pip fetches where `--isolated` is given. A difference ends with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TAKEN = ("src", "tests", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", "pyproject.toml")
_EPOCH = "1735689600"  # of all files, in place of when they were written


def main() -> int:
    """Build, compare, print the hashes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for what was built")
    given = parser.parse_args()
    first, second = build_twice(given.out)
    print(json.dumps({"files": first, "same": first == second}, indent=2))
    return 0 if first == second else 1


def build_twice(out: Path | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """Hashes of what was built, by name, for both copies.

    Args:
        out: where the files of the first copy are kept; None: nowhere.
    """
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        # Other paths, and files written at other times: neither may be seen in what is built.
        for name in ("one", "another/place"):
            copy = Path(scratch) / name
            built = copy / "dist"
            _copy(copy)
            build(copy, built)
            found.append({file.name: sha256(file) for file in sorted(built.iterdir())})
            if out is not None and not (out.exists() and len(found) > 1):
                shutil.copytree(built, out, dirs_exist_ok=True)
    return found[0], found[1]


def _copy(target: Path) -> None:
    target.mkdir(parents=True)
    for name in _TAKEN:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, target / name, ignore=ignored, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target / name)


def build(place: Path, out: Path) -> None:
    """Wheel and source archive of a copy, by the backend that pyproject.toml names.

    Args:
        place: the copy.
        out: folder to make.
    """
    code = (
        "import sys; from hatchling.build import build_sdist, build_wheel; "
        "build_sdist(sys.argv[1]); build_wheel(sys.argv[1])"
    )
    out.mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=place,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def sha256(path: Path) -> str:
    """Hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
