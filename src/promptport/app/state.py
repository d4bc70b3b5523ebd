"""What the server of the page knows, beside its jobs: the library, and how it is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptport.app.jobs import Desk
from promptport.catalog import Catalog, CatalogEntry
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
