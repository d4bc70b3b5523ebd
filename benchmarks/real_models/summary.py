"""What soft prompts do on pretrained models: figures and tables of two runs.

Run from the root of the repository, after `benchmarks.real_models.fetch`:
    promptport run recipes/pretrained/prompts.yaml --data FOLDER --models MODELS
    promptport run recipes/pretrained/usual-settings.yaml --data FOLDER --models MODELS
    python -m benchmarks.real_models.summary runs/pretrained/prompts runs/pretrained/usual-settings

The recipes measure, and go on where they were. This reads their cells, and writes `summary.json`,
`table.md` and `usual-settings.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._command import measured
from benchmarks._result import environment, write_summary
from benchmarks.real_models import settings_table, table

from promptport.files import write_atomic
from promptport.recipes.reports import read_run

RESULTS = Path(__file__).resolve().parent / "results"
# A recipe's method -> the way of the tables; the recipe puts prompts behind the text.
WAYS = {"free": "tuned_suffix", "front": "tuned", "anchored": "tuned_mixture"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figures.

    Returns:
        0, or 1 where a folder holds no such run.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompts", type=Path, help="folder of a run of pretrained/prompts")
    add = parser.add_argument
    add("settings", type=Path, nargs="?", help="of pretrained/usual-settings; none: as it was")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return measured(_run, parser.parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    recorded = environment(given.results)
    cells = cells_of(given.prompts, WAYS)
    figures, pages = table.summarise(cells), {"table.md": table.table(cells)}
    known = given.results / "summary.json"
    if given.settings is None and known.is_file():
        kept = json.loads(known.read_text())
        figures |= {name: value for name, value in kept.items() if name.startswith("defaults_")}
    if given.settings is not None:
        others = cells_of(given.settings)
        figures |= settings_table.summarise(others)
        pages["usual-settings.md"] = settings_table.table(others)
    given.results.mkdir(parents=True, exist_ok=True)
    write_summary(given.results, figures, recorded)
    for name, page in pages.items():
        write_atomic(given.results / name, page.encode())
    return 0


def cells_of(folder: Path, ways: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Finished cells of a run, each with `model`, `task`, `way`, `seed` and its values.

    Args:
        folder: of the run.
        ways: names of the ways in place of the recipe's methods.
    """
    return [
        {
            **cell.values,
            "model": cell.place["backbone"],
            "task": cell.place["task"].rpartition(":")[2],
            "way": (ways or {}).get(cell.place["method"], cell.place["method"]),
            "seed": cell.place["seed"],
        }
        for cell in read_run(folder).cells
        if cell.state == "finished"
    ]


if __name__ == "__main__":
    sys.exit(main())
