"""Commands that write, killed at every stage: nothing lost, nothing changed, nothing left over.

Run from the root of the repository: python -m benchmarks.trust.kills [--kills N | --quick]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._result import environment, merge_summary
from benchmarks.trust.forking import Ended, Kill, run_command, warm_up
from benchmarks.trust.traces import Tree, lost_things, not_whole, things_of, tree_of
from benchmarks.trust.writers import Writer, make_models, make_place, writers

from promptport.catalog.index import INDEX_FILE

RESULTS = Path(__file__).resolve().parent / "results"
RUNS = "kills.json"
QUICK_SECONDS = 60.0
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_BY_CHANGE = 0.7  # of the kills are before a change of the disk, the rest at some time
_TWICE = 0.2  # are killed a second time before they may end
_INPUTS = "in"


@dataclass
class Case:
    """A writer with its folder as it is before, and what an undisturbed run makes of it.

    Attributes:
        writer: the command.
        base: the folder before.
        old: what is in it.
        new: what is in it afterwards.
        ended: how the undisturbed run ended.
    """

    writer: Writer
    base: Path
    old: Tree
    new: Tree
    ended: Ended


@dataclass
class Found:
    """What became of the kills.

    Attributes:
        counts: by name of a figure.
        faults: one example of each kind, by writer.
        kinds: number of kills by signal and by where.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, parts: Iterable[Found]) -> Found:
        """All parts in one."""
        found = cls()
        for part in parts:
            found.counts.update(part.counts)
            found.kinds.update(part.kinds)
            found.faults |= part.faults
        return found

    def fault(self, figure: str, case: Case, told: str) -> None:
        """Count a fault, and keep the first of its kind."""
        self.counts[figure] += 1
        key = f"{case.writer.name}: {figure}"
        if key not in self.faults:
            print(f"{key}\n{told}", file=sys.stderr, flush=True)
        self.faults.setdefault(key, told)


