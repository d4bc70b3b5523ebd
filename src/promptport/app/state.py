"""What the server of the page knows, beside its jobs: the library, and how it is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.app.jobs import Desk
from promptport.catalog import Catalog, CatalogEntry, changing
from promptport.catalog.trash import Removed, in_trash
from promptport.errors import PromptPortError

_FRESH = 1.0  # seconds for which a library is not read again


@dataclass
class AppState:
    """Shared by all pages.

    Attributes:
        places: folders of the library; new prompts are put into the first.
        desk: where jobs are done.
        data: folder of `lama:` and `nlu:` tasks; None for none.
        dark: dark pages, light ones, or as the system has it (None).
    """

    places: Sequence[Path]
    desk: Desk
    data: str | None = None
    dark: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: tuple[float, Catalog] | None = None

    @property
    def library(self) -> str:
        """Where new prompts are put."""
        return str(self.places[0])

    def catalog(self) -> Catalog:
        """What is in the library now.

        Raises:
            PromptPortError: it is gone, or empty.
        """
        with self._lock:
            if self._read is None or time.monotonic() - self._read[0] > _FRESH:
                self._read = (time.monotonic(), Catalog.open(list(self.places)))
            return self._read[1]

    def reread(self) -> Catalog:
        """What is in the library after a change of ours.

        Raises:
            PromptPortError: as `catalog`.
        """
        with self._lock:
            self._read = None
        return self.catalog()

    def tag(
        self, entry: CatalogEntry, *, add: Sequence[str] = (), drop: Sequence[str] = ()
    ) -> None:
        """Give a prompt tags, and take some from it.

        Raises:
            PromptPortError: no such tag, or the folder cannot be written.
        """
        changing.tag(entry.path, self._place_of(entry), add=add, drop=drop)

    def remove(self, entry: CatalogEntry) -> list[str]:
        """Move a prompt to the trash of its library.

        Returns:
            Names of what lay in its folder and went with it.

        Raises:
            PromptPortError: it is gone, or cannot be moved.
        """
        return changing.remove(entry.path, self._place_of(entry))[1]

    def removed(self) -> list[tuple[Path, Removed]]:
        """What can be restored, with the folder of its library: the latest of every name, the
        latest first."""
        found = {(place, each.name): each for place in self.places for each in in_trash(place)}
        latest = sorted(found.items(), key=lambda own: own[1].removed, reverse=True)
        return [(place, each) for (place, _), each in latest]

    def _place_of(self, entry: CatalogEntry) -> Path:
        """The folder of the library in which a prompt lies."""
        return next(place for place in self.places if entry.folder.is_relative_to(place))


def find(catalog: Catalog, names: Sequence[str]) -> tuple[list[CatalogEntry], list[str]]:
    """Prompts by name, and lines on names that there are not."""
    found, lines = [], []
    for name in dict.fromkeys(names):
        try:
            found.append(catalog.show(name))
        except PromptPortError as error:
            lines.append(str(error))
    return found, lines


def asked_of(entry: CatalogEntry) -> dict[str, Any]:
    """How a job is told of a prompt."""
    return {"name": entry.name, "path": str(entry.folder.absolute())}
