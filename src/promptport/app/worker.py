"""The process that does the jobs of the page, one after the other; see `jobs`.

Run as `python -m promptport.app.worker SETTINGS`, with the fields of `work.Session` as JSON.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from promptport.errors import PromptPortError
from promptport.progress import Stage, listening

Tell = Callable[[Mapping[str, Any]], None]
_PAUSE = 0.2  # seconds between two lines on progress


class Teller:
    """Turns stages into lines on progress: the outermost that counts, and what is within it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._open: list[Stage] = []
        self._told = 0.0

    def begins(self, stage: Stage) -> None:
        """A stage begins."""
        self._open.append(stage)
        if stage.label:
            self._say()

    def moves(self, stage: Stage) -> None:
        """A stage is further."""
        if time.monotonic() - self._told >= _PAUSE:
            self._say()

    def ends(self, stage: Stage) -> None:
        """A stage has ended."""
        if stage in self._open:
            del self._open[self._open.index(stage) :]

    def _say(self) -> None:
        self._told = time.monotonic()
        parts, share = [], None
        for stage in self._open:
            count = f"{stage.done}/{stage.total}" if stage.total else ""
            if stage.label:
                parts.append(f"{stage.label} {count}".strip())
            elif count and parts:  # it counts for the stage around it
                parts[-1] += f" {count}"
            if share is None and stage.total:
                share = stage.share
        self._tell({"progress": ", ".join(parts), "share": share})


def main() -> int:
    """Do jobs until standard input ends."""
    # What libraries print goes to standard error.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    lock = threading.Lock()

    def tell(event: Mapping[str, Any]) -> None:
        with lock:
            events.write(json.dumps(event, ensure_ascii=False) + "\n")
            events.flush()

    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()

    from promptport.app.work import Session, work
    from promptport.backbone import silence_libraries

    silence_libraries()
    session = Session(**json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
    while True:
        job = jobs.get()

        tell_job = partial(_tell_of, tell, job["number"])
        run = partial(work, session, job["kind"], job["asked"], tell_job)
        tell_job(_done(run, tell_job))


def _tell_of(tell: Tell, number: int, event: Mapping[str, Any]) -> None:
    """Tell an event of a job."""
    tell({**event, "number": number})


def _done(run: Callable[[], Any], tell: Tell) -> dict[str, Any]:
    """The last event of a job."""
    try:
        with listening(Teller(tell)):
            return {"result": run()}
    except PromptPortError as error:
        return {"error": str(error)}
    except Exception as error:  # ours: the page says so, and standard error has where
        traceback.print_exc()
        said = " ".join(str(error).split())
        return {"error": f"a fault of promptport: {type(error).__name__}: {said}"}


def _read(jobs: queue.Queue[dict[str, Any]]) -> None:
    """Jobs from standard input. Its end is the end of the server: whatever runs is dropped."""
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
