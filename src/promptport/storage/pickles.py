"""Files that `torch.save` wrote, read as tensors alone: nothing in them runs."""

from __future__ import annotations

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

# What torch raises on a damaged or foreign file, an empty one among them.
BROKEN_PICKLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError),
    *(LookupError, AttributeError, struct.error),
)


def load_tensors_alone(place: Path) -> Any:
    """What a file holds; one of modules or other objects is refused by torch.

    Raises:
        OSError: the file cannot be read.
        Exception: one of `BROKEN_PICKLE`.
    """
    with warnings.catch_warnings():  # of pickles that torch did not write
        warnings.simplefilter("ignore")
        # By its bytes: of a path, torch would go by the ending.
        with place.open("rb") as stream:
            return torch.load(stream, weights_only=True, map_location="cpu")
