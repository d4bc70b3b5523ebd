"""Installs wheel and source archive into empty environments, and uses promptport there.

Run from the root of the repository: python -m tools.packaging.smoke [--work FOLDER]
Needs a package index and hatchling. With --borrow, packages that are needed come from this
environment, and only promptport itself is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from tools.packaging.reproducible import build_twice

# From nothing to an answer: everything that a wheel could have left out.
COMMANDS = (
    ("--version",),
    ("models",),
    ("tune", "--backbone", "nano-gpt2", "--task", "sentiment", "--epochs", "1", "--out", "P"),
    ("eval", "P", "--json"),
    ("predict", "P", "a warm and funny film", "--json"),
    ("move", "P", "--to", "nano-llama", "--method", "embeddings", "--out", "Q"),
    ("library", "list", ".", "--json"),
)


def main() -> int:
    """Build, install, use; 1 if anything fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the environments; usual: a new one")
    parser.add_argument("--borrow", action="store_true", help="take other packages from here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (given.work or Path(scratch)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        built, _ = build_twice(work / "dist")
        told = {name: try_out(work / "dist" / name, work, borrow=given.borrow) for name in built}
    print(json.dumps(told, indent=2))
    return 0 if all(said == "ok" for said in told.values()) else 1


def try_out(archive: Path, work: Path, *, borrow: bool) -> str:
    """`ok`, or the first thing that went wrong.

    Args:
        archive: wheel or source archive.
        work: folder for the environment.
        borrow: take the packages that are needed from this environment.
    """
    place = work / archive.suffix.strip(".")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet"]
    if borrow:
        library = next((place / "lib").glob("python*")) / "site-packages"
        (library / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        # Its own copy, though a promptport is in what is borrowed.
        install += ["--no-deps", "--no-build-isolation", "--force-reinstall"]
    steps = [[*install, str(archive)]]
    steps += [[str(place / "bin" / "promptport"), *words] for words in COMMANDS]
    steps.append([str(python), "-c", _CHECK, str(place)])
    room = place / "room"
    room.mkdir()
    clean = {"HF_HUB_OFFLINE": "1", "PROMPTPORT_CACHE": str(place / "cache")}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for step in steps:
        done = subprocess.run(step, cwd=room, env=kept | clean, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            return f"{' '.join(map(str, step[-4:]))}: {last}"
    return "ok"


_CHECK = (
    "import sys, pathlib, promptport; "
    "assert pathlib.Path(promptport.__file__).is_relative_to(sys.argv[1]), promptport.__file__; "
    "from promptport.zoo import embedded_names; assert len(embedded_names()) >= 4"
)


if __name__ == "__main__":
    sys.exit(main())
