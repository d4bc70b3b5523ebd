"""Running out of memory, told in one line that says what to lower."""

from __future__ import annotations

import re
import sys

from promptport.errors import OutOfMemoryError

# How torch says it on a processor: as an error of its own it exists for accelerators alone.
_SAID = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
_WANTED = re.compile(r"[Tt]ried to allocate ([\d.]+ ?[KMGT]?i?B|\d+ bytes)")
_DEVICE = re.compile(r"\b(?:GPU (\d+)|(cuda:\d+|mps|xpu:\d+))")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory.

    Args:
        error: of Python, NumPy or torch.
    """
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and any(s in str(error) for s in _SAID)


def memory_error(error: BaseException) -> OutOfMemoryError:
    """The line for an error that `is_out_of_memory` knows.

    Args:
        error: of Python, NumPy or torch.
    """
    if isinstance(error, OutOfMemoryError):
        return error
    text = str(error)
    wanted, device = _WANTED.search(text), _DEVICE.search(text)
    asked = "what was asked for" if wanted is None else _readable(wanted[1])
    where = "" if device is None else f" on {device[2] or f'cuda:{device[1]}'}"
    return OutOfMemoryError(
        "memory",
        expected=f"room for {asked}{where}",
        got="too little",
        fix="Lower --batch-size, name fewer prompts at once, cut long texts with --truncate, or "
        "load the model with --dtype bfloat16 or --device-map auto",
    )


def _readable(amount: str) -> str:
    """Bytes in the units that accelerators are told in."""
    if not amount.endswith("bytes"):
        return amount
    size = float(amount.split()[0])
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
