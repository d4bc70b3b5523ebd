"""Which prompts the table of a library shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.catalog import SORTS
from promptport.catalog.facts import KINDS
from promptport.errors import PromptPortError


@dataclass(frozen=True)
class Filters:
    """Which rows are shown, as the address of the page has it.

    Attributes:
        q: words to find.
        task: name of a task; empty for all, like what follows.
        model: name of a model.
        kind: of prompts.
        label: a tag.
        sort: an order of `SORTS`, with a minus in front for the other way round.
        n: number of the page, from 0.
    """

    q: str = ""
    task: str = ""
    model: str = ""
    kind: str = ""
    label: str = ""
    sort: str = ""
    n: int = 0

    def apply(self, catalog: Catalog, data: str | None = None) -> list[CatalogEntry]:
        """The prompts that fit, in order."""
        kept = catalog
        if self.task or self.model or self.label or self.kind in KINDS:
            kept = catalog.filter(
                task=self.task or None,
                backbone=self.model or None,
                kind=self.kind if self.kind in KINDS else None,
                tags=[self.label] if self.label else (),
            )
        entries = list(kept.entries)
        if self.q.strip():
            try:
                hits = kept.search(self.q, data=data)
            except PromptPortError:  # no word in it
                return []
            by_name = {entry.name: entry for entry in entries}
            entries = [by_name[hit.name] for hit in hits]
        order = self.sort.lstrip("-")
        if order in SORTS:
            found = Catalog(tuple(entries))
            entries = list(found.sort(order, reverse=self.sort.startswith("-")).entries)
        return entries

    def asked(self) -> dict[str, Any]:
        """What the address of the page holds."""
        return {**vars(self), "n": self.n or None}
