"""Choosing prompts on a page: a field that completes names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui

from promptport.app.facts import LOADABLE
from promptport.app.views.elements import attributes, link_button, tag, textual
from promptport.catalog import Catalog, CatalogEntry

_MOST = 2000  # names that a field offers


def prompt_field(
    catalog: Catalog,
    chosen: Sequence[str],
    label: str,
    on_change: Callable[[list[str]], Any],
    *,
    several: bool = True,
    kinds: Sequence[str] = LOADABLE,
) -> ui.select:
    """A field for the names of prompts.

    Args:
        catalog: what can be chosen from.
        chosen: names at first.
        label: of the field.
        on_change: called with the names.
        several: whether more than one may be chosen.
        kinds: of prompts that can be chosen.
    """
    known = [entry for entry in catalog.entries if entry.kind in kinds]
    offered = known if len(known) <= _MOST else [e for e in known if e.name in chosen]
    options = {
        entry.name: f"{entry.name} ({entry.task or 'no task'}, {entry.backbone})"
        for entry in offered
    }
    value: Any = [name for name in chosen if name in options]
    if not several:
        value = value[0] if value else None

    def changed(event: Any) -> None:
        on_change(list(event.value or []) if several else [event.value] if event.value else [])

    field = ui.select(
        options, label=label, value=value, multiple=several, with_input=True, on_change=changed
    ).classes("pp-wide")
    field.props("outlined dense" + (" use-chips" if several else " clearable"))
    attributes(field, aria_label=label)
    if len(known) > _MOST:
        textual(
            "p",
            f"{len(known)} prompts are too many for this field: choose in the library, then come "
            "back by its buttons.",
            "pp-note",
        )
    return field


def nothing_chosen(what: str) -> None:
    """What to do where prompts are still to be chosen."""
    with tag("div", "pp-row"):
        textual("span", what, "pp-note")
        link_button("Choose in the library", "/")


def names_of(entries: Sequence[CatalogEntry]) -> list[str]:
    """Names of prompts, in their order."""
    return [entry.name for entry in entries]
