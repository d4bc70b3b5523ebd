"""The header of a GGUF file: what it says of the model, and where its tensors are.

`gguf.GGUFReader` makes an array of every word of the vocabulary, which takes half a minute for 262k
of them. Here long lists are stepped over, so that reading a header takes a fraction of a second.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any

from promptport.errors import BackboneError, FileFormatError
from promptport.files import GGUF_MAGIC, begins_as_gguf, describe_foreign, storage_error

EMBEDDING = "token_embd.weight"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_STRING, _ARRAY = 8, 9
# Scalars by their number in the file: struct format.
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_SHORT = 256  # numbers of a list that are kept; longer ones belong to the vocabulary

# Types of tensors by their number: name, values of a block, bytes of a block.
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4),
    27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
# `general.file_type`: the recipe by which the tensors were quantised.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the file.

    Attributes:
        name: as llama.cpp calls it.
        shape: rows first, as torch has it.
        type_id: number of its type.
        offset: of its bytes, from the begin of the data.
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int

    @property
    def type_name(self) -> str:
        """For instance `Q4_K`."""
        return TENSOR_TYPES[self.type_id][0]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        _, values, count = TENSOR_TYPES[self.type_id]
        return prod(self.shape) // values * count


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself.

    Attributes:
        path: the file.
        metadata: scalars, texts and short lists of numbers by key; of longer lists their length.
        spans: for each key, where its entry begins and ends in the file.
        tensors: in the order of the file.
        table: where the list of tensors begins and ends in the file.
        data_start: where the data begins.
    """

    path: Path
    metadata: dict[str, Any]
    spans: dict[str, tuple[int, int]]
    tensors: tuple[TensorEntry, ...]
    table: tuple[int, int]
    data_start: int

    @property
    def architecture(self) -> str:
        """For instance `llama`; empty if the file does not say."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def alignment(self) -> int:
        """Bytes that the begin of the data and of each tensor is a multiple of."""
        return int(self.metadata.get("general.alignment", _DEFAULT_ALIGNMENT))

    @cached_property
    def types(self) -> dict[str, int]:
        """Type -> number of tensors of it, the one with most bytes first."""
        count = Counter(tensor.type_name for tensor in self.tensors)
        size: Counter[str] = Counter()
        for tensor in self.tensors:
            size[tensor.type_name] += tensor.size
        return {name: count[name] for name, _ in size.most_common()}

    @property
    def quantisation(self) -> str:
        """The recipe, for instance `Q4_K_M`, else the type that most of the file is in."""
        named = FILE_TYPES.get(int(self.metadata.get("general.file_type", -1)))
        return named or next(iter(self.types), "none")

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @cached_property
    def embedding(self) -> TensorEntry:
        """The table of input embeddings.

        Raises:
            BackboneError: the file has none.
        """
        for tensor in self.tensors:
            if tensor.name == EMBEDDING and len(tensor.shape) == 2:
                return tensor
        raise BackboneError(
            str(self.path),
            expected=f"the GGUF file of a language model, with a tensor {EMBEDDING}",
            got=f"{len(self.tensors)} tensors without it",
            fix="Name the file of the model itself",
        )


def read_header(path: Path) -> GgufHeader:
    """Read and check the header of a GGUF file; no tensor is read.

    Raises:
        StorageError: it cannot be read.
        FileFormatError: no GGUF file, cut off, of another version, or with unknown types.
        BackboneError: a part of a split model, or no language model with its vocabulary.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise storage_error(path, error, "a readable GGUF file") from error
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, size: int, changed: int) -> GgufHeader:
    if not begins_as_gguf(path):
        raise FileFormatError(
            str(path),
            expected="a GGUF file",
            got=describe_foreign(path, f"it begins otherwise, {size} bytes"),
            fix="Fetch the file again from its source, or name another",
        )
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            header = _parse(path, data)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise _cut_off(path, f"{size} bytes, which end or break within the header") from error
    _check(header, size)
    return header


def _cut_off(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        str(path),
        expected="a whole GGUF file",
        got=got,
        fix="Fetch the file again: the download was cut off, most likely",
    )


