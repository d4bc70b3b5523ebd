"""Records: the JSON objects of our files, written and checked in one way, and their checksums."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport._version import __version__
from promptport.errors import FileFormatError
from promptport.files import check_schema, read_json

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 60  # characters of a wrong value
_PACKED = re.compile(r"([0-9]{1,9}):([0-9a-f]+)")


@dataclass(frozen=True)
class Field:
    """One field of a record.

    Attributes:
        expected: what it holds, for errors: `an object`.
        fits: whether a value is that.
        optional: files of earlier versions may lack it.
    """

    expected: str
    fits: Callable[[Any], bool]
    optional: bool = False


OBJECT = Field("an object", lambda value: isinstance(value, dict))


@dataclass(frozen=True)
class RecordFormat:
    """One kind of record.

    Attributes:
        schema: that is written; it and older ones are read.
        restore: what to do where a file is damaged.
        fields: those that are checked, by name.
    """

    schema: int
    restore: str
    fields: Mapping[str, Field] = field(default_factory=dict)

    def record(self, **values: Any) -> dict[str, Any]:
        """A record to write: schema and version first."""
        return {"schema": self.schema, "written_by": f"promptport {__version__}", **values}

    def read(self, path: Path) -> dict[str, Any]:
        """The record in a JSON file.

        Raises:
            StorageError: it cannot be read.
            FileFormatError: a damaged file, or a newer schema.
        """
        return self.checked(read_json(path), path)

    def checked(self, record: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """A record whose schema and fields were checked.

        Args:
            record: as it was read.
            path: of its file, for errors.

        Raises:
            FileFormatError: a wrong field, or a newer schema.
        """
        check_schema(record, self.schema, path, self.restore)
        for name, wanted in self.fields.items():
            value = record.get(name)
            if not (wanted.fits(value) or (wanted.optional and name not in record)):
                expected = f"a field {name!r} with {wanted.expected}"
                raise self.damaged(path, expected, repr(value)[:_SHOWN])
        return dict(record)

    def damaged(self, path: Path, expected: str, got: str) -> FileFormatError:
        """The error of a damaged file."""
        return FileFormatError(str(path), expected=expected, got=got, fix=self.restore)


def checksum_of_tensors(tensors: Mapping[str, Tensor], head: bytes) -> str:
    """SHA-256 of bytes and of all tensors with their names and shapes.

    safetensors does not protect values.
    """
    digest = hashlib.sha256(head)
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def digest(*values: Any) -> str:
    """First 16 digits of the sha256 of JSON values."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and float("-inf") < value < float("inf")


def packed(right: Sequence[bool]) -> str:
    """Right or wrong per row as a bit each: their number, and hexadecimal digits."""
    bits = "".join(str(int(r)) for r in right)
    return f"{len(bits)}:{int(bits, 2):x}"


def unpacked(bits: str) -> list[int]:
    """Per row 1 for a right answer, else 0, of what `packed` made."""
    length, _, digits = bits.partition(":")
    return [int(b) for b in f"{int(digits, 16):0{int(length)}b}"]


def is_packed(value: Any) -> bool:
    """Whether a JSON value is what `packed` makes of one row or more."""
    if not isinstance(value, str) or not (match := _PACKED.fullmatch(value)):
        return False
    return int(match[1]) >= max(1, int(match[2], 16).bit_length())
