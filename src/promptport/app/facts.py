"""What the pages show of a prompt, from what is recorded; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence

from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.catalog import known_task
from promptport.errors import PromptPortError
from promptport.tasks import Template

LOADABLE = ("free", "mixture", "vector")  # kinds that can be asked, compared and combined


def text_fields(entries: Sequence[CatalogEntry], data: str | None = None) -> list[str]:
    """Names of the texts that some prompts read, each once; `text` if nothing is recorded."""
    fields: dict[str, None] = {}
    for entry in entries:
        fields |= dict.fromkeys(_fields_of(entry, data))
    return list(fields) or ["text"]


def _fields_of(entry: CatalogEntry, data: str | None) -> Sequence[str]:
    template = entry.template
    if template is not None:
        try:
            return Template.parse(template).fields
        except PromptPortError:  # of another software
            return ()
    task = known_task(entry.task, data)
    return () if task is None else task.template.fields


def fitting(catalog: Catalog, entry: CatalogEntry) -> list[CatalogEntry]:
    """The other prompts and vectors of its model with as many virtual tokens."""
    own = next((names for names in catalog.backbones.values() if entry.name in names), ())
    names = set(own) - {entry.name}
    return [
        other
        for other in catalog.entries
        if other.name in names and other.length == entry.length and other.kind in LOADABLE
    ]


def one_model(catalog: Catalog, entries: Sequence[CatalogEntry]) -> bool:
    """Whether all belong to one model."""
    wanted = {entry.name for entry in entries}
    return any(wanted <= set(names) for names in catalog.backbones.values())


def free_name(catalog: Catalog, wanted: str) -> str:
    """A name for a new prompt: the wanted one, or with a number behind it."""
    taken = {entry.folder.name for entry in (*catalog.entries, *catalog.damaged)}
    base = wanted.replace("/", "-").replace("\\", "-").lstrip(".-") or "prompt"
    number, name = 2, base
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name
