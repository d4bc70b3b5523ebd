"""Portable files: one safetensors file per portable prompt, all else as JSON in its header.

relative (n, k) float32, lengths (n,) float64
of mixture prompts: mixture_counts (n,) int64; mixture_columns, mixture_weights, row by row
header field `promptport`: schema, written_by, words, mixture_words, nearest, parallel, prompt
(provenance); header field `checksum`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.catalog.layout import CHECKSUM_FIELD, PORTABLE_FORMAT
from promptport.catalog.layout import PORTABLE_FIELD as HEADER_FIELD
from promptport.errors import FileFormatError, ShapeError, StorageError
from promptport.files import is_gguf_file, read_metadata, read_tensors, tensor_bytes, write_atomic
from promptport.mixture import Mixture
from promptport.portable import Nearest, PortablePrompt
from promptport.provenance import Provenance
from promptport.records import checksum_of_tensors, is_number
from promptport.storage.bare_tensor import how_to_import, is_bare_tensor

_damaged = PORTABLE_FORMAT.damaged
# name -> (dtype, dimensions)
_PLAIN = {"relative": (torch.float32, 2), "lengths": (torch.float64, 1)}
_MIXED = {
    "mixture_counts": (torch.int64, 1),
    "mixture_columns": (torch.int32, 1),
    "mixture_weights": (torch.float32, 1),
}


def save_portable(portable: PortablePrompt, path: str | Path) -> Path:
    """Write a portable file, whole or not at all.

    Args:
        portable: the prompt.
        path: of the file; an older one is replaced.

    Returns:
        The path.

    Raises:
        StorageError: the place cannot be written.
    """
    tensors = {"relative": portable.relative, "lengths": portable.norms}
    record = PORTABLE_FORMAT.record(
        words=portable.words,
        mixture_words=None if portable.mixture is None else portable.mixture.words,
        nearest=portable.nearest,
        parallel=portable.parallel,
        prompt=portable.provenance.to_dict(),
    )
    if portable.mixture is not None:
        tensors |= _sparse(portable.mixture.weights)
    text = json.dumps(record, ensure_ascii=False)
    header = {HEADER_FIELD: text, CHECKSUM_FIELD: checksum_of_tensors(tensors, text.encode())}
    target = Path(path)
    write_atomic(target, tensor_bytes(tensors, header))
    return target


def load_portable(path: str | Path) -> PortablePrompt:
    """Read a portable file.

    Raises:
        StorageError: no such file, or it cannot be read.
        FileFormatError: a damaged or foreign file, or a newer schema.
    """
    place = Path(path)
    if place.is_dir():
        raise StorageError(
            str(place),
            expected="a portable file",
            got="a folder",
            fix="Give the file that promptport export wrote, or transfer the prompt folder",
        )
    if is_bare_tensor(place) or is_gguf_file(place):
        got, fix = how_to_import(place)
        raise FileFormatError(
            str(place), expected="a file that promptport export wrote", got=got, fix=fix
        )
    tensors = read_tensors(place)
    header = read_metadata(place)
    record = _read_record(place, header.get(HEADER_FIELD))
    wanted = _PLAIN if record.get("mixture_words") is None else {**_PLAIN, **_MIXED}
    for name, (dtype, dimensions) in wanted.items():
        value = tensors.get(name)
        if value is None or value.dtype != dtype or value.ndim != dimensions:
            got = "none" if value is None else f"{value.dtype} {tuple(value.shape)}"
            raise _damaged(place, f"a tensor {name!r}, {dtype}, {dimensions}-dimensional", got)
    tensors = {name: tensors[name] for name in wanted}
    if header.get(CHECKSUM_FIELD) != checksum_of_tensors(tensors, header[HEADER_FIELD].encode()):
        raise _damaged(place, "the values that were saved", "others")
    try:
        return PortablePrompt(
            _words(place, "words", record),
            tensors["relative"],
            tensors["lengths"],
            Provenance.from_dict(record["prompt"], str(place)),
            _mixture(place, tensors, record),
            _nearest(place, record.get("nearest")),
            _number(place, record.get("parallel")),
        )
    except ShapeError as error:
        raise _damaged(place, "finite values of fitting shapes", str(error)) from error


def _read_record(place: Path, text: str | None) -> dict[str, Any]:
    try:
        record = json.loads(text or "null")
    except ValueError:
        record = None
    if not isinstance(record, dict):
        got = "none (another kind of file)" if text is None else "something else"
        raise _damaged(place, f"a header field {HEADER_FIELD!r} with a JSON object", got)
    return PORTABLE_FORMAT.checked(record, place)


def _sparse(weights: Tensor) -> dict[str, Tensor]:
    """Entries of (n, k) that are not zero, row by row."""
    at = weights.nonzero()  # (entries, 2), in order
    return {
        "mixture_counts": (weights != 0).sum(1),
        "mixture_columns": at[:, 1].to(torch.int32),
        "mixture_weights": weights[at[:, 0], at[:, 1]],
    }


def _mixture(
    place: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> Mixture | None:
    if record.get("mixture_words") is None:
        return None
    words = _words(place, "mixture_words", record)
    counts, columns, values = (tensors[name] for name in _MIXED)
    inside = bool(((columns >= 0) & (columns < len(words))).all() and (counts >= 0).all())
    if not inside or not int(counts.sum()) == len(columns) == len(values):
        raise _damaged(place, "columns of the mixture's words, counted by row", "others")
    weights = torch.zeros(len(counts), len(words))
    weights[torch.arange(len(counts)).repeat_interleave(counts), columns.long()] = values
    return Mixture(words, weights)


def _words(place: Path, name: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    words = record.get(name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _damaged(place, f"a field {name!r} with a list of words", type(words).__name__)
    return tuple(words)


def _nearest(place: Path, rows: Any) -> Nearest:
    try:
        return tuple(tuple((str(token), float(cosine)) for token, cosine in row) for row in rows)
    except (TypeError, ValueError) as error:
        expected = "a field 'nearest' with lists of [token, cosine]"
        raise _damaged(place, expected, type(rows).__name__) from error


def _number(place: Path, value: Any) -> float | None:
    if value is None:
        return None
    if not is_number(value):
        raise _damaged(place, "a field 'parallel' with a number", repr(value))
    return float(value)