def main() -> int:
    """Kill, look, count; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kills", type=int, default=500)
    add("--quick", action="store_true", help="as many as fit into a minute, each writer in turn")
    add("--seconds", type=float, default=0, help="most; 0 for no limit")
    add("--writer", nargs="*", default=[], help="only these, by the beginnings of their names")
    add("--jobs", type=int, default=1, help="processes that share the work")
    add("--every", action="store_true", help="before every change of the disk, of each writer")
    add("--seed", type=int, default=0)
    add("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recorded = environment(given.results)
    warm_up()
    wanted = {
        "kills": -(-given.kills // given.jobs),
        "seconds": QUICK_SECONDS if given.quick else given.seconds,
        "only": given.writer,
        "every": given.every,
    }
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("fork")) as pool:
        parts = [
            pool.submit(_job, wanted, given.seed + 1000 * number, number, given.jobs)
            for number in range(given.jobs)
        ]
        found = Found.of([part.result() for part in parts])
    summary = {
        "kills": found.counts["kills"],
        "kill_writers": found.counts["writers"],
        "results_lost": found.counts["results_lost"],
        "inputs_changed": found.counts["inputs_changed"],
        "leftovers": found.counts["leftovers"],
        "kill_tracebacks": found.counts["kill_tracebacks"],
    }
    runs = {
        "came too late": found.counts["late"],
        "kinds": dict(sorted(found.kinds.items())),
        "faults": found.faults,
    }
    merge_summary(given.results, summary, recorded, RUNS, runs)
    for key, told in found.faults.items():
        print(f"\n{key}\n{told}")
    print(summary)
    return 1 if found.faults else 0


def _job(wanted: dict[str, Any], seed: int, first: int, jobs: int) -> Found:
    """The share of one process."""
    with tempfile.TemporaryDirectory(prefix="promptport-kills-") as folder:
        return kill_all(Path(folder), seed=seed, share=(first, jobs), **wanted)


def kill_all(
    root: Path,
    *,
    kills: int,
    seed: int = 0,
    seconds: float = 0.0,
    only: list[str] | None = None,
    every: bool = False,
    share: tuple[int, int] = (0, 1),
) -> Found:
    """Kill writers in turn.

    Args:
        root: an empty folder.
        kills: how many.
        seed: of places and signals.
        seconds: most; 0 for no limit.
        only: beginnings of names of writers; none for all.
        every: in place of `kills`, one before every change of the disk.
        share: (i, n): only the writers i, i + n, i + 2n ...
    """
    began = time.monotonic()
    models = root / "models"
    make_models(models)
    make_place(root / "base", models)
    before = tree_of(models, exact=True)
    chosen = [
        writer
        for writer in writers(models)
        if not only or any(writer.name.startswith(name) for name in only)
    ][share[0] :: share[1]]
    cases: dict[str, Case] = {}
    found = Found()
    for writer, kill in _plan(chosen, kills, seed, every, cases, root):
        passed = time.monotonic() - began
        if (seconds and passed > seconds) or (not every and found.counts["kills"] >= kills):
            break
        _one(cases[writer.name], kill, root / "work", found)
        if found.counts["kills"] % 20 == 0:
            print(f"{time.monotonic() - began:.0f} s, {dict(found.counts)}", file=sys.stderr)
    if tree_of(models, exact=True) != before:
        found.counts["inputs_changed"] += 1
        found.faults["models"] = "a model was changed"
    found.counts["writers"] = len(cases)
    return found


def _plan(
    chosen: list[Writer], kills: int, seed: int, every: bool, cases: dict[str, Case], root: Path
) -> Any:
    """Which writer is killed when, one after the other; cases are made as they are needed."""
    if every:
        for writer in chosen:
            cases[writer.name] = _case(writer, root)
            for change in range(1, cases[writer.name].ended.changes + 1):
                yield writer, (Kill(signal.SIGKILL, change),)
        return
    for number in range(2 * kills):
        writer = chosen[number % len(chosen)]
        if writer.slow and number // len(chosen) % 2:
            continue
        if writer.name not in cases:
            cases[writer.name] = _case(writer, root)
        draw = random.Random(f"{writer.name} {seed} {number}")
        again = draw.random() < _TWICE
        ended = cases[writer.name].ended
        yield writer, tuple(_drawn(ended, draw) for _ in range(2 if again else 1))


def _drawn(ended: Ended, draw: random.Random) -> Kill:
    number = draw.choice(_SIGNALS)
    if ended.changes and draw.random() < _BY_CHANGE:
        return Kill(number, change=draw.randint(1, ended.changes))
    return Kill(number, seconds=draw.random() * ended.seconds)


def _case(writer: Writer, root: Path) -> Case:
    """Run a writer undisturbed."""
    base = root / "bases" / str(abs(hash(writer.name)))
    work = root / "work"
    _fresh(root / "base", work)
    for command in writer.before:
        ended = run_command(command, work, prepare=writer.prepare)
        if ended.code:
            raise RuntimeError(f"{writer.name}: {command}: {ended.code}\n{ended.err}")
    shutil.copytree(work, base, symlinks=True)
    old = tree_of(work)
    ended = run_command(writer.arguments, work, prepare=writer.prepare)
    if ended.code:
        raise RuntimeError(f"{writer.name}: {ended.code}\n{ended.err}")
    return Case(writer, base, old, tree_of(work), ended)


def _fresh(source: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, symlinks=True)


def _one(case: Case, kills: tuple[Kill, ...], work: Path, found: Found) -> None:
    """Kill a writer, look at what is there, let it run to its end, and look again."""
    writer = case.writer
    _fresh(case.base, work)
    inputs = tree_of(work / _INPUTS, exact=True)
    things = things_of(work / writer.keeps) if writer.keeps else {}
    for kill in kills:
        ended = run_command(writer.arguments, work, kill, writer.prepare)
        where = f"change {kill.change}" if kill.change else f"{kill.seconds:.2f} s"
        how = f"{signal.Signals(kill.number).name} at {where}: {ended.code}\n{ended.err}"
        if ended.code == 0:  # it saves by time, and made fewer changes than before, or was quicker
            found.counts["late"] += 1
            continue
        found.counts["kills"] += 1
        found.kinds[
            f"{signal.Signals(kill.number).name} {'change' if kill.change else 'time'}"
        ] += 1
        if "Traceback" in ended.err or ended.code == -signal.SIGALRM:
            found.fault("kill_tracebacks", case, how)
        if half := not_whole(work, case.old, case.new, writer.parts, writer.grows):
            found.fault("results_lost", case, f"{how}\nhalf-written: {half}")
        if writer.keeps and (gone := lost_things(things, things_of(work / writer.keeps))):
            found.fault("results_lost", case, f"{how}\ngone from the library: {gone}")
    ended = run_command(writer.arguments, work, prepare=writer.prepare)
    how = f"{how}\nagain: {ended.code}\n{ended.err}"
    if not ended.is_clean:
        found.fault("kill_tracebacks", case, how)
    new = tree_of(work)
    if tree_of(work / _INPUTS, exact=True) != inputs:
        found.fault("inputs_changed", case, how)
    # An index is written once the files of a library are old enough: by time, not by kills.
    if more := sorted(n for n in set(new) - set(case.new) if Path(n).name != INDEX_FILE):
        found.fault("leftovers", case, f"{how}\nleft over: {more}")
    other = [name for name in case.new if new.get(name) != case.new[name]]
    if other:
        found.fault("results_lost", case, f"{how}\nother than undisturbed: {other}")


if __name__ == "__main__":
    sys.exit(main())
