"""Broken files of every kind for every reader: right, one clear line, or a fault of ours.

Run from the root of the repository: python -m benchmarks.trust.fuzz [--inputs N]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._result import environment, merge_summary
from benchmarks.trust.readers import Reader, make_seeds, readers

from promptport.backbone import silence_libraries
from promptport.errors import PromptPortError

RESULTS = Path(__file__).resolve().parent / "results"
HANG_SECONDS = 10


def main() -> int:
    """Break, read, count; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--inputs", type=int, default=10_000, help="for every reader")
    add("--reader", nargs="*", default=[], help="only these")
    add("--seed", type=int, default=0)
    add("--seconds", type=float, default=0, help="most for every reader; 0 for no limit")
    add("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recorded = environment(given.results)
    silence_libraries()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    totals: Counter[str] = Counter()
    faults: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMPTPORT_CACHE"] = str(Path(folder) / "cache")
        seeds = Path(folder) / "seeds"
        make_seeds(seeds)
        for reader in readers(seeds):
            if given.reader and reader.name not in given.reader:
                continue
            found = fuzz(reader, seeds, given.inputs, given.seed, given.seconds)
            totals.update(found["counts"])
            faults |= {f"{reader.name}: {key}": told for key, told in found["faults"].items()}
            counts = ", ".join(f"{n} {what}" for what, n in sorted(found["counts"].items()))
            print(f"{reader.name}: {counts}", file=sys.stderr, flush=True)
    given.results.mkdir(parents=True, exist_ok=True)
    summary = {
        "fuzz_inputs": sum(totals.values()),
        "fuzz_refused": totals["refused"],
        "fuzz_tracebacks": totals["traceback"],
        "fuzz_hangs": totals["hang"],
        "fuzz_long_lines": totals["not one line"],
    }
    merge_summary(given.results, summary, recorded, "fuzz.json", {"faults": faults})
    for key, told in faults.items():
        print(f"\n{key}\n{told}")
    print(summary)
    return 1 if faults else 0


def fuzz(reader: Reader, seeds: Path, inputs: int, seed: int, seconds: float = 0) -> dict[str, Any]:
    """Counts of what became of broken inputs, and one example of every fault.

    Args:
        reader: what reads.
        seeds: valid files.
        inputs: how many broken ones.
        seed: of the breaking.
        seconds: most; 0 for no limit.
    """
    counts: Counter[str] = Counter()
    faults: dict[str, str] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "broken"
        if reader.read is not None:
            shutil.copytree(seeds, place)
        for number in range(inputs):
            if seconds and time.monotonic() - began > seconds:
                break
            draw = random.Random(f"{reader.name} {seed} {number}")
            what, told = _one(reader, seeds, place, draw)
            counts[what] += 1
            if what not in ("read", "refused"):
                key = f"{what}: {told.strip().splitlines()[-1][:120]}"
                faults.setdefault(key, f"input {number}\n{told}")
    return {"counts": counts, "faults": faults}


def _one(reader: Reader, seeds: Path, place: Path, draw: random.Random) -> tuple[str, str]:
    """What becomes of one broken input."""
    name, value = "", None
    if reader.draw is not None:
        value = reader.draw(draw)
    else:
        name = draw.choice(sorted(reader.files))
        (place / name).write_bytes(reader.files[name]((seeds / name).read_bytes(), draw))
    try:
        with _alarm(), contextlib.redirect_stdout(io.StringIO()) as said:
            if reader.read_text is not None:
                reader.read_text(value)
            elif reader.read is not None:
                reader.read(place)
        if said.getvalue():
            return "traceback", f"something was printed: {said.getvalue()[:200]}"
        return "read", ""
    except PromptPortError as error:
        line = str(error)
        return ("refused", "") if "\n" not in line else ("not one line", line)
    except TimeoutError:
        return "hang", f"{name} {str(value)[:200]}: longer than {HANG_SECONDS} s"
    except Exception:
        return "traceback", f"{name} {ascii(value)[:300]}\n{traceback.format_exc()}"
    finally:
        if name:
            shutil.copyfile(seeds / name, place / name)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
