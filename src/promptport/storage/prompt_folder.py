"""Prompt folders: a PEFT prompt-tuning adapter plus what PEFT does not keep (origin, provenance).

PEFT loads such a folder as it is; a bare PEFT folder is valid input. See docs/file-format.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from promptport.catalog.layout import (
    CONFIG_FILE,
    MIXTURE_FILE,
    MIXTURE_KEY,
    ORIGIN_FILE,
    PROMPT_FORMAT,
    PROMPT_KEY,
    PROVENANCE_FILE,
    VECTOR_FILES,
    WEIGHTS_FILE,
)
from promptport.errors import FileFormatError, ShapeError, StorageError
from promptport.files import (
    atomic_folder,
    json_bytes,
    read_json,
    read_metadata,
    read_tensors,
    tensor_bytes,
    what_is_at,
)
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import SCHEMA_VERSION, Provenance
from promptport.records import RecordFormat
from promptport.shell import quoted
from promptport.storage.bare_tensor import how_to_import
from promptport.storage.model_card import CARD_FILE, may_write_card, model_card
from promptport.storage.peft import (
    checked_length,
    peft_config,
    provenance_from_peft,
    read_rows,
)

__all__ = [
    "CONFIG_FILE",
    "MIXTURE_FILE",
    "ORIGIN_FILE",
    "PROVENANCE_FILE",
    "VECTOR_FILES",
    "WEIGHTS_FILE",
    "checksum",
    "load_prompt",
    "save_prompt",
]

_MOST_NAMED = 5  # prompts that a message lists
_PARTS = (ORIGIN_FILE, MIXTURE_FILE, *VECTOR_FILES)  # that not every prompt folder has
_damaged = RecordFormat(SCHEMA_VERSION, "Restore the file from its source").damaged


def save_prompt(prompt: SoftPrompt, folder: str | Path) -> Path:
    """Write a prompt folder with its model card, whole or not at all.

    Args:
        prompt: the prompt.
        folder: made if missing; files of an older prompt in it are replaced or removed, those of
            its vector as well. A README.md that is not our card stays.

    Returns:
        The folder.

    Raises:
        StorageError: the place cannot be written.
    """
    target = Path(folder)
    with atomic_folder(target, _PARTS) as staging:
        weights = tensor_bytes({PROMPT_KEY: prompt.vectors})
        (staging / WEIGHTS_FILE).write_bytes(weights)
        (staging / CONFIG_FILE).write_bytes(json_bytes(peft_config(prompt)))
        if prompt.origin is not None:
            (staging / ORIGIN_FILE).write_bytes(tensor_bytes({PROMPT_KEY: prompt.origin}))
        if prompt.mixture is not None:
            words = {"words": json.dumps(prompt.mixture.words, ensure_ascii=False)}
            weights = tensor_bytes({MIXTURE_KEY: prompt.mixture.weights}, words)
            (staging / MIXTURE_FILE).write_bytes(weights)
        record = PROMPT_FORMAT.record(
            has_origin=prompt.origin is not None,
            has_mixture=prompt.mixture is not None,
            checksum=checksum(prompt),
            prompt=prompt.provenance.to_dict(),
        )
        (staging / PROVENANCE_FILE).write_bytes(json_bytes(record))
        if may_write_card(target):
            card = model_card(prompt, target.absolute().name)
            (staging / CARD_FILE).write_bytes(card.encode())
    return target


def _no_prompt(place: Path) -> StorageError:
    """What is wrong with a folder that holds no prompt."""
    inside = sorted(file.parent.name for file in place.glob(f"*/{CONFIG_FILE}"))
    got, fix = "no such file", "Check the path"
    if (place / VECTOR_FILES[1]).is_file():
        got = "a vector folder"
        combine = (
            f"promptport vector combine a --load {quoted(f'a={place}')} --origin seed:3 --out P"
        )
        fix = f"Put it on an origin: {combine}"
    elif inside:
        more = f" and {len(inside) - _MOST_NAMED} more" if len(inside) > _MOST_NAMED else ""
        got = f"a folder of prompts ({', '.join(inside[:_MOST_NAMED])}{more})"
        fix = f"Name one of them, for instance {place / inside[0]}"
    if place.is_file():
        got, fix = how_to_import(place)
    return StorageError(
        str(place),
        expected=f"a prompt folder with {CONFIG_FILE}",
        got=got if place.is_file() else what_is_at(place, got),
        fix=fix,
    )


def load_prompt(folder: str | Path) -> SoftPrompt:
    """Read a prompt folder, ours or a bare PEFT one.

    A name like `user/name` or `user/name@REVISION` that is no folder is looked for on the Hub.

    Rows beyond `num_virtual_tokens` (PEFT's second, inert half of encoder-decoder prompts) are
    dropped: they never reach the model.

    Raises:
        StorageError: no such folder, or it cannot be read.
        FileFormatError: another kind of adapter, a damaged or foreign file, a newer schema.
    """
    place = Path(folder)
    if not place.exists():
        from promptport.storage.hub_prompts import hub_copy

        place = hub_copy(str(folder)) or place
    if not (place / CONFIG_FILE).is_file():
        raise _no_prompt(place)
    config = read_json(place / CONFIG_FILE)
    length = checked_length(config, place)
    vectors = read_rows(place, WEIGHTS_FILE, length, config)
    told = place / PROVENANCE_FILE
    record = PROMPT_FORMAT.read(told) if told.is_file() else None
    origin, mixture = None, None
    if record is None:
        provenance = provenance_from_peft(config, place)
    else:
        provenance = Provenance.from_dict(record["prompt"], str(place / PROVENANCE_FILE))
        if record.get("has_origin"):
            origin = read_rows(place, ORIGIN_FILE, length, config)
        if record.get("has_mixture"):
            mixture = _read_mixture(place / MIXTURE_FILE)
    try:
        prompt = SoftPrompt(vectors, provenance, origin, mixture)
    except ShapeError as error:
        expected = "finite vectors and an origin of the same shape"
        raise _damaged(place / WEIGHTS_FILE, expected, str(error)) from error
    _compare_checksum(prompt, record, place)
    return prompt


def naming_file(folder: str | Path) -> Path:
    """The file of a prompt or vector folder that names the backbone."""
    place = Path(folder)
    names = (PROVENANCE_FILE, CONFIG_FILE, VECTOR_FILES[1])
    return next((place / name for name in names if (place / name).is_file()), place)


def _read_mixture(path: Path) -> Mixture:
    weights = read_tensors(path).get(MIXTURE_KEY)
    try:
        words = json.loads(read_metadata(path).get("words", "null"))
    except ValueError:
        words = None
    good = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if weights is None or not good:
        raise _damaged(path, f"a tensor {MIXTURE_KEY!r} and its words", "something else")
    try:
        return Mixture(tuple(words), weights)
    except ShapeError as error:
        expected = "weights (n, k) over k words, none negative, rows that sum to 1"
        raise _damaged(path, expected, str(error)) from error


def checksum(prompt: SoftPrompt) -> str:
    """Hash of a prompt, its origin and its mixture: safetensors does not protect values."""
    digest = hashlib.sha256(prompt.vectors.numpy().tobytes())
    if prompt.origin is not None:
        digest.update(prompt.origin.numpy().tobytes())
    if prompt.mixture is not None:
        digest.update(prompt.mixture.weights.numpy().tobytes())
        digest.update("|".join(prompt.mixture.words).encode())
    return digest.hexdigest()


def _compare_checksum(prompt: SoftPrompt, record: dict[str, Any] | None, place: Path) -> None:
    wanted = None if record is None else record.get("checksum")
    if wanted is not None and wanted != checksum(prompt):
        raise FileFormatError(
            str(place / WEIGHTS_FILE),
            expected="the values that were saved",
            got="others (a damaged file, or vectors that other software changed)",
            fix=f"Restore the folder, or delete {PROVENANCE_FILE} to use it as a bare PEFT adapter",
        )
