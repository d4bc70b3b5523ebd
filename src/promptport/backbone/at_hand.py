"""Whether a backbone's weights are at hand, or its embedding table alone: told without loading."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from promptport.backbone.gguf import kept_dtype, read_header
from promptport.backbone.kinds import detect_kind, model_class
from promptport.backbone.loading import Checkpoint, find_checkpoint, load_config
from promptport.errors import BackboneError

_WHOLE = 0.5  # share of a model's tensors that a checkpoint has at least (some are tied or merged)
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class WeightsAtHand:
    """What of a model can be read on this machine.

    Attributes:
        lacks: why the model cannot be loaded, None if it can (or if the Hub has it).
        local: whether nothing needs to be fetched.
        size: bytes of its weights, unpacked; 0 for a model of the Hub that is not here.
    """

    lacks: str | None
    local: bool
    size: int


def weights_at_hand(name: str, revision: str | None = None) -> WeightsAtHand:
    """Look at the files of a checkpoint: are the layers' weights there?

    Args:
        name: embedded name, local folder, GGUF file or Hub id.
        revision: Hub revision.

    Raises:
        BackboneError: no such checkpoint.
    """
    checkpoint = find_checkpoint(name, revision)
    if not checkpoint.local:
        return WeightsAtHand(None, local=False, size=0)
    if checkpoint.gguf is not None:  # whole, or the header would not have been read
        header = read_header(checkpoint.gguf)
        return WeightsAtHand(None, local=True, size=header.parameters * kept_dtype(header).itemsize)
    folder = checkpoint.folder
    files = _weight_files(folder)
    if not files:
        return WeightsAtHand(f"{name} is a folder without weights", local=True, size=0)
    size = sum(file.stat().st_size for file in files if file.is_file())
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        lacks = f"{name} lacks {missing[0]} ({len(missing)} of {len(files)} weight files)"
        return WeightsAtHand(lacks, local=True, size=size)
    if any(file.suffix != ".safetensors" for file in files):
        return WeightsAtHand(None, local=True, size=size)  # a pickle is not opened to be counted
    there, whole = sum(map(_tensors_in, files)), _tensors_of(checkpoint)
    if there < _WHOLE * whole:
        lacks = f"{name} has the weights of {there} of {whole} tensors only"
        return WeightsAtHand(lacks, local=True, size=size)
    return WeightsAtHand(None, local=True, size=size)


def _weight_files(folder: Path) -> list[Path]:
    """The single weight file, else the shards of an index, which may be missing."""
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name]
    for name in _INDEXES:
        if (folder / name).is_file():
            return sorted({folder / file for file in _sharded(folder / name)})
    return []


def _sharded(index: Path) -> Iterator[str]:
    try:
        yield from json.loads(index.read_text())["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            str(index),
            expected="an index with a weight_map",
            got="something else",
            fix="Restore the file from its source",
        ) from error


def _tensors_in(file: Path) -> int:
    """Tensors of a safetensors file by its header; 0 if that cannot be read."""
    with file.open("rb") as stream:
        head = stream.read(8)
        try:
            header = json.loads(stream.read(struct.unpack("<Q", head)[0]))
        except (struct.error, ValueError, MemoryError, OverflowError):
            return 0
    return len(header.keys() - {"__metadata__"}) if isinstance(header, dict) else 0


def _tensors_of(checkpoint: Checkpoint) -> int:
    """Weights of the architecture, which is built without memory for them."""
    config = load_config(checkpoint)
    with torch.device("meta"):
        model = model_class(detect_kind(config, checkpoint.name)).from_config(config)
    return len({id(weight) for weight in model.parameters()})
