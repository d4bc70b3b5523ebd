"""The library as a table: searched, filtered, sorted; prompts are chosen here for other pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import run, ui

from promptport.app.facts import LOADABLE
from promptport.app.filters import Filters
from promptport.app.state import AppState, find
from promptport.app.views.elements import (
    address,
    attributes,
    link,
    link_button,
    section,
    share_bar,
    tag,
    textual,
)
from promptport.app.views.keeping_view import remove_button, removed_section
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.facts import KINDS
from promptport.errors import PromptPortError

_ROWS = 25  # of a page
_ALL = ""
_COLUMNS = {
    "name": "name",
    "task": "task",
    "model": None,
    "kind": None,
    "tokens": "length",
    "dev score": "score",
    "written": "date",
    "tags": None,
}
_NUMBERS = ("tokens",)


class _Library:
    """The page while it is open."""

    def __init__(self, state: AppState, catalog: Catalog, filters: Filters) -> None:
        self.state, self.catalog, self.filters = state, catalog, filters
        self.chosen: dict[str, None] = {}
        self.found = filters.apply(catalog, state.data)
        self._asked = 0
        with section("Find"):
            self._form()
        with tag("section", "pp-card", aria_label="Prompts"):
            self.actions = ui.element("div").classes("pp-row")
            attributes(self.actions, role="group", aria_label="With the chosen prompts")
            self.rows = ui.element("div")
        self._show()
        self._show_actions()
        if catalog.damaged:
            with section("Damaged", note="These cannot be read; nothing of them was changed."):
                for entry in catalog.damaged:
                    textual("p", f"{entry.name}: {entry.problem}", "pp-problem")
        removed_section(state, ui.navigate.reload)

    def _form(self) -> None:
        catalog, filters = self.catalog, self.filters
        tasks = sorted({entry.task for entry in catalog.entries if entry.task})
        labels = sorted({label for entry in catalog.entries for label in entry.tags})
        kinds = [kind for kind in KINDS if any(e.kind == kind for e in catalog.entries)]
        with tag("div", "pp-form", role="search", aria_label="Search and filters"):
            words = ui.input(
                "Search names, tasks, labels, templates, tags",
                value=filters.q,
                on_change=lambda e: self._set(q=e.value or ""),
            ).props("outlined dense clearable debounce=250 type=search")
            words.classes("pp-wide")
            self._choice("Task", "task", tasks)
            self._choice("Model", "model", list(catalog.backbones))
            self._choice("Kind", "kind", kinds)
            if labels:
                self._choice("Tag", "label", labels)

    def _choice(self, label: str, name: str, options: list[str]) -> None:
        shown = {_ALL: "all", **{option: option for option in options}}
        now = getattr(self.filters, name)
        field = ui.select(
            shown,
            label=label,
            value=now if now in shown else _ALL,
            on_change=lambda e: self._set(**{name: e.value or ""}),
        ).props("outlined dense options-dense")
        attributes(field, aria_label=label)

    async def _set(self, **changed: Any) -> None:
        """Show other rows; of several changes that come quickly the last one counts."""
        self.filters = replace(self.filters, n=0, **{k: v for k, v in changed.items() if k != "n"})
        if "n" in changed:
            self.filters = replace(self.filters, n=changed["n"])
        self._asked += 1
        asked, filters = self._asked, self.filters
        try:
            self.catalog = await run.io_bound(self.state.catalog)
        except PromptPortError as error:
            ui.notify(str(error), type="negative")
            return
        found = await run.io_bound(filters.apply, self.catalog, self.state.data)
        if asked != self._asked:
            return
        self.found = found
        ui.navigate.history.replace(address("/", **filters.asked()))
        self._show()

    def _show(self) -> None:
        last = max(0, (len(self.found) - 1) // _ROWS)
        number = min(max(0, self.filters.n), last)
        entries = self.found[number * _ROWS : (number + 1) * _ROWS]
        self.rows.clear()
        with self.rows:
            first = number * _ROWS
            total = len(self.catalog.entries)
            span = f"{first + 1} to {first + len(entries)} of " if entries else ""
            said = f"{span}{len(self.found)}"
            said += f" found among {total}" if len(self.found) != total else " prompts"
            attributes(textual("p", said, "pp-note"), role="status")
            if entries:
                with tag("table", "pp-table pp-cards pp-picked", role="table"):
                    textual("caption", "Prompts of the library", "pp-hidden")
                    self._head()
                    with tag("tbody", role="rowgroup"):
                        for entry in entries:
                            self._row(entry)
            if last:
                self._turn(number, last)

    def _head(self) -> None:
        order, falls = self.filters.sort.lstrip("-"), self.filters.sort.startswith("-")
        with tag("thead", role="rowgroup"), tag("tr", role="row"):
            with tag("th", "pp-check", scope="col", role="columnheader"):
                textual("span", "choose", "pp-hidden")
            for column, sort in _COLUMNS.items():
                classes = "pp-number" if column in _NUMBERS else ""
                with tag("th", classes, scope="col", role="columnheader") as cell:
                    if sort is None:
                        textual("span", column)
                        continue
                    here = sort == order
                    arrow = (" ↑" if falls else " ↓") if here else ""
                    button = textual("button", f"{column}{arrow}")
                    attributes(button, type="button", aria_label=f"Sort by {column}")
                    following = f"-{sort}" if here and not falls else sort
                    button.on("click", lambda _, s=following: self._set(sort=s))
                    if here:
                        attributes(cell, aria_sort="descending" if falls else "ascending")

    def _row(self, entry: CatalogEntry) -> None:
        with tag("tr", role="row"):
            with tag("td", "pp-check", role="cell"):
                box = ui.element("input")
                attributes(box, type="checkbox", aria_label=f"Choose {entry.name}")
                if entry.name in self.chosen:
                    attributes(box, checked=True)
                box.on(
                    "change",
                    lambda event, name=entry.name: self._choose(name, bool(event.args)),
                    js_handler="(event) => emit(event.target.checked)",
                )
                if entry.kind not in LOADABLE:
                    attributes(box, disabled=True)
            with tag("th", scope="row", role="rowheader", data_label="name"):
                link(entry.name, address("/prompt", name=entry.name))
            cells: list[tuple[str, str | Callable[[], Any]]] = [
                ("task", entry.task or ""),
                ("model", entry.backbone),
                ("kind", entry.kind),
                ("tokens", "" if entry.length is None else str(entry.length)),
                ("dev score", lambda: _score(entry.dev_score)),
                ("written", entry.written or ""),
                ("tags", lambda: _tags(entry.tags)),
            ]
            for column, cell in cells:
                classes = "pp-number" if column in _NUMBERS else ""
                if isinstance(cell, str):
                    own = textual("td", cell, classes)
                    attributes(own, data_label=column, role="cell")
                elif column == "tags" and not entry.tags:
                    attributes(textual("td", ""), role="cell")
                else:
                    with tag("td", classes, data_label=column, role="cell"):
                        cell()

    def _turn(self, number: int, last: int) -> None:
        with tag("nav", "pp-row", aria_label="Pages of the table"):
            back = ui.button("Previous", on_click=lambda: self._set(n=number - 1))
            following = ui.button("Next", on_click=lambda: self._set(n=number + 1))
            for button, idle in ((back, number == 0), (following, number == last)):
                button.props("outline dense no-caps").set_enabled(not idle)
            textual("span", f"Page {number + 1} of {last + 1}", "pp-note")

    def _choose(self, name: str, wanted: bool) -> None:
        if wanted:
            self.chosen[name] = None
        else:
            self.chosen.pop(name, None)
        self._show_actions()

    def _show_actions(self) -> None:
        names, count = list(self.chosen), len(self.chosen)
        self.actions.clear()
        with self.actions:
            said = f"{count} chosen:" if count else "Choose prompts to try, compare or combine them"
            attributes(textual("span", said, "pp-note"), role="status")
            if count:
                link_button("Try", address("/try", p=names))
            if count > 1:
                link_button("Compare", address("/compare", p=names))
                link_button("Combine", address("/combine", p=names))
            if count == 1:
                link_button("Move", address("/move", p=names[0]))
            if count:
                remove_button(self.state, lambda: find(self.catalog, names)[0], ui.navigate.reload)


def _score(score: float | None) -> None:
    if score is None:
        textual("span", "")
        return
    with tag("span", "pp-measure"):
        share_bar(score)
        textual("span", f"{score:.3f}")


def _tags(labels: tuple[str, ...]) -> None:
    for label in labels:
        textual("span", label, "pp-chip")


def library_page(state: AppState, catalog: Catalog, filters: Filters) -> None:
    """Show the table."""
    _Library(state, catalog, filters)
