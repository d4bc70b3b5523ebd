"""Running to the end, and the file that keeps an unfinished run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from promptport.errors import TuningError
from promptport.files import read_metadata, read_tensors, tensor_bytes, write_atomic
from promptport.objective import Question
from promptport.progress import Stage, stage
from promptport.tasks import Task
from promptport.tuning.config import Progress


def data_hash(task: Task, *questions: Sequence[Question]) -> str:
    """Of everything that is asked of a task, and of how it is scored."""
    asked = [*questions, task.metric, task.labels]
    return hashlib.sha256(repr(asked).encode()).hexdigest()


class StateFile:
    """A safetensors file with the tensors of a run, its progress and the identity of its jobs.

    Args:
        path: where it lies.
        identity: backbone, jobs, data sizes and settings of the run, as plain JSON values.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        self.identity = hashlib.sha256(text.encode()).hexdigest()

    def write(self, tensors: Mapping[str, Tensor], runs: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file in one step.

        Raises:
            StorageError: it cannot be written.
        """
        metadata = {"identity": self.identity, "tracks": json.dumps(runs)}
        write_atomic(self.path, tensor_bytes(tensors, metadata))

    def read(self) -> tuple[dict[str, Tensor], list[dict[str, Any]]] | None:
        """Tensors and progress, or None if there is no file.

        Raises:
            FileFormatError: the file is damaged.
            TuningError: it belongs to other jobs.
        """
        if not self.path.is_file():
            return None
        tensors = read_tensors(self.path)
        metadata = read_metadata(self.path)
        if metadata.get("identity") != self.identity:
            raise TuningError(
                str(self.path),
                expected="the state of this very run",
                got="one of other jobs, settings or data",
                fix="Finish that run with its own settings, or delete the file",
            )
        return tensors, json.loads(metadata["tracks"])

    def remove(self) -> None:
        """Delete the file: the run is over."""
        self.path.unlink(missing_ok=True)


class Resumable(Protocol):
    """A run that goes step by step and can be saved in between."""

    @property
    def running(self) -> bool: ...

    def step(self) -> bool: ...

    def progress(self) -> Progress: ...

    def save(self, file: StateFile) -> None: ...

    def restore(self, file: StateFile) -> None: ...


def run_to_the_end(
    run: Resumable,
    stepped: Callable[[], None],
    file: StateFile | None = None,
    save_seconds: float = 0.0,
    label: str = "tuning",
) -> None:
    """Take all steps of a run, those that a file has already been through left out.

    Args:
        run: whose `step` says whether it was scored, which is worth saving.
        stepped: called after every step.
        file: where the run is saved.
        save_seconds: time after which it is saved between two scores.
        label: what is done, for whoever listens.
    """
    if file is not None:
        run.restore(file)
    saved = time.monotonic()
    with stage(label) as told:
        _tell(told, run.progress())
        while run.running:
            scored = run.step()
            stepped()
            _tell(told, run.progress())
            if file is not None and (scored or time.monotonic() - saved > save_seconds):
                run.save(file)
                saved = time.monotonic()


def _tell(told: Stage, where: Progress) -> None:
    told.at(where.step, where.total, where.note)
