"""Vector folders: a task prompt vector, its coefficients and its provenance.

vector.safetensors  one float32 tensor `delta (n, d)`
vector.json         schema, written_by, checksum, coefficients {task: number}, vector (provenance),
                    parts {task: [name, task, checksum]}: which vector each coefficient counts
"""

from __future__ import annotations

import os
from pathlib import Path

from promptport.backbone import with_origin
from promptport.catalog.layout import (
    CONFIG_FILE,
    DELTA_FILE,
    DELTA_KEY,
    VECTOR_FORMAT,
)
from promptport.catalog.layout import VECTOR_FILE as RECORD_FILE
from promptport.errors import PromptPortError, StorageError
from promptport.files import (
    atomic_folder,
    json_bytes,
    read_tensors,
    tensor_bytes,
    what_is_at,
)
from promptport.provenance import Provenance
from promptport.storage.prompt_folder import load_prompt
from promptport.vector import Part, TaskPromptVector, checksum_of


def is_vector(folder: str | Path) -> bool:
    """Whether a folder holds a vector and no prompt."""
    place = Path(folder)
    return (place / RECORD_FILE).is_file() and not (place / CONFIG_FILE).is_file()


def save_vector(vector: TaskPromptVector, folder: str | Path) -> Path:
    """Write a vector folder, whole or not at all.

    Args:
        vector: the vector.
        folder: made if missing; an older vector in it is replaced.

    Returns:
        The folder.

    Raises:
        StorageError: the place cannot be written.
    """
    target = Path(folder)
    record = VECTOR_FORMAT.record(
        checksum=checksum_of(vector.delta, vector.coefficients),
        coefficients=dict(vector.coefficients),
        parts={name: list(part) for name, part in vector.parts.items()},
        vector=vector.provenance.to_dict(),
    )
    with atomic_folder(target) as staging:
        (staging / DELTA_FILE).write_bytes(tensor_bytes({DELTA_KEY: vector.delta}))
        (staging / RECORD_FILE).write_bytes(json_bytes(record))
    return target


def prompt_folders(place: str | Path) -> list[Path]:
    """A folder, if it holds a prompt or a vector, and all folders in it that do, to any depth.

    Hidden ones are left out: what a killed run was about to rename. Each is told of once.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    _look(Path(place), found, seen)
    return found


def _look(folder: Path, found: list[Path], seen: set[tuple[int, int]]) -> None:
    try:
        status = folder.stat()
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:  # no folder, or one of others
        return
    if (status.st_dev, status.st_ino) in seen:  # by a link that leads back
        return
    seen.add((status.st_dev, status.st_ino))
    if any((folder / mark).is_file() for mark in (CONFIG_FILE, RECORD_FILE)):
        found.append(folder)
    for name in sorted(names):
        if (folder / name).is_dir():
            _look(folder / name, found, seen)


def load_vector(
    folder: str | Path, name: str | None = None, backbone: str | None = None
) -> TaskPromptVector:
    """Read a vector folder, or take the vector of a prompt folder (prompt minus origin).

    Args:
        folder: a vector folder or a prompt folder; with the files of both, the vector's count.
        name: of the task, if a prompt folder does not say it.
        backbone: as in `with_origin`, which makes the origin of PEFT's TEXT again.

    Raises:
        StorageError: neither, or it cannot be read.
        FileFormatError: a damaged or foreign file, or a newer schema.
        MismatchError: a prompt without origin.
        BackboneError: as `with_origin`.
    """
    place = Path(folder)
    if not (place / RECORD_FILE).is_file():
        if (place / CONFIG_FILE).is_file():
            return TaskPromptVector.of(with_origin(load_prompt(place), backbone), name)
        raise StorageError(
            str(place),
            expected=f"a folder with {RECORD_FILE} (a vector) or {CONFIG_FILE} (a prompt)",
            got=what_is_at(place, "neither"),
            fix="Check the path",
        )
    record = VECTOR_FORMAT.read(place / RECORD_FILE)
    provenance = Provenance.from_dict(record["vector"], str(place / RECORD_FILE))
    delta = read_tensors(place / DELTA_FILE).get(DELTA_KEY)
    vector = None
    if delta is not None:
        try:
            parts = {name: Part(*part) for name, part in record.get("parts", {}).items()}
            vector = TaskPromptVector(delta, provenance, record["coefficients"], parts)
        except PromptPortError as error:
            raise VECTOR_FORMAT.damaged(
                place / DELTA_FILE, "finite values (n, d)", str(error)
            ) from error
    if vector is None or record.get("checksum") != checksum_of(vector.delta, vector.coefficients):
        raise VECTOR_FORMAT.damaged(
            place / DELTA_FILE,
            f"the tensor {DELTA_KEY!r} that was saved",
            "none" if vector is None else "other values, or other coefficients",
        )
    return vector
