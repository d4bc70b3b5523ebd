"""What benchmarks on pretrained models share: progress, one line for bad input, going on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from promptport.cli.console.progress import showing
from promptport.errors import PromptPortError


def measured(run: Callable[[argparse.Namespace], int], given: argparse.Namespace) -> int:
    """Measure what is missing, and print the table.

    Args:
        run: measures, and says how many cells could not be measured.
        given: options; `results` has the file `table.md` afterwards.

    Returns:
        0, or 1 where something is missing or a cell could not be measured, 130 if interrupted.
    """
    try:
        with showing():
            failed = run(given)
    except PromptPortError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    print((given.results / "table.md").read_text())
    return 1 if failed else 0
