"""How far a long command is, as a bar on a terminal and as lines of a log; all on standard error.

`Watcher` listens to what the library tells (`promptport/progress.py`). A thread of its own looks
at it several times a second, so that there is something to see before the first part is done.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer

from promptport.cli.stopping import stopped_code
from promptport.progress import Stage, listening
from promptport.token_text import harmless

Clock = Callable[[], float]  # seconds

_FIRST = 3.0  # seconds before a stage is worth a line
_SHORT = 6.0  # seconds that a stage may take without a line, if it is known that it will
_EVERY = 10.0  # seconds between two lines of a log
_SHARE = 0.1  # of the whole between two lines
_SOON = 5.0  # seconds at least between two lines
_SLOWER = 30  # of a long stage: a line each time this part of the time so far has passed
_PAUSE = 1.0  # seconds without a stage, after which a log begins to wait anew
_INNER = 1.0  # seconds before a stage within another one is told of
_LOOK_LOG, _LOOK_BAR = 0.5, 0.2  # seconds between two looks
_NAMELESS = "scoring rows"  # the label of a count without one: most are of rows that are scored


@dataclass(eq=False)
class _Seen:
    """A stage, and when it was heard of.

    Attributes:
        stage: what is told.
        number: of the stages so far.
        began: seconds.
        moved: seconds, when it last told how far it is.
        first: share that was done at the beginning: a run that goes on does not begin with 0.
    """

    stage: Stage
    number: int
    began: float
    moved: float
    first: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds that it will still take, below 0 if it takes longer than expected.

        None if that is not known.
        """
        made = self.stage.share - (self.first or 0.0)
        if made <= 0 or self.stage.share >= 1:
            return None
        whole = (self.moved - self.began) / made * (1 - self.stage.share)
        return whole - (now - self.moved)


@dataclass(frozen=True)
class View:
    """What there is to show of stages within each other.

    Attributes:
        key: what is told of: another one is another bar, and has a first line of its own.
        label: what is done.
        done: how many parts.
        total: of so many; 0 if that is not known.
        share: of the work, 0 to 1.
        note: more to say.
        seconds: since it began.
        left: seconds that it will still take, below 0 if it takes longer than expected; None if
            that is not known.
    """

    key: int
    label: str
    done: int
    total: int
    share: float
    note: str
    seconds: float
    left: float | None

    @property
    def count(self) -> str:
        """`120/500`, `120`, or nothing where nothing is counted."""
        return f"{self.done}/{self.total}" if self.total else str(self.done or "")

    @property
    def line(self) -> str:
        """For a log."""
        share = f"{self.done / self.total:.0%}" if self.total else ""
        label = f"{self.label}: {self.count}" if self.count else f"{self.label} ..."
        parts = [label, share, self.note, self.time]
        return ", ".join(part for part in parts if part).replace("..., ", "... ")

    @property
    def time(self) -> str:
        """What is left, or if that is not known what has passed."""
        if self.left is not None and self.left > 0:
            return f"about {duration(self.left)} left"
        return f"{duration(self.seconds)} so far" if self.seconds >= _EVERY else ""


def _view(seen: list[_Seen], now: float) -> View:
    """Of the stages that are open, the outermost first: that which counts, and what is within it.

    A count without a label belongs to the stage around it, if that one does not count itself.
    """
    named = owner = seen[0]
    inner: list[_Seen] = []
    for number, each in enumerate(seen):
        owner = each
        named = each if each.stage.label else named
        if each.stage.total or each.stage.done:
            inner = seen[number + 1 :]
            break
    stage = owner.stage
    notes = [stage.note, _of_inner(inner, now)]
    return View(
        named.number,
        named.stage.label or _NAMELESS,
        stage.done,
        stage.total,
        stage.share,
        ", ".join(note for note in notes if note),
        now - named.began,
        owner.left(now),
    )


def _of_inner(inner: list[_Seen], now: float) -> str:
    """What is done within a stage that counts, for instance `scoring dev rows 120/500`."""
    label = count = ""
    for each in inner:
        stage = each.stage
        if stage.label and now - each.began >= _INNER:
            label, count = stage.label, ""
        if label and stage.total and not count:
            count = f" {stage.done}/{stage.total}"
    return label + count


