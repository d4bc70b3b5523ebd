"""What the page of a library costs: megabytes to install, seconds until it can be opened.

Run from the root of the repository: python -m benchmarks.library.app_size

With `--framework NAME=PYTHON`, where PYTHON is the interpreter of an environment that holds one
framework alone, it also measures that framework by itself: how NiceGUI and Gradio were weighed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks._result import environment
from benchmarks.library.run import make_library

from promptport.files import json_bytes, write_atomic

HERE = Path(__file__).resolve().parent
_PROMPTS = 50
_TOOLS = ("pip", "setuptools", "_distutils_hack", "pkg_resources")  # no part of a framework
# The smallest page of each framework, asked once.
_SMALLEST = {
    "nicegui": """
import os, threading, time, urllib.request
from nicegui import ui
@ui.page('/')
def page():
    ui.input('text')
def ask():
    while True:
        try:
            urllib.request.urlopen('http://127.0.0.1:8197/').read()
            break
        except OSError:
            time.sleep(0.05)
    os._exit(0)
threading.Thread(target=ask).start()
ui.run(host='127.0.0.1', port=8197, reload=False, show=False, show_welcome_message=False)
""",
    "gradio": """
import os, urllib.request
os.environ['GRADIO_ANALYTICS_ENABLED'] = '0'
import gradio
with gradio.Blocks() as page:
    gradio.Textbox()
page.launch(server_port=8197, prevent_thread_lock=True, quiet=True, share=False)
urllib.request.urlopen('http://127.0.0.1:8197/').read()
os._exit(0)
""",
}


def needed(name: str, extra: str = "") -> set[str]:
    """Names of the installed packages that a package needs, itself included.

    Args:
        name: of the package.
        extra: of it; empty for none.
    """
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [(name, extra)]
    while waiting:
        one, own = waiting.pop()
        try:
            known = distribution(one)
        except PackageNotFoundError:  # for another system
            continue
        key = re.sub(r"[-_.]+", "-", one).lower()
        if key in found and not own:
            continue
        found.add(key)
        for line in known.requires or ():
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate({"extra": own}):
                waiting.append((asked.name, next(iter(asked.extras), "")))
    return found


def size(names: set[str]) -> float:
    """Megabytes of the files of some packages."""
    total = 0
    for name in names:
        own = distribution(name)
        paths = [Path(str(own.locate_file(file))) for file in own.files or ()]
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total / 1e6


def started(library: Path) -> dict[str, float]:
    """From the command to its first page, in seconds of the clock and of processors."""
    command = [sys.executable, "-m", "promptport", "app", str(library), "--port", "0"]
    began = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = None
        for line in process.stderr:
            if found := re.search(r"Open (http://\S+) in", line):
                address = found[1]
                break
        assert address is not None, "it did not start"
        assert b"Library - promptport" in urlopen(address).read()
        wall = time.perf_counter() - began
        # Of this process alone: its workers go on loading.
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        process.terminate()
        process.communicate(timeout=60)
    used = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return {"wall": wall, "processor": used}


def alone(name: str, python: str, repeats: int) -> dict[str, float]:
    """Size and start of a framework in an environment of its own."""
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    said = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    files = [path for path in Path(said.stdout.strip()).rglob("*") if path.is_file()]
    base = Path(said.stdout.strip())
    own = [f for f in files if not f.relative_to(base).parts[0].startswith(_TOOLS)]
    used = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([python, "-c", _SMALLEST[name]], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        f"app_{name}_alone_mb": round(sum(f.stat().st_size for f in own) / 1e6, 1),
        f"app_{name}_page_processor_seconds": round(statistics.median(used), 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and put the figures beside those of the other scripts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framework", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args(arguments)
    recorded: dict[str, Any] = environment(given.results)
    with tempfile.TemporaryDirectory() as place:
        make_library(Path(place) / "library", _PROMPTS)
        runs = [started(Path(place) / "library") for _ in range(given.repeats)]
    added = needed("nicegui") - needed("promptport")
    figures = {
        "app_start_seconds": round(statistics.median(run["wall"] for run in runs), 2),
        "app_start_processor_seconds": round(
            statistics.median(run["processor"] for run in runs), 2
        ),
        "app_install_mb": round(size(added), 1),
        "app_install_packages": len(added),
    }
    for pair in given.framework:
        name, _, python = pair.partition("=")
        figures |= alone(name, python, given.repeats)
    summary = given.results / "summary.json"
    known = json.loads(summary.read_text()) if summary.is_file() else {}
    write_atomic(summary, json_bytes(known | figures))
    told = {"environment": recorded, "added": sorted(added), "runs": runs}
    write_atomic(given.results / "app.json", json_bytes(told))
    for name, value in figures.items():
        print(f"{name:45} {value:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
