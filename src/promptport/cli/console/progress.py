"""How far a long command is, and what an interrupted one keeps; all on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

Report = Callable[[int, int, str], None]
_EVERY = 10.0  # seconds between two lines of a log
_SHARE = 0.1  # of the whole between two lines
_SOON = 5.0  # seconds at least between two lines
_PATIENCE = 2.0  # seconds before a wait is worth a line


@contextlib.contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Report]:
    """Show progress: call it with (done, total, note); a total of 0 is not known.

    A terminal gets a bar; a log a line about every 10 seconds or 10%, none if all is done before.

    Args:
        label: what is done, for instance `tuning`.
        hidden: show nothing.
    """
    if hidden:
        yield lambda done, total, note: None
    elif sys.stderr.isatty():
        with _bar(label) as report:
            yield report
    else:
        yield LogProgress(label).report


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=None, note="", count="")

        def report(done: int, total: int, note: str) -> None:
            known = total or None
            bar.update(task, completed=done, total=known, note=note, count=_count(done, total))

        yield report


class LogProgress:
    """Progress as lines of a log.

    Args:
        label: what is done.
        clock: seconds, for tests.
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._clock = clock
        self._began = self._last = clock()
        self._first_done: int | None = None
        self._share = 0.0

    def report(self, done: int, total: int, note: str) -> None:
        """Say how far it is, if enough time has passed or enough was done.

        Args:
            done: steps.
            total: of so many; 0 if that is not known.
            note: more to say.
        """
        now = self._clock()
        if self._first_done is None:  # a run that goes on does not begin with 0
            self._first_done, self._share = done, done / total if total else 0.0
        share = done / total if total else 0.0
        waited = now - self._last
        if waited < _SOON or (waited < _EVERY and share - self._share < _SHARE):
            return
        self._last, self._share = now, share
        made = done - self._first_done
        left = (now - self._began) / made * (total - done) if made > 0 and done < total else None
        parts = [
            f"{self._label}: {_count(done, total)}",
            f"{share:.0%}" if total else "",
            note,
            "" if left is None else f"about {_duration(left)} left",
        ]
        typer.echo(", ".join(part for part in parts if part), err=True)


def _count(done: int, total: int) -> str:
    return f"{done}/{total}" if total else str(done)


def _duration(seconds: float) -> str:
    """`40 s`, `5 min`, `2 h 10 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def waiting(text: str, hidden: bool = False) -> Iterator[None]:
    """Say what is waited for, if it takes more than a moment; for what cannot tell how far it is.

    Args:
        text: for instance `loading gpt2`.
        hidden: say nothing.
    """
    timer = threading.Timer(_PATIENCE, lambda: typer.echo(f"{text} ...", err=True))
    timer.daemon = True
    if not hidden:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def goes_on(since: str | None, kept: Path | Callable[[], bool] | None = None) -> Iterator[None]:
    """End an interrupted command with a line that says what is kept, and exit code 130.

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
        raise typer.Exit(130) from None


def say_interrupted() -> None:
    """The line of an interrupted command that keeps nothing."""
    typer.echo("interrupted: nothing was saved, the same command begins anew", err=True)
