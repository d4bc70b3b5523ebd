"""Reading one tensor of a GGUF file, unpacked into its place; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptport.backbone.gguf.header import GgufHeader, TensorEntry
from promptport.backbone.gguf.needs import check_package
from promptport.errors import FileFormatError
from promptport.files import storage_error

_BLOCK_VALUES = 1 << 22  # unpacked at once: 16 MB in float32
_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def kept_dtype(header: GgufHeader) -> torch.dtype:
    """The precision in which a file's weights are kept once unpacked.

    bfloat16 for quantised weights, whose own error is larger than its rounding, and for those that
    are bfloat16 already; float32 where most of the file is float16 or float32.
    """
    return torch.float32 if next(iter(header.types)) in ("F16", "F32", "F64") else torch.bfloat16


def read_table(header: GgufHeader, entry: TensorEntry, dtype: torch.dtype) -> Tensor:
    """A matrix of the file (rows, width) in `dtype`, unpacked block by block.

    Raises:
        BackboneError: the package that unpacks is missing, or does not know this type.
        FileFormatError: the file is cut off.
    """
    table = torch.empty(*entry.shape, dtype=dtype)
    for start, block in table_blocks(header, entry):
        table[start : start + len(block)] = block
    return table


def table_blocks(header: GgufHeader, entry: TensorEntry) -> Iterator[tuple[int, Tensor]]:
    """A matrix of the file in blocks, unpacked: (first row, rows (k, width)).

    Raises:
        BackboneError: the package that unpacks is missing, or does not know this type.
        FileFormatError: the file is cut off.
    """
    rows, width = entry.shape
    unpack = _unpacker(header, entry)
    at_once = max(1, _BLOCK_VALUES // width)
    row_bytes = entry.size // rows
    try:
        with header.path.open("rb", buffering=0) as stream:
            stream.seek(header.data_start + entry.offset)
            for start in range(0, rows, at_once):
                count = min(at_once, rows - start)
                buffer = bytearray(count * row_bytes)
                if _fill(stream, memoryview(buffer)) != len(buffer):
                    raise FileFormatError(
                        str(header.path),
                        expected=f"{entry.size} bytes of {entry.name}",
                        got="an earlier end",
                        fix="Fetch the file again: the download was cut off, most likely",
                    )
                yield start, unpack(buffer).reshape(count, width)
    except OSError as error:
        if isinstance(error, FileFormatError):
            raise
        raise storage_error(header.path, error, "a readable GGUF file") from error


def _fill(stream: Any, view: memoryview) -> int:
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])
        if not count:
            break
        done += count
    return done


def _unpacker(header: GgufHeader, entry: TensorEntry) -> Any:
    """A function: the bytes of some rows -> their values, one after the other."""
    if entry.type_name in _PLAIN:
        plain = _PLAIN[entry.type_name]
        return lambda buffer: torch.frombuffer(buffer, dtype=plain)
    check_package(str(header.path))
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(entry.type_id)
    row_bytes = entry.size // entry.shape[0]

    def unpack(buffer: bytearray) -> Tensor:
        packed = np.frombuffer(buffer, dtype=np.uint8).reshape(-1, row_bytes)
        with np.errstate(all="ignore"):  # scales that are no numbers: the values tell
            return torch.from_numpy(dequantize(packed, kind))

    return unpack