class Display(Protocol):
    """Shows views."""

    every: float  # seconds between two looks

    def show(self, view: View, now: float) -> None: ...

    def clear(self) -> None: ...


class Watcher:
    """Listens to the stages of a command, and lets a display show them.

    Args:
        display: shows them.
        clock: for tests.
    """

    def __init__(self, display: Display, clock: Clock = time.monotonic) -> None:
        self._display, self._clock = display, clock
        self._seen: list[_Seen] = []
        self._count = 0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begins(self, stage: Stage) -> None:
        now = self._clock()
        with self._lock:
            self._count += 1
            self._seen.append(_Seen(stage, self._count, now, now))

    def moves(self, stage: Stage) -> None:
        with self._lock:
            for seen in reversed(self._seen):
                if seen.stage is stage:
                    seen.moved = self._clock()
                    if seen.first is None:
                        seen.first = stage.share
                    break

    def ends(self, stage: Stage) -> None:
        with self._lock:
            self._seen = [seen for seen in self._seen if seen.stage is not stage]
            if not self._seen:
                self._display.clear()

    def look(self) -> None:
        """Show what there is now."""
        with self._lock:
            if self._seen:
                now = self._clock()
                self._display.show(_view(self._seen, now), now)

    def start(self) -> None:
        """Look again and again, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._display.clear()

    def _watch(self) -> None:
        while not self._over.wait(self._display.every):
            self.look()


class Log:
    """Lines on standard error: the first after 3 seconds, then about every 10 seconds or 10%."""

    every = _LOOK_LOG

    def __init__(self) -> None:
        self._key = 0
        self._last = self._looked = -_PAUSE
        self._share = 0.0

    def show(self, view: View, now: float) -> None:
        """Write a line, if it is time for one."""
        if now - view.seconds - self._looked >= _PAUSE:
            self._last = now - view.seconds
        self._looked = now
        if not self._is_due(view, now - self._last):
            return
        self._key, self._last, self._share = view.key, now, view.share
        typer.echo(harmless(view.line), err=True)

    def _is_due(self, view: View, waited: float) -> bool:
        """Whether it is time for a line, so many seconds after the last one or the beginning."""
        every = max(_EVERY, view.seconds / _SLOWER)
        if waited >= every:  # of many short stages none would have a line of its own
            return True
        if view.key != self._key:
            whole = math.inf if view.left is None else view.seconds + max(view.left, 0.0)
            return view.seconds >= _FIRST and whole >= _SHORT
        return waited >= _SOON and view.share - self._share >= _SHARE

    def clear(self) -> None:
        """Nothing: a log keeps its lines."""


@contextlib.contextmanager
def showing(hidden: bool = False) -> Iterator[None]:
    """Show what is told within.

    Args:
        hidden: show nothing, as where JSON is asked for.
    """
    if hidden:
        with listening(None):
            yield
        return
    watcher = Watcher(_display())
    watcher.start()
    try:
        with listening(watcher):
            yield
    finally:
        watcher.stop()


def _display() -> Display:
    if not sys.stderr.isatty():
        return Log()
    from promptport.cli.console.bar import Bar

    return Bar()


def duration(seconds: float) -> str:
    """`40 s`, `5 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def goes_on(since: str | None, kept: Path | Callable[[], bool] | None = None) -> Iterator[None]:
    """End an interrupted command with a line that says what is kept, and its exit code.

    Args:
        since: what the same command goes on from; None where nothing is kept.
        kept: the file that holds it, or whether it is there; None if it always is. As long as it
            is not, the line promises nothing.
    """
    try:
        yield
    except KeyboardInterrupt:
        there = kept is None or (kept.exists() if isinstance(kept, Path) else kept())
        if since is not None and there:
            typer.echo(f"interrupted: the same command goes on from {since}", err=True)
        else:
            say_interrupted()
        raise typer.Exit(stopped_code()) from None


def say_interrupted() -> None:
    """The line of an interrupted command that keeps nothing."""
    typer.echo("interrupted: nothing was saved, the same command begins anew", err=True)
