"""Task prompt vectors: origins, pairs, starting points, other models; side by side with paper B.

Run from the root of the repository: python -m benchmarks.task_vectors.run [--data FOLDER]

Prompts are kept in build/task_vectors and finished cells in results/<part>/cells.jsonl, so a
stopped run goes on where it was; cells of other weights are not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks._result import environment, write_summary
from benchmarks.task_vectors.common import BACKBONES, RESULTS, WORK
from benchmarks.task_vectors.table import write_tables

PARTS = ("origins", "pairs", "fewshot", "across")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, make what is missing, write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with nlu/; without it: no such tasks")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--tasks", nargs="*", default=[], help="of origins and pairs; none: all")
    parser.add_argument("--trainings", nargs="*", default=[], help="of origins; none: all")
    parser.add_argument("--widen-steps", type=int, help="of origins: most updates of `widen`")
    parser.add_argument("--counts", type=int, nargs="*", help="labelled rows of few-shot curves")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=WORK)
    given = parser.parse_args(arguments)
    recorded = environment(given.results)
    # Seeds go outermost over all parts: a run that is cut short has whole seeds.
    for last in range(1, len(given.seeds) + 1):
        seeds = given.seeds[:last]
        summary: dict[str, float] = {}
        tables: dict[str, Any] = {}
        texts: dict[str, str] = {}
        for name in given.parts:
            module = _part(name)
            if module is None:
                continue
            cells = module.measure(seeds=seeds, **_settings(module, given))
            figures, tables[name] = module.summarise(cells)
            summary |= figures
            texts[name] = module.table(tables[name])
            write_summary(given.results, summary, recorded)
            write_tables(given.results / "table.md", texts)
    print((given.results / "table.md").read_text())


def _part(name: str) -> ModuleType | None:
    """The module of a part, None if it is not there."""
    full = f"benchmarks.task_vectors.{name}"
    if importlib.util.find_spec(full) is None:
        print(f"{name}: left out, there is no {full}")
        return None
    return importlib.import_module(full)


def _settings(module: ModuleType, given: argparse.Namespace) -> dict[str, Any]:
    """What this part can be told; not all read data or take tasks."""
    known = inspect.signature(module.measure).parameters
    offered = {
        "data": given.data,
        "backbones": given.backbones,
        "results": given.results,
        "work": given.work,
    }
    if given.counts and module.__name__.endswith(".fewshot"):
        offered["settings"] = module.Settings(counts=tuple(sorted({0, *given.counts})))
    if given.tasks and module.__name__.rpartition(".")[2] in ("origins", "pairs"):
        offered["tasks"] = given.tasks
    if given.widen_steps and module.__name__.endswith(".origins"):
        offered["widen_steps"] = given.widen_steps
    if given.trainings and module.__name__.endswith(".origins"):
        offered["trainings"] = given.trainings
    return {name: value for name, value in offered.items() if name in known}


if __name__ == "__main__":
    main()
