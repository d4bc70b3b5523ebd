"""Prompts that came as nothing but their rows: a NumPy array, a tensor that torch saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptport.errors import FileFormatError, MismatchError, PromptPortError
from promptport.files import (
    NUMPY_MAGIC,
    describe_foreign,
    is_gguf_file,
    looks_pickled,
    read_metadata,
    read_tensors,
    storage_error,
)
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.shell import quoted
from promptport.space import EmbeddingSpace
from promptport.storage.pickles import BROKEN_PICKLE, load_tensors_alone

_OURS = "promptport"  # header field of portable files
_HEAD = 9  # bytes


def is_bare_tensor(path: str | Path) -> bool:
    """Whether a file holds tensors and nothing that says what they are: no portable file."""
    place = Path(path)
    if not place.is_file():
        return False
    head = _first_bytes(place)
    if head[:6] == NUMPY_MAGIC or looks_pickled(head):
        return True
    fields = _header(place)
    return fields is not None and _OURS not in fields


def how_to_import(place: Path) -> tuple[str, str]:
    """What a file is that stands where a prompt folder was expected, and what to do with it."""
    if is_gguf_file(place):
        return "a GGUF file, which is a model", "Give it as --backbone, and a prompt folder here"
    command = f"Make a prompt folder of it: promptport import {quoted(place)} --to MODEL --out P"
    if is_bare_tensor(place):
        return _name_of(place), f"{command}, where MODEL is the one that it was tuned on"
    if _header(place) is not None:
        return "a portable file", command
    return "a file", "Name the folder that promptport tune or PEFT wrote"


def prompt_of_tensor(path: str | Path, space: EmbeddingSpace) -> SoftPrompt:
    """A prompt whose rows are those of a bare file, taken as they are.

    Args:
        path: `.npy`, what `torch.save` wrote of a tensor, or safetensors, with one matrix (n, d).
        space: of the model whose input rows they are, d wide.

    Raises:
        StorageError: the file cannot be read.
        FileFormatError: not one matrix of numbers, or a pickle of more than tensors.
        MismatchError: of another width.
    """
    place = Path(path)
    rows = _only_matrix(_values(place), place)
    if rows.shape[1] != space.width:
        raise MismatchError(
            str(place),
            expected=f"rows {space.width} wide, as those of {space.backbone}",
            got=f"{tuple(rows.shape)}",
            fix="Name the model that it was tuned on",
        )
    made = Provenance(
        space.backbone,
        space.kind,
        space.revision,
        space.fingerprint,
        history=({"step": "import", "source": place.name},),
        file=space.file_record,
    )
    return SoftPrompt(rows, made)


def _first_bytes(place: Path) -> bytes:
    with place.open("rb") as stream:
        return stream.read(_HEAD)


def _header(place: Path) -> dict[str, str] | None:
    """The text fields of a safetensors file; None if it is none."""
    from safetensors import SafetensorError

    try:
        return read_metadata(place)
    except (SafetensorError, OSError, ValueError):
        return None


def _name_of(place: Path) -> str:
    known = _first_bytes(place)[:6] == NUMPY_MAGIC or looks_pickled(_first_bytes(place))
    return describe_foreign(place, "") if known else "a safetensors file of tensors alone"


def _values(place: Path) -> Any:
    import tokenize

    try:
        head = _first_bytes(place)
    except OSError as error:
        raise storage_error(place, error, "a file with one tensor") from error
    if head[:6] == NUMPY_MAGIC:
        broken = (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError)
        try:
            return torch.from_numpy(np.load(place, allow_pickle=False))
        except (*broken, OverflowError, MemoryError) as error:
            raise _unreadable(place, "a whole NumPy array of numbers", error) from error
    if looks_pickled(head):
        return _unpickled(place)
    return read_tensors(place)


def _unpickled(place: Path) -> Any:
    try:
        return load_tensors_alone(place)
    except BROKEN_PICKLE as error:
        if "Unsupported global" in str(error):
            raise FileFormatError(
                str(place),
                expected="a pickle of tensors alone",
                got="one of modules or other objects, which would run code when it is opened",
                fix="If you trust it, open it where it was made and save its rows alone: "
                "numpy.save('prompt.npy', rows)",
            ) from error
        raise _unreadable(place, "tensors that torch.save wrote", error) from error


def _unreadable(place: Path, expected: str, error: Exception) -> PromptPortError:
    lines = str(error).splitlines()
    return FileFormatError(
        str(place),
        expected=expected,
        got=lines[0] if lines else type(error).__name__,
        fix="Save its rows again, for instance with numpy.save",
    )


def _only_matrix(values: Any, place: Path) -> Tensor:
    found = list(values.values()) if isinstance(values, dict) else values
    found = list(found) if isinstance(found, list | tuple) else [found]
    matrices = [v for v in found if isinstance(v, Tensor) and v.ndim == 2 and 0 not in v.shape]
    if len(matrices) != 1 or not matrices[0].is_floating_point():
        shapes = [str(tuple(v.shape)) if isinstance(v, Tensor) else type(v).__name__ for v in found]
        raise FileFormatError(
            str(place),
            expected="one matrix (n, d) of floating-point numbers, a row per virtual token",
            got=", ".join(shapes[:5]) or "nothing",
            fix="Save the rows of one prompt alone, for instance with numpy.save",
        )
    return matrices[0].detach()
