"""Headers of safetensors files: names, types and shapes of tensors, without their values.

A file is 8 bytes (the length of the header, little-endian), the header (JSON) and the values.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from promptport.catalog.peft import TensorShape
from promptport.errors import FileFormatError
from promptport.files import describe_foreign, storage_error

# The safetensors library refuses larger headers as well. Nothing is read before this is checked.
_LARGEST = 100_000_000
_LENGTH = struct.Struct("<Q")
# Type in the header -> as torch calls it, and bytes of one value.
_TYPES = {
    "F64": ("torch.float64", 8),
    "F32": ("torch.float32", 4),
    "F16": ("torch.float16", 2),
    "BF16": ("torch.bfloat16", 2),
    "F8_E4M3": ("torch.float8_e4m3fn", 1),
    "F8_E5M2": ("torch.float8_e5m2", 1),
    "I64": ("torch.int64", 8),
    "I32": ("torch.int32", 4),
    "I16": ("torch.int16", 2),
    "I8": ("torch.int8", 1),
    "U64": ("torch.uint64", 8),
    "U32": ("torch.uint32", 4),
    "U16": ("torch.uint16", 2),
    "U8": ("torch.uint8", 1),
    "BOOL": ("torch.bool", 1),
}


@dataclass(frozen=True)
class Header:
    """What a safetensors file says before its values.

    Attributes:
        tensors: name -> type and shape.
        places: name -> first byte and the one behind the last, in the file.
        metadata: its text fields.
    """

    tensors: Mapping[str, TensorShape]
    places: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the size of the file.

    Raises:
        StorageError: the file cannot be read.
        FileFormatError: truncated, damaged, or no safetensors at all.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(_LENGTH.size)
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            if not 2 <= length <= min(_LARGEST, size - _LENGTH.size):
                raise _damaged(path, "a header that is longer than the file, or none")
            text = stream.read(length)
    except OSError as error:
        raise storage_error(path, error, "a readable safetensors file") from error
    try:
        values = json.loads(text)
        return _checked(values, _LENGTH.size + length, size)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _checked(values: Any, begin: int, size: int) -> Header:
    """The parts of a header.

    Args:
        values: the header as JSON.
        begin: where the values begin in the file.
        size: of the file, in bytes.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not whole.
    """
    metadata = values.pop("__metadata__", None) or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("a text field that is no text")
    tensors: dict[str, TensorShape] = {}
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for name, told in sorted(values.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, width = _TYPES[told["dtype"]]
        shape = tuple(told["shape"])
        first, last = told["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in (*shape, first, last))
        if not whole or first != end or last - first != prod(shape) * width:
            raise ValueError(f"the tensor {name!r} has another size than its shape")
        tensors[name] = TensorShape(dtype, shape)
        places[name] = (begin + first, begin + last)
        end = last
    if begin + end != size:
        raise ValueError(f"{size - begin} bytes of values, the header tells of {end}")
    return Header(tensors, places, metadata)


def _damaged(path: Path, reason: str) -> FileFormatError:
    return FileFormatError(
        str(path),
        expected="a whole safetensors file",
        got=describe_foreign(path, reason),
        fix="Restore the file from its source; pickles are never opened",
    )
