"""Give every version of the lock files the hashes of its files, as the package index tells them.

Run from the root of the repository: python -m tools.packaging.lock [NAME==VERSION ...]
Versions named are put in place of those in the files; a new name goes to
requirements.lock. It needs `uv` (pip install uv).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("requirements.lock", "requirements-docs.lock")
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Name -> version of a lock file."""
    return dict(PIN.findall(text))


def hashes(text: str) -> dict[str, list[str]]:
    """Name -> hashes of a lock file."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if (pin := PIN.match(line)) is not None:
            name = pin[1]
            found[name] = []
        elif (given := re.search(r"--hash=sha256:([0-9a-f]{64})", line)) is not None:
            found[name].append(given[1])
    return found


def main(changes: list[str]) -> int:
    """Write both files anew."""
    new = pins("\n".join(changes))
    if len(new) != len(changes) or shutil.which("uv") is None:
        print("expected NAME==VERSION ..., and `uv` on the path: pip install uv", file=sys.stderr)
        return 2
    texts = {name: (ROOT / name).read_text() for name in FILES}
    unknown = set(new) - {name for text in texts.values() for name in pins(text)}
    for name, text in texts.items():
        file = ROOT / name
        comment = [line for line in text.splitlines() if line.startswith("#")]
        versions = pins(text)
        versions |= {known: new[known] for known in versions if known in new}
        if name == FILES[0]:
            versions |= {added: new[added] for added in sorted(unknown)}
        file.write_text("\n".join([*comment, _compiled(versions)]))
    return 0


def _compiled(versions: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        wanted, made = Path(folder) / "in.txt", Path(folder) / "out.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        command = ["uv", "pip", "compile", str(wanted), "--no-deps", "--generate-hashes", "--quiet"]
        options = ["--no-annotate", "--no-header", "--python-version", "3.11.7"]
        subprocess.run([*command, *options, "-o", str(made)], check=True)
        return made.read_text()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
