"""Progress as a bar, for a terminal."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from promptport.cli.console.progress import View
from promptport.token_text import harmless

_FIRST = 0.5  # seconds before a bar appears
_PARTS = 1000  # of a bar: how much of the work is done does not come in whole parts


class Bar:
    """One bar, which is gone when all is done.

    Args:
        console: where it is drawn; None for standard error.
    """

    every = 0.2

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._key = 0

    def show(self, view: View, now: float) -> None:
        """Draw it anew."""
        if self._bar is None:
            if view.seconds < _FIRST:
                return
            self._bar = self._begin()
        if view.key != self._key:  # a bar without an end must not keep the end of another one
            if self._key:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(
                harmless(view.label), total=None, count="", left="", note=""
            )
            self._key = view.key
        self._bar.update(
            self._task,
            description=harmless(view.label),
            total=_PARTS if view.total else None,
            completed=round(view.share * _PARTS),
            count=view.count,
            left=view.time,
            note=harmless(view.note),
        )
        self._bar.refresh()

    def clear(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._key = None, 0

    def _begin(self) -> Progress:
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
            auto_refresh=False,  # the watcher's thread draws it
            # Results that go to a file must not be written between the lines of the bar.
            redirect_stdout=sys.stdout.isatty(),
        )
        bar.start()
        return bar
