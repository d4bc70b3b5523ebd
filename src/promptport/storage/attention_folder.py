"""Attention folders: what `tune_attention` tuned, which no prompt folder can hold.

attention.safetensors  float32 `sources (S, n, d)`, `target (n, d)`, `down (r, d)`, `up (d, r)`,
                       `gain (2, d)`
attention.json         schema, written_by, checksum, temperature, truncate, prompt (provenance)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from promptport.catalog.layout import ATTENTION_FILE as RECORD_FILE
from promptport.catalog.layout import (
    ATTENTION_FORMAT,
    ATTENTION_PARTS,
    CONFIG_FILE,
    MIXTURE_FILE,
    ORIGIN_FILE,
    PROVENANCE_FILE,
    VECTOR_FILES,
    WEIGHTS_FILE,
)
from promptport.catalog.layout import ATTENTION_TENSORS_FILE as TENSORS_FILE
from promptport.errors import StorageError
from promptport.files import (
    atomic_folder,
    json_bytes,
    read_tensors,
    tensor_bytes,
)
from promptport.provenance import Provenance
from promptport.records import checksum_of_tensors
from promptport.storage.model_card import CARD_FILE, may_write_card

_STALE = (CONFIG_FILE, WEIGHTS_FILE, PROVENANCE_FILE, ORIGIN_FILE, MIXTURE_FILE, *VECTOR_FILES)


class AttentionParts(Protocol):
    """What is written of `tuning.AttentionPrompts`: tensors, numbers, and where they come from."""

    @property
    def sources(self) -> Tensor:
        """(S, n, d) frozen."""

    @property
    def target(self) -> Tensor:
        """(n, d)."""

    @property
    def down(self) -> Tensor:
        """(r, d)."""

    @property
    def up(self) -> Tensor:
        """(d, r)."""

    @property
    def gain(self) -> Tensor:
        """(2, d)."""

    @property
    def temperature(self) -> float:
        """Of the softmax, above 0."""

    @property
    def truncate(self) -> bool:
        """Whether texts that are too long are cut."""

    @property
    def provenance(self) -> Provenance:
        """Backbone, task and template."""


def save_attention(prompts: AttentionParts, folder: str | Path) -> Path:
    """Write an attention folder, whole or not at all.

    Args:
        prompts: what was tuned.
        folder: made if missing; an older attention or prompt in it is replaced.

    Returns:
        The folder.

    Raises:
        StorageError: the place cannot be written.
    """
    tensors = {name: getattr(prompts, name).float() for name in ATTENTION_PARTS}
    numbers = {"temperature": prompts.temperature, "truncate": prompts.truncate}
    record = ATTENTION_FORMAT.record(
        checksum=checksum_of_tensors(tensors, json_bytes(numbers)),
        **numbers,
        prompt=prompts.provenance.to_dict(),
    )
    target = Path(folder)
    stale = (*_STALE, CARD_FILE) if may_write_card(target) else _STALE
    with atomic_folder(target, stale) as staging:
        (staging / TENSORS_FILE).write_bytes(tensor_bytes(tensors))
        (staging / RECORD_FILE).write_bytes(json_bytes(record))
    return target


def attention_provenance(folder: str | Path) -> Provenance:
    """The backbone, task and template of an attention folder.

    Raises:
        StorageError: there is none, or it cannot be read.
        FileFormatError: a damaged or foreign file, or a newer schema.
    """
    place = Path(folder) / RECORD_FILE
    return Provenance.from_dict(_read_record(place)["prompt"], str(place))


def read_attention(folder: str | Path) -> tuple[Provenance, dict[str, Tensor], dict[str, Any]]:
    """An attention folder without its backbone, its checksum verified.

    Args:
        folder: of `save_attention`.

    Returns:
        Where it was tuned, the tensors of `TENSORS_FILE`, and `temperature` and `truncate`.

    Raises:
        StorageError: there is none, or it cannot be read.
        FileFormatError: a damaged or foreign file, or a newer schema.
    """
    place = Path(folder)
    provenance, record = attention_provenance(place), _read_record(place / RECORD_FILE)
    tensors = read_tensors(place / TENSORS_FILE)
    numbers: dict[str, Any] = {name: record.get(name) for name in ("temperature", "truncate")}
    wanted = checksum_of_tensors(tensors, json_bytes(numbers))
    if set(tensors) != set(ATTENTION_PARTS) or record.get("checksum") != wanted:
        expected = "the tensors and numbers that were saved"
        raise ATTENTION_FORMAT.damaged(place / TENSORS_FILE, expected, "others")
    return provenance, tensors, numbers


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StorageError(
            str(path), expected="an attention folder", got="no such file", fix="Check the path"
        )
    return ATTENTION_FORMAT.read(path)
