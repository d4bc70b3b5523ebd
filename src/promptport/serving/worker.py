"""The process that holds the model: reads jobs from standard input, a JSON object a line, and
writes events to standard output. Nothing is pickled.

Run as `python -m promptport.serving.worker SETTINGS`, with a `WorkerSettings` as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from promptport.errors import PromptPortError

MOST_BYTES = 64 << 20  # of an event


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker serves.

    Attributes:
        prompts: folders of prompts.
        backbone: the model; None for the one that they belong to.
        tasks: task files of prompts whose tasks do not come with promptport.
        data: folder of `lama:` and `nlu:` tasks.
        loading: device, dtype and device_map of the model.
        rows: see `BatchLimits`.
        writing: see `BatchLimits`.
        wait: see `BatchLimits`.
        tokens: most of a row, on a model whose positions have no limit.
    """

    prompts: tuple[str, ...]
    backbone: str | None = None
    tasks: tuple[str, ...] = ()
    data: str | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 64
    writing: int = 64
    wait: float = 0.004
    tokens: int = 4096

    def to_json(self) -> str:
        """As a command line carries it."""
        return json.dumps(asdict(self))


def main() -> int:
    """Serve until standard input ends."""
    events = _own_output()
    lock = threading.Lock()

    def tell(event: Mapping[str, Any]) -> None:
        line = line_of(event)
        with lock:
            events.write(line + "\n")
            events.flush()

    try:
        _serve(WorkerSettings(**json.loads(sys.argv[1])), tell)
    except PromptPortError as error:
        tell({"refused": str(error)})
        return 1
    except BrokenPipeError:  # the front is gone
        return 1
    return 0


def line_of(event: Mapping[str, Any]) -> str:
    """An event as a line of ASCII, which half of a surrogate pair fits too.

    One that cannot be written, or that nobody would read, becomes an error of its job alone.
    """
    try:
        line = json.dumps(event, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        return _refusal(event, f"the server failed: {type(error).__name__}", 500)
    if len(line) < MOST_BYTES:
        return line
    told = f"reply: expected at most {MOST_BYTES} bytes, got {len(line)}: send fewer rows"
    return _refusal(event, told, 400)


def _refusal(event: Mapping[str, Any], message: str, status: int) -> str:
    return json.dumps({"number": event["number"], "error": {"message": message, "status": status}})


def _own_output() -> IO[str]:
    """Standard output for events alone: what libraries print goes to standard error."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def _serve(settings: WorkerSettings, tell: Any) -> None:
    from promptport.backbone import Backbone, silence_libraries
    from promptport.library import Library
    from promptport.serving.scheduler import BatchLimits, Scheduler
    from promptport.serving.server import PromptServer

    silence_libraries()
    if settings.backbone is None:
        library = Library.open(list(settings.prompts), skip_damaged=True)
        backbone = library.load_backbone(**settings.loading)
    else:
        backbone = Backbone.load(settings.backbone, **settings.loading)
    server = PromptServer(
        backbone,
        settings.prompts,
        tasks=settings.tasks,
        data=settings.data,
        most_tokens=settings.tokens,
    )
    limits = BatchLimits(settings.rows, settings.writing, settings.wait)
    scheduler = Scheduler(server, tell, limits)
    tell({"ready": {"backbone": backbone.name, "kind": backbone.kind, "prompts": server.names}})
    reader = threading.Thread(target=_read, args=(scheduler, tell), daemon=True)
    reader.start()
    scheduler.run()


def _read(scheduler: Any, tell: Any) -> None:
    """Jobs from standard input, until it ends."""
    from promptport.serving.messages import job_of
    from promptport.serving.scheduler import error_of

    for line in sys.stdin:
        message = json.loads(line)
        if "cancel" in message:
            scheduler.cancel(message["cancel"])
            continue
        try:
            scheduler.submit(job_of(message))
        except Exception as error:  # the reader must not die of one job
            tell({"number": message["number"], "error": error_of(error)})
    scheduler.close()


if __name__ == "__main__":
    sys.exit(main())
