"""Reads a request, lets the module of an engine answer it, and writes what it answered.

The folder is run by the interpreter that has the engine (`python FOLDER MODULE`), which need not
have promptport: nothing here imports it, and it is no package. A request comes as JSON on standard
input, the answer goes as JSON to standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    """Answer one request. Engines print on standard output: theirs goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        made = importlib.import_module(sys.argv[1]).run(request)
    except ModuleNotFoundError as error:
        made = {"missing": error.name}
    except Exception as error:  # whatever an engine raises becomes one line
        made = {"failed": f"{type(error).__name__}: {error}"}
    json.dump(made, answers)
    answers.flush()
    answers.close()
    os._exit(0)  # engines leave threads behind that would wait for ever


if __name__ == "__main__":
    main()
