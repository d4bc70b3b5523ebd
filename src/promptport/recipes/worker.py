"""A worker process of the local engine: units of work in, finished cells out, as lines of JSON.

It ends at once when the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from promptport.errors import PromptPortError, StorageError
from promptport.progress import Stage

_EVERY = 2.0  # seconds between two words about what is being done


def main() -> None:
    """Serve until there is no more input. Arguments: the settings as one JSON object."""
    settings = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print
    orders: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, orders), daemon=True).start()
    try:
        _serve(settings, orders, out)
    except PromptPortError as error:
        _say(out, {"stop": str(error)})


def _listen(lines: TextIO, orders: SimpleQueue[Mapping[str, Any]]) -> None:
    for line in lines:
        orders.put(json.loads(line))
    os._exit(0)  # nobody is left to tell


def _say(out: TextIO, message: Mapping[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()


class _Teller:
    """Tells the run what its worker is doing, every few seconds."""

    def __init__(self, out: TextIO) -> None:
        self.out, self.last = out, 0.0
        self.inside: list[Stage] = []

    def begins(self, stage: Stage) -> None:
        self.inside.append(stage)

    def moves(self, stage: Stage) -> None:
        now = time.monotonic()
        if now - self.last >= _EVERY and stage.total:
            self.last = now
            _say(self.out, {"at": self._where(stage)})

    def ends(self, stage: Stage) -> None:
        self.inside.remove(stage)

    def _where(self, moved: Stage) -> str:
        """What is done, with its own count; with that of a stage inside it if it has none."""
        labelled = next((s for s in reversed(self.inside) if s.label), moved)
        own = labelled if labelled.total else moved
        return f"{labelled.label} {own.done}/{own.total}".strip()


def _serve(
    settings: Mapping[str, Any], orders: SimpleQueue[Mapping[str, Any]], out: TextIO
) -> None:
    from promptport.progress import listening
    from promptport.recipes.bench import bench_of
    from promptport.recipes.measuring import measure_unit
    from promptport.recipes.run_folder import RunFolder
    from promptport.recipes.runners.base import cells_of

    folder = RunFolder(Path(settings["folder"]))
    bench = bench_of(folder.read("recipe.json")["resolved"], folder, settings)
    _say(out, {"ready": True})
    with listening(_Teller(out)):
        while True:
            order = orders.get()
            cells = cells_of(order)
            told = {"worker": settings["name"], "attempt": order["attempt"]}
            try:
                for made in measure_unit(bench, cells, order["stamps"], told):
                    if made.cell.id not in order["wanted"]:
                        continue
                    if made.record:
                        folder.add(made.record)
                        _say(out, {"done": made.cell.id})
                    else:
                        said = {"failed": made.cell.id, "error": made.error}
                        _say(out, {**said, "again": made.again})
            except StorageError as error:
                _say(out, {"stop": str(error)})
            _say(out, {"end": True})


if __name__ == "__main__":
    main()
