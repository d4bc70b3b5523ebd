"""Ask pip-audit for known faults of the locked versions, and say how many it could ask about.

Run from the root of the repository: python -m tools.packaging.audit, or make audit.
It needs `pip-audit` (pip install pip-audit) and a network. It ends with 1 if there are faults, and
with 2 if it could not ask.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.packaging.lock import FILES, ROOT, pins


def main() -> int:
    """Ask about both lock files."""
    if shutil.which("pip-audit") is None:
        print("expected `pip-audit` on the path: pip install pip-audit", file=sys.stderr)
        return 2
    versions: dict[str, str] = {}
    for name in FILES:
        versions |= pins((ROOT / name).read_text())
    asked, faults = summary(_ask(versions))
    for line in faults:
        print(line)
    print(f"{asked} of {len(versions)} versions could be asked about; {len(faults)} known faults")
    if asked < len(versions):
        print("The rest is unknown: the database of pip-audit was not reached.", file=sys.stderr)
    return 1 if faults else 2 if asked < len(versions) else 0


def _ask(versions: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run(
            ["pip-audit", "-r", str(wanted), *options], capture_output=True, text=True
        )
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return {"dependencies": []}


def summary(answer: dict[str, Any]) -> tuple[int, list[str]]:
    """How many packages were asked about, and a line for each known fault.

    Args:
        answer: of pip-audit, as JSON.
    """
    asked = [each for each in answer["dependencies"] if "skip_reason" not in each]
    faults = [
        f"{each['name']} {each['version']}: {fault['id']}, mended in "
        f"{', '.join(fault.get('fix_versions') or ['no version'])}"
        for each in asked
        for fault in each.get("vulns", [])
    ]
    return len(asked), faults


if __name__ == "__main__":
    sys.exit(main())
