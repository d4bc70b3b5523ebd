"""Large inputs: peak memory and seconds of each, against the bound that is stated for it.

Run from the root of the repository: python -m benchmarks.trust.limits [CASE ...]
Every case runs in a process of its own, whose highest memory Linux tells.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._result import ROOT, environment
from benchmarks.trust.limits_inputs import save_rows
from benchmarks.trust.parts import write_part

RESULTS = Path(__file__).resolve().parent / "results"
MEGABYTE = 10**6


@dataclass(frozen=True)
class Case:
    """Something large.

    Attributes:
        what: in words.
        run: does it; tells what it has to be judged by.
        bound: the most memory above that of an idle promptport, in MB, from what `run` tells.
        stated: the bound in words.
    """

    what: str
    run: Callable[[Path], dict[str, float]]
    bound: Callable[[dict[str, float]], float]
    stated: str


def _large_model(rows: int, width: int, layers: int) -> Callable[[Path], dict[str, float]]:
    def run(folder: Path) -> dict[str, float]:
        from promptport.anchors import AnchorSet
        from promptport.backbone import open_space
        from promptport.prompt import SoftPrompt
        from promptport.provenance import Provenance
        from promptport.transfers import encode_prompt, transfer

        source = open_space("nano-bert")
        place = folder / "model"
        size = _made_elsewhere(place, (rows, width, layers), list(source.words))
        began = time.monotonic()
        target = open_space(place)
        made = Provenance(
            source.backbone, fingerprint=source.fingerprint, template="{soft} {text} {answer}"
        )
        prompt = SoftPrompt(source.rows(list(source.words.values())[:20]), made)
        anchors = AnchorSet.shared(source, target)
        encode_prompt(prompt, source)
        done = transfer(prompt, source, target)
        assert done.prompt.vectors.shape[1] == width
        return {
            "seconds": time.monotonic() - began,
            "tables_mb": (source.matrix.nbytes + target.matrix.nbytes) / MEGABYTE,
            "checkpoint_gb": size / 10**9,
            "anchors": len(anchors.words),
        }

    return run


def _made_elsewhere(place: Path, shape: tuple[int, int, int], words: list[str]) -> int:
    """Write a checkpoint in another process, so that making it counts for nothing here."""
    command = [sys.executable, "-m", "benchmarks.trust.limits_inputs", str(place)]
    done = subprocess.run(
        [*command, *map(str, shape)],
        input=json.dumps(words),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return int(done.stdout.splitlines()[-1])


def _many_rows(folder: Path) -> dict[str, float]:
    from promptport.tasks import open_task

    count = 1_000_000
    file = save_rows(folder, count)
    began = time.monotonic()
    rows = open_task(str(file)).load("train")
    assert len(rows) == count
    return {"seconds": time.monotonic() - began, "rows": count}


def _long_row(folder: Path) -> dict[str, float]:
    from promptport.backbone import Backbone
    from promptport.prediction import predict
    from promptport.tasks import open_task
    from promptport.tuning import random_prompt

    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    prompt = random_prompt(model, 5, 0).with_provenance(
        task="sentiment", template="{soft} {text} It was {answer} ."
    )
    text = ("a warm and funny film , " * 50_000)[:1_000_000]
    began = time.monotonic()
    (answer,) = predict(prompt, [text], backbone=model, task=open_task("sentiment"))
    assert answer.truncated
    return {"seconds": time.monotonic() - began, "characters": len(text)}


def _many_prompts(folder: Path) -> dict[str, float]:
    from promptport.backbone import Backbone
    from promptport.tasks import open_task
    from promptport.tuning import TuneConfig, tune
    from promptport.tuning.jobs import make_jobs

    count = 1000
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    task = open_task("sentiment")
    jobs = make_jobs([task], range(count))
    config = TuneConfig(
        epochs=1, max_steps=2, batch_size=2, max_train_rows=4, max_dev_rows=2, batch_tokens=8192
    )
    began = time.monotonic()
    done = tune(model, jobs, config)
    assert len(done) == count
    return {"seconds": time.monotonic() - began, "prompts": count}


CASES = {
    "70b": Case(
        "words, description and move to a sharded checkpoint of 70B shape",
        _large_model(128_256, 8192, 80),
        lambda told: told["tables_mb"] + 1000,
        "the two embedding tables and 1 GB",
    ),
    "262k": Case(
        "the same to a model of 262,144 words, 640 wide",
        _large_model(262_144, 640, 18),
        lambda told: told["tables_mb"] + 1000,
        "the two embedding tables and 1 GB",
    ),
    "rows": Case(
        "a task of a million rows, read and checked",
        _many_rows,
        lambda told: told["rows"] * 1000 / MEGABYTE + 100,
        "1 kB for a row and 100 MB",
    ),
    "characters": Case(
        "a row of a million characters, cut and answered",
        _long_row,
        lambda told: 300,
        "300 MB",
    ),
    "prompts": Case(
        "a thousand prompts in one tuning of nano-gpt2",
        _many_prompts,
        lambda told: 600,
        "600 MB",
    ),
}


def main() -> int:
    """Run the cases; 1 if one needs more than its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    unknown = sorted(set(given.cases) - set(CASES))
    if unknown:
        parser.error(f"no case {unknown[0]!r}: {', '.join(CASES)}")
    if given.inside:
        return _inside(given.cases[0])
    recorded = environment(given.results)
    told: dict[str, Any] = {}
    for name in given.cases or CASES:
        told[name] = measure(name)
        print(json.dumps({name: told[name]}), flush=True)
    figures = {f"limits_{name}_mb": each["above_mb"] for name, each in told.items()}
    figures["limits_broken"] = sum(not each["ok"] for each in told.values())
    if not given.cases:
        write_part(given.results, "limits", figures, recorded, {"cases": told})
    return 1 if figures["limits_broken"] else 0


def measure(name: str) -> dict[str, Any]:
    """What a case needs, in a process of its own.

    Args:
        name: of the case.
    """
    command = [sys.executable, "-m", "benchmarks.trust.limits", name, "--inside"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return {"what": CASES[name].what, "above_mb": -1, "ok": False, "said": last}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _inside(name: str) -> int:
    case = CASES[name]
    # What every run has: the libraries, and a first pass through them.
    from promptport.backbone import Backbone, silence_libraries

    silence_libraries()
    Backbone.load("nano-bert", device="cpu", dtype="float32")
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        told = case.run(Path(folder))
    above = (peak() - before) / MEGABYTE
    bound = case.bound(told)
    print(
        json.dumps(
            {
                "what": case.what,
                **{key: round(value, 1) for key, value in told.items()},
                "idle_mb": round(before / MEGABYTE),
                "above_mb": round(above),
                "bound_mb": round(bound),
                "stated": case.stated,
                "ok": above <= bound,
            }
        )
    )
    return 0


def peak() -> int:
    """Highest memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss counts what the parent had when it started us
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main())