class _Cursor:
    """Reads values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        length = self.number("<Q")
        end = self.at + length
        if end > len(self.data):
            raise IndexError("beyond the end")
        value = self.data[self.at : end].decode("utf-8", errors="replace")
        self.at = end
        return value

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._list(self.number("<I"), self.number("<Q"))
        return self.number(_form(kind))

    def _list(self, kind: int, count: int) -> Any:
        if kind == _STRING:
            self._skip_texts(count)
            return count
        form = _form(kind)
        begin, self.at = self.at, self.at + count * struct.calcsize(form)
        if self.at > len(self.data):
            raise IndexError("beyond the end")
        if count > _SHORT:
            return count
        return list(struct.unpack_from(f"<{count}{form[1]}", self.data, begin))

    def _skip_texts(self, count: int) -> None:
        data, at, size = self.data, self.at, len(self.data)
        length = struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + length(data, at)[0]
            if at > size:
                raise IndexError("beyond the end")
        self.at = at


def _form(kind: int) -> str:
    if kind not in _SCALARS:
        raise ValueError(f"a value of the unknown kind {kind}")
    return _SCALARS[kind]


def _parse(path: Path, data: mmap.mmap) -> GgufHeader:
    cursor = _Cursor(data)
    cursor.at = len(GGUF_MAGIC)
    version = cursor.number("<I")
    if version not in _VERSIONS:
        swapped = version & 0xFFFF == 0
        raise FileFormatError(
            str(path),
            expected="GGUF version 2 or 3, little-endian",
            got="a big-endian file" if swapped else f"version {version}",
            fix="Make the file again with a current llama.cpp",
        )
    tensors, entries = cursor.number("<Q"), cursor.number("<Q")
    metadata: dict[str, Any] = {}
    spans = {}
    for _ in range(entries):
        begin = cursor.at
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("<I"))
        spans[key] = (begin, cursor.at)
    begin = cursor.at
    listed = tuple(_entry(cursor, path) for _ in range(tensors))
    alignment = int(metadata.get("general.alignment", _DEFAULT_ALIGNMENT)) or _DEFAULT_ALIGNMENT
    start = -(-cursor.at // alignment) * alignment
    return GgufHeader(path, metadata, spans, listed, (begin, cursor.at), start)


def _entry(cursor: _Cursor, path: Path) -> TensorEntry:
    name = cursor.text()
    shape = tuple(cursor.number("<Q") for _ in range(cursor.number("<I")))
    kind, offset = cursor.number("<I"), cursor.number("<Q")
    if kind not in TENSOR_TYPES:
        known = ", ".join(sorted(name for name, *_ in TENSOR_TYPES.values()))
        raise FileFormatError(
            str(path),
            expected=f"tensors of the types {known}",
            got=f"type number {kind} for {name!r}",
            fix="Take a file of another quantisation, for instance Q4_K_M or Q8_0",
        )
    return TensorEntry(name, shape[::-1], kind, offset)


def _check(header: GgufHeader, size: int) -> None:
    """Refuse what is no whole language model."""
    path = header.path
    if (parts := int(header.metadata.get("split.count", 1))) > 1:
        raise BackboneError(
            str(path),
            expected="a model in one GGUF file",
            got=f"part {int(header.metadata.get('split.no', 0)) + 1} of {parts}",
            fix="Join them: llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf (of llama.cpp)",
        )
    end = max((header.data_start + t.offset + t.size for t in header.tensors), default=0)
    if end > size:
        raise _cut_off(path, f"{size} bytes of at least {end}")
    kind = str(header.metadata.get("general.type", "model"))
    if header.architecture == "clip" or kind in ("mmproj", "adapter", "imatrix"):
        what = "an image projector (mmproj)" if header.architecture == "clip" else f"a {kind}"
        raise BackboneError(
            str(path),
            expected="the GGUF file of a language model",
            got=what,
            fix="Name the file of the model itself, which lies beside it most likely",
        )
    if not header.architecture:
        raise FileFormatError(
            str(path),
            expected="a field general.architecture",
            got="none",
            fix="Take the file of a language model, made by a current llama.cpp",
        )
    if not header.metadata.get("tokenizer.ggml.tokens"):
        raise BackboneError(
            str(path),
            expected="a GGUF file with its tokenizer (tokenizer.ggml.tokens)",
            got="none in it",
            fix="Make the file again with llama.cpp's convert_hf_to_gguf.py, or take another",
        )
    _ = header.embedding
