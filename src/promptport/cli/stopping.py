"""A command that is told to end cleans up as after Ctrl-C, and says so by its exit code."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

INTERRUPTED = 130
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_code = INTERRUPTED


def stopped_code() -> int:
    """The exit code of an interrupted command: 128 and the number of the signal."""
    return _code


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does; a second one ends the process at once.

    Where somebody else answers them, or ignores them (`nohup`), they are left alone.
    """
    global _code
    _code = INTERRUPTED
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: Any) -> None:
    global _code
    _code = 128 + number
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
