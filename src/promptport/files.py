"""Reading and writing files safely: atomic writes, checked safetensors, JSON with clear errors."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from promptport._version import __version__
from promptport.errors import FileFormatError, StorageError
from promptport.replacing import replace_folder
from promptport.scratch import scratch_file, scratch_folder

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic_folder(target: Path, stale: Collection[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that replaces it when the block ends well.

    Only the files written in the block are replaced; other files in an existing `target` stay. A
    kill leaves the old files or the new ones (`replacing`), and what else it leaves is removed by
    the next run (`scratch`).

    Args:
        target: the folder, made if missing.
        stale: names of files that are removed unless they are written: they would belong to what
            was there before.

    Raises:
        StorageError: the place is full, read-only or not a folder.
    """
    place = target.resolve() if target.is_symlink() else target
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(20, "a file is in the way", str(target))
        with scratch_folder(place.parent, place.name) as staging:
            yield staging
            for file in staging.iterdir():
                _flush(file)
            os.chmod(staging, 0o777 & ~_umask())
            replace_folder(staging, place, stale)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise storage_error(target, error, "a folder that can be written") from error


def _flush(file: Path) -> None:
    """Have it on the disk before it takes the place of another."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_atomic(target: Path, data: bytes) -> None:
    """Write a whole file or nothing.

    Raises:
        StorageError: the place is full or read-only.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_file(target) as (stream, temporary):
            stream.write(data)
            take_place(stream, temporary, target)
    except OSError as error:
        raise storage_error(target, error, "a file that can be written") from error


def take_place(stream: BinaryIO, temporary: Path, target: Path, mode: int | None = None) -> None:
    """Let a temporary file take the place of another one, once it is on the disk.

    Args:
        stream: of the temporary file, open for writing.
        temporary: its path.
        target: the place.
        mode: rights of the file; None for those of new files.

    Raises:
        OSError: it cannot be written.
    """
    stream.flush()
    os.fsync(stream.fileno())
    os.chmod(temporary, 0o666 & ~_umask() if mode is None else mode)
    os.replace(temporary, target)


def storage_error(place: Path, error: OSError, expected: str) -> StorageError:
    """One line for any failure of the file system."""
    return StorageError(
        str(place),
        expected=expected,
        got=error.strerror or str(error),
        fix="Check the path, its permissions and the free space, then run the command again",
    )


def check_schema(record: Mapping[str, Any], newest: int, path: Path, fix: str) -> None:
    """Refuse a record without a schema, or of one that only a newer promptport knows.

    Args:
        record: with the field `schema`.
        newest: schema that is known, 1 or more.
        path: its file, for the error.
        fix: what to do where the field is damaged.

    Raises:
        FileFormatError: it is.
    """
    schema = record.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise FileFormatError(
            str(path), expected="a field 'schema' with a whole number", got=repr(schema), fix=fix
        )
    if schema > newest:
        raise FileFormatError(
            str(path),
            expected=f"schema {newest} or older",
            got=str(schema),
            fix=f"Update promptport (this is {__version__})",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StorageError: the file cannot be read.
        FileFormatError: it is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise storage_error(path, error, "a readable JSON file") from error
    except (ValueError, RecursionError) as error:  # thousands of brackets within each other
        raise FileFormatError(
            str(path),
            expected="a JSON object",
            got=f"text that does not parse ({error})",
            fix="Restore the file from its source",
        ) from error
    if not isinstance(value, dict):
        raise FileFormatError(
            str(path),
            expected="a JSON object",
            got=type(value).__name__,
            fix="Restore the file from its source",
        )
    return value


def what_is_at(place: Path, folder: str) -> str:
    """What stands where a folder was expected, for errors; `folder` is said of a folder."""
    if place.is_dir():
        return folder
    return "a file" if place.is_file() else "no such folder"


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """A JSON object as it is written to disk: indented, with a final newline."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a pair of surrogates is no UTF-8: JSON writes it as \\udcff, and so does this.
    return text.encode(errors="backslashreplace")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
        StorageError: the file cannot be read.
        FileFormatError: truncated, damaged, or no safetensors at all (a pickle, for instance).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise StorageError(
            str(path),
            expected="a safetensors file",
            got="nothing at this path",
            fix="Check the path",
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise FileFormatError(
            str(path),
            expected="a whole safetensors file",
            got=describe_foreign(path, str(error)),
            fix="Restore the file from its source; pickles are never opened",
        ) from error
    except OSError as error:
        raise storage_error(path, error, "a readable safetensors file") from error


GGUF_MAGIC = b"GGUF"
NUMPY_MAGIC = b"\x93NUMPY"


def is_gguf_file(path: Path) -> bool:
    """Whether a file is called GGUF or begins as such files do."""
    if path.suffix.lower() == ".gguf":
        return path.is_file()
    return begins_as_gguf(path)


def begins_as_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def looks_pickled(head: bytes) -> bool:
    """Whether a file is a pickle, or a zip archive of one, by its first nine bytes or more.

    A safetensors file begins with the length of its header, which may begin like a pickle.
    """
    of_header = head[4:8] == bytes(4) and head[8:9] == b"{"
    return not of_header and (head[:2] == b"PK" or head[:1] == b"\x80")


def describe_foreign(path: Path, reason: str) -> str:
    """Say what a file that is not safetensors looks like from its first bytes."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if looks_pickled(head):
        return "a zip archive, most likely a torch pickle" if head[:1] == b"P" else "a pickle"
    if head[:6] == NUMPY_MAGIC:
        return "a NumPy array"
    if head[:4] == GGUF_MAGIC:
        return "a GGUF file (a model of llama.cpp)"
    if not head:
        return "an empty file"
    # The length of a header, which a safetensors file begins with, ends in zeros.
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return f"a text file ({path.suffix or 'without an ending'})"
    return f"a damaged or truncated file ({reason})"


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Tensors in safetensors form, contiguous copies, ready for an atomic write.

    The same tensors and texts give the same bytes: the library writes texts in any order.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return _in_order(bytes(save(plain, metadata={"format": "pt", **(metadata or {})})))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with the texts of its header in the order of the alphabet."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    texts = dict(sorted(header.pop("__metadata__").items()))
    plain = json.dumps({"__metadata__": texts, **header}, ensure_ascii=False, separators=(",", ":"))
    head = plain.encode("utf-8", "surrogatepass")
    head += b" " * (-len(head) % 8)  # tensors begin at a multiple of 8
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def read_metadata(path: Path) -> dict[str, str]:
    """The text fields in the header of a safetensors file that `read_tensors` accepts."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stream:
        return dict(stream.metadata() or {})
