"""A GGUF file with rows and tokens appended to its vocabulary; everything else byte for byte.

The file is copied block by block with our own reading of its header, so memory does not grow with
the model. The `gguf` package quantises the new rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from promptport.backbone.gguf.header import EMBEDDING, GgufHeader, TensorEntry
from promptport.backbone.gguf.needs import check_package
from promptport.backbone.gguf.slim import copy_bytes, pad
from promptport.backbone.gguf.table import table_blocks
from promptport.errors import BackboneError
from promptport.files import storage_error, take_place
from promptport.scratch import scratch_file

HEAD = "output.weight"
_F16 = 1
_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_SCORES, _CHAT = "tokenizer.ggml.scores", "tokenizer.chat_template"
_CONTROL = 3  # token type: read where special tokens are parsed, never shown
_UINT32, _STRING, _ARRAY = 4, 8, 9
_NUMBERS = {4: "<I", 5: "<i", 6: "<f"}
# Tensors with a row for each token that nobody could fill for a new one.
_OTHER_TABLES = ("per_layer_token_embd.weight",)


@dataclass(frozen=True)
class Appended:
    """What `append_tokens` wrote.

    Attributes:
        first_id: id of the first new token; the others follow.
        table_type: type in which the table of input rows is now.
        kept_type: whether that is the type that it had.
        head: whether the file has a head of its own, which got rows of zeros.
    """

    first_id: int
    table_type: str
    kept_type: bool
    head: bool


def append_tokens(
    header: GgufHeader,
    target: Path,
    rows: Tensor,
    names: Sequence[str],
    chat_template: str | None = None,
) -> Appended:
    """Write a copy of a GGUF file that has more tokens.

    Args:
        header: of the file.
        target: the new file, which appears whole or not at all.
        rows: (n, d) float32 embedding weights of the new tokens, before any scale of the model.
        names: n tokens as they are written.
        chat_template: in place of that of the file, if it has one.

    Returns:
        Where the tokens are. The table is kept in its type where the `gguf` package can quantise
        rows to it, else it becomes F16.

    Raises:
        BackboneError: a package is missing, or a vocabulary that cannot grow.
        StorageError: the place cannot be written.
    """
    check_package(str(header.path))
    _check_vocabulary(header, names)
    plan = [_planned(header, tensor, rows) for tensor in _by_place(header)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_file(target) as (out, temporary), header.path.open("rb") as source:
            _write_metadata(header, source, out, names, chat_template)
            _write_tensors(header, source, out, plan)
            take_place(out, temporary, target, header.path.stat().st_mode & 0o777)
    except OSError as error:
        if isinstance(error, BackboneError):
            raise
        raise storage_error(target, error, "a file that can be written") from error
    table = next(part for part in plan if part.entry.name == EMBEDDING)
    return Appended(
        header.embedding.shape[0],
        replace(table.entry, type_id=table.type_id).type_name,
        table.type_id == table.entry.type_id,
        any(part.entry.name == HEAD for part in plan),
    )


@dataclass(frozen=True)
class _Part:
    """One tensor of the copy: its entry in the file, its type and rows there, what is appended."""

    entry: TensorEntry
    type_id: int
    more: bytes = b""
    rows: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        first, *rest = self.entry.shape
        return (first + self.rows, *rest)

    @property
    def size(self) -> int:
        return replace(self.entry, type_id=self.type_id).size + len(self.more)


def _check_vocabulary(header: GgufHeader, names: Sequence[str]) -> None:
    count, rows = header.metadata[_TOKENS], header.embedding.shape[0]
    count = len(count) if isinstance(count, list) else count
    if count != rows:
        raise _cannot_grow(header, "as many tokens as rows", f"{count} tokens and {rows} rows")
    others = [tensor.name for tensor in header.tensors if tensor.name in _OTHER_TABLES]
    if others:
        raise _cannot_grow(header, "one table of input rows", f"another, {others[0]}")
    taken = set(names) & set(_texts(header))
    if taken:
        raise _cannot_grow(header, "new names of tokens", f"{min(taken)!r}, which is there")


def _cannot_grow(header: GgufHeader, expected: str, got: str) -> BackboneError:
    return BackboneError(
        str(header.path),
        expected=f"a vocabulary that can grow, with {expected}",
        got=got,
        fix="Export the vectors alone: --to llama.cpp-embd",
    )


def _texts(header: GgufHeader) -> Iterator[str]:
    """The tokens of the file, one after the other."""
    begin, end = header.spans[_TOKENS]
    with header.path.open("rb") as source:
        source.seek(begin)
        data = source.read(end - begin)
    _, at, count = _list_head(data)
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        yield data[at + 8 : at + 8 + length].decode("utf-8", errors="replace")
        at += 8 + length


def _by_place(header: GgufHeader) -> list[TensorEntry]:
    return sorted(header.tensors, key=lambda tensor: tensor.offset)


def _planned(header: GgufHeader, tensor: TensorEntry, rows: Tensor) -> _Part:
    if tensor.name not in (EMBEDDING, HEAD):
        return _Part(tensor, tensor.type_id)
    # New tokens are never said: an own head has nothing to say of them.
    values = (rows if tensor.name == EMBEDDING else torch.zeros_like(rows)).float().numpy()
    kind, packed = _packed(tensor.type_id, values)
    return _Part(tensor, kind, packed, len(rows))


def _packed(type_id: int, values: np.ndarray[Any, Any]) -> tuple[int, bytes]:
    """Rows in a type, or in F16 where they cannot be put into it."""
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    try:
        packed = quantize(np.ascontiguousarray(values), GGMLQuantizationType(type_id))
        return type_id, packed.tobytes()
    except NotImplementedError:
        return _F16, values.astype(np.float16).tobytes()


def _write_metadata(
    header: GgufHeader,
    source: BinaryIO,
    out: BinaryIO,
    names: Sequence[str],
    chat_template: str | None,
) -> None:
    source.seek(0)
    out.write(source.read(8))
    out.write(struct.pack("<QQ", len(header.tensors), len(header.spans)))
    for key, (begin, end) in header.spans.items():
        source.seek(begin)
        entry = source.read(end - begin)
        if key == _TOKENS:
            entry = _longer(entry, b"".join(map(_text, names)), len(names))
        elif key in (_TYPES, _SCORES):
            form = _NUMBERS[_list_head(entry)[0]]
            value = _CONTROL if key == _TYPES else 0
            entry = _longer(entry, struct.pack(form, value) * len(names), len(names))
        elif key == f"{header.architecture}.vocab_size":
            size = header.embedding.shape[0] + len(names)
            entry = _text(key) + struct.pack("<II", _UINT32, size)
        elif key == _CHAT and chat_template is not None:
            entry = _text(key) + struct.pack("<I", _STRING) + _text(chat_template)
        out.write(entry)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _list_head(entry: bytes) -> tuple[int, int, int]:
    """Kind of the values of a list, where they begin in its entry, and how many there are."""
    (length,) = struct.unpack_from("<Q", entry, 0)
    outer, kind, count = struct.unpack_from("<IIQ", entry, 8 + length)
    assert outer == _ARRAY
    return kind, 8 + length + 16, count


def _longer(entry: bytes, more: bytes, count: int) -> bytes:
    _, start, old = _list_head(entry)
    return entry[: start - 8] + struct.pack("<Q", old + count) + entry[start:] + more


def _write_tensors(
    header: GgufHeader, source: BinaryIO, out: BinaryIO, plan: Sequence[_Part]
) -> None:
    offsets, at = {}, 0
    for part in plan:
        offsets[part.entry.name] = at
        at += -(-part.size // header.alignment) * header.alignment
    by_name = {part.entry.name: part for part in plan}
    for tensor in header.tensors:  # in the order of the file
        part = by_name[tensor.name]
        out.write(_text(tensor.name))
        out.write(struct.pack("<I", len(part.shape)))
        out.write(struct.pack(f"<{len(part.shape)}Q", *part.shape[::-1]))
        out.write(struct.pack("<IQ", part.type_id, offsets[tensor.name]))
    pad(out, header.alignment)
    for part in plan:
        if part.type_id == part.entry.type_id:
            source.seek(header.data_start + part.entry.offset)
            copy_bytes(source, out, part.entry.size)
        else:
            for _, block in table_blocks(header, part.entry):
                out.write(block.to(torch.float16).numpy().tobytes())
        out.write(part.more)
        pad(out, header.alignment)
