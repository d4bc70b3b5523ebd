"""Smaller copies of a GGUF file, so that transformers reads what it needs and no more.

transformers reads the whole vocabulary, word by word, whenever it opens a GGUF file, for the
configuration as for the weights. In these copies the parts that are not asked for are missing.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import BinaryIO

from promptport.backbone.gguf.header import GgufHeader
from promptport.files import GGUF_MAGIC

_COPY_BLOCK = 1 << 24
_UINT32 = 4


def write_words(header: GgufHeader, target: Path) -> None:
    """A copy with all the metadata and no tensors, for the tokenizer."""
    with header.path.open("rb") as source, target.open("wb") as out:
        out.write(source.read(len(GGUF_MAGIC) + 4))
        out.write(struct.pack("<QQ", 0, len(header.spans)))
        source.seek(len(GGUF_MAGIC) + 20)
        copy_bytes(source, out, header.table[0] - len(GGUF_MAGIC) - 20)
        out.write(bytes(header.alignment))


def write_shape(header: GgufHeader, target: Path) -> None:
    """A copy without vocabulary whose tensors are single numbers, for the configuration."""
    with target.open("wb") as out:
        _write_metadata(header, out)
        for tensor in header.tensors:
            name = tensor.name.encode()
            out.write(struct.pack("<Q", len(name)) + name)
            out.write(struct.pack("<IQIQ", 1, 1, 0, 0))  # one dimension of one float32
        pad(out, header.alignment)
        out.write(bytes(header.alignment))


def write_weights(header: GgufHeader, target: Path) -> None:
    """A copy without vocabulary, for the weights."""
    with header.path.open("rb") as source, target.open("wb") as out:
        _write_metadata(header, out)
        source.seek(header.table[0])
        copy_bytes(source, out, header.table[1] - header.table[0])
        pad(out, header.alignment)
        source.seek(header.data_start)
        shutil.copyfileobj(source, out, _COPY_BLOCK)


def _write_metadata(header: GgufHeader, out: BinaryIO) -> None:
    """All but the vocabulary; its size is stated, since nobody can count it any more."""
    kept = [key for key in header.spans if not key.startswith("tokenizer.")]
    size_key = f"{header.architecture}.vocab_size"
    stated = size_key not in header.metadata
    with header.path.open("rb") as source:
        out.write(source.read(len(GGUF_MAGIC) + 4))
        counts = struct.pack("<QQ", len(header.tensors), len(kept) + stated)
        out.write(counts)
        for key in kept:
            begin, end = header.spans[key]
            source.seek(begin)
            out.write(source.read(end - begin))
    if stated:
        name = size_key.encode()
        entry = struct.pack("<Q", len(name)) + name
        entry += struct.pack("<II", _UINT32, header.embedding.shape[0])
        out.write(entry)


def copy_bytes(source: BinaryIO, out: BinaryIO, count: int) -> None:
    """Copy so many bytes, block by block."""
    while count > 0:
        block = source.read(min(count, _COPY_BLOCK))
        if not block:
            return
        out.write(block)
        count -= len(block)


def pad(out: BinaryIO, alignment: int) -> None:
    """Zeros up to a multiple of the alignment."""
    out.write(bytes(-out.tell() % alignment))
