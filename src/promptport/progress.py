"""What is being done and how far it is: told by library code, which never prints, to a listener.

    with stage("converting model.gguf") as told:
        for done, tensor in enumerate(tensors):
            told.at(done, len(tensors))

The command line listens (`cli/console/progress.py`), and so may anybody else, by `listening`. Where
nobody listens, telling costs next to nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

Part = TypeVar("Part")
Progress = Callable[[int, int], None]  # how many are done, of how many


class Listener(Protocol):
    """Who is told. Stages lie in each other: the latest that began ends first."""

    def begins(self, stage: Stage) -> None: ...

    def moves(self, stage: Stage) -> None: ...

    def ends(self, stage: Stage) -> None: ...


@dataclass(eq=False)
class Stage:
    """Something that may take long.

    Attributes:
        label: what is done, for instance `loading nano-bert`; empty for the counting of a stage
            around it, which has the words.
        listener: who is told; None if nobody listens.
        done: how many parts of it.
        total: of so many; 0 if that is not known.
        note: more to say.
        share: of the work that is done, 0 to 1, where the parts are of different sizes.
    """

    label: str
    listener: Listener | None = None
    done: int = 0
    total: int = 0
    note: str = ""
    share: float = 0.0

    def at(self, done: int, total: int, note: str = "", share: float | None = None) -> None:
        """Tell how far it is.

        Args:
            done: parts.
            total: of so many; 0 if that is not known.
            note: more to say.
            share: of the work; None if all parts are of one size.
        """
        self.done, self.total, self.note = done, total, note
        self.share = share if share is not None else done / total if total else 0.0
        if self.listener is not None:
            self.listener.moves(self)


_LISTENER: ContextVar[Listener | None] = ContextVar("promptport_progress", default=None)


@contextlib.contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Tell a listener, or nobody, what is done within.

    Args:
        listener: of this thread.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextlib.contextmanager
def stage(label: str = "") -> Iterator[Stage]:
    """Tell that something begins that may take long, and when it ends.

    Args:
        label: see `Stage`.
    """
    listener = _LISTENER.get()
    own = Stage(label, listener)
    if listener is None:
        yield own
        return
    listener.begins(own)
    try:
        yield own
    finally:
        listener.ends(own)


def also(told: Stage, progress: Progress | None) -> Progress:
    """Tell a stage how far it is, and whoever gave a `progress` of their own."""

    def at(done: int, total: int) -> None:
        told.at(done, total)
        if progress is not None:
            progress(done, total)

    return at


def counted(
    parts: Sequence[Part], sizes: Sequence[int], costs: Sequence[float], label: str = ""
) -> Iterator[Part]:
    """Go through the parts of some work, and tell how much is done.

    Args:
        parts: P parts.
        sizes: how many things each holds, which is what is counted.
        costs: how long each takes beside the others: the time left goes by these.
        label: see `Stage`.

    Yields:
        The parts.
    """
    done, total = 0, sum(sizes)
    spent, whole = 0.0, sum(costs) or 1.0
    with stage(label) as told:
        told.at(0, total)
        for part, size, cost in zip(parts, sizes, costs, strict=True):
            yield part
            done, spent = done + size, spent + cost
            told.at(done, total, share=spent / whole)
