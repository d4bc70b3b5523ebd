"""Keys and values of texts that stand in front of all virtual tokens: they never change."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

Ids = tuple[int, ...]
_MEMORY_SHARE = 0.25  # of what the machine has
_MOST_MEMORY = 8 << 30  # bytes
_DISK_SHARE = 0.25  # of what is free


class KeptTexts:
    """Keys and values by token ids; in memory up to a bound, then in a file without a name.

    Beyond the bound of the file they are forgotten, the oldest first, and computed anew.

    Args:
        memory: most bytes in memory; None: a quarter of the machine's, 8 GiB at most.
        disk: most bytes in the file; None: a quarter of what is free.
    """

    def __init__(self, memory: int | None = None, disk: int | None = None) -> None:
        self._memory = _usual_memory() if memory is None else memory
        self._disk = _usual_disk() if disk is None else disk
        self._kept: OrderedDict[Ids, Tensor] = OrderedDict()
        self._bytes = 0
        self._file: _Spill | None = None

    def __len__(self) -> int:
        return len(self._kept) + (0 if self._file is None else len(self._file))

    def __contains__(self, ids: Ids) -> bool:
        return ids in self._kept or (self._file is not None and ids in self._file)

    def get(self, ids: Ids, device: torch.device) -> Tensor:
        """What `put` was given, on a device.

        Raises:
            KeyError: not kept.
        """
        if ids in self._kept:
            self._kept.move_to_end(ids)
            return self._kept[ids].to(device)
        if self._file is None:
            raise KeyError(ids)
        return self._file.read(ids).to(device)

    def put(self, ids: Ids, states: Tensor) -> None:
        """Keep the keys and values (L, 2, H, T, D) of a text."""
        states = states.detach().to("cpu").clone()
        self._kept[ids] = states
        self._bytes += states.nbytes
        while self._bytes > self._memory and self._kept:
            oldest, values = self._kept.popitem(last=False)
            self._bytes -= values.nbytes
            self._spill(oldest, values)

    def close(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self, ids: Ids, values: Tensor) -> None:
        if self._file is None:
            self._file = _Spill(self._disk)
        self._file.write(ids, values)


class _Spill:
    """Tensors in a temporary file without a name: it is gone with the process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - kept open
        self._places: dict[Ids, tuple[int, Any, torch.dtype]] = {}
        self._end = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, ids: Ids) -> bool:
        return ids in self._places

    def write(self, ids: Ids, values: Tensor) -> None:
        if ids in self._places or self._end + values.nbytes > self._limit:
            return
        self._file.seek(self._end)
        self._file.write(values.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._places[ids] = (self._end, values.shape, values.dtype)
        self._end += values.nbytes

    def read(self, ids: Ids) -> Tensor:
        place, shape, dtype = self._places[ids]
        count = int(np.prod(shape)) * dtype.itemsize
        self._file.seek(place)
        data = bytearray(self._file.read(count))
        return torch.frombuffer(data, dtype=dtype).reshape(shape)

    def close(self) -> None:
        self._file.close()


def _usual_memory() -> int:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(_MOST_MEMORY, int(_MEMORY_SHARE * whole))


def _usual_disk() -> int:
    import shutil

    return int(_DISK_SHARE * shutil.disk_usage(tempfile.gettempdir()).free)
