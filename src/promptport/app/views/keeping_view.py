"""Keeping a library in order: tags, removing, and bringing back what was removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from nicegui import run, ui

from promptport.app.state import AppState
from promptport.app.views.elements import attributes, section, tag, textual
from promptport.catalog import CatalogEntry, changing
from promptport.catalog.trash import Removed
from promptport.errors import PromptPortError

_MOST_REMOVED = 50  # that are listed, the latest ones


def tags_form(state: AppState, entry: CatalogEntry) -> None:
    """The tags of a prompt, each with a button that takes it away, and a field for a new one."""
    place = ui.element("div").classes("pp-row")
    attributes(place, role="group", aria_label="Tags")
    labels = list(entry.tags)

    def show() -> None:
        place.clear()
        with place:
            for label in labels:
                chip = ui.button(f"{label} ×", on_click=lambda _, label=label: change(drop=label))
                chip.props("outline dense no-caps rounded")
                attributes(chip, aria_label=f"Take the tag {label} away")
            field = ui.input("New tag").props("outlined dense")
            attributes(field, aria_label="New tag")

            async def give() -> None:
                if (field.value or "").strip():
                    await change(add=str(field.value).strip())

            field.on("keydown.enter", give)
            ui.button("Add", on_click=give).props("outline dense no-caps")

    async def change(add: str = "", drop: str = "") -> None:
        given, taken = [add] if add else [], [drop] if drop else []
        try:
            await run.io_bound(state.tag, entry, add=given, drop=taken)
            await run.io_bound(state.reread)
        except PromptPortError as error:
            _complain(error)
            return
        labels[:] = sorted({*labels, *given} - set(taken))
        show()
        ui.notify(f"Tagged {add}" if add else f"No longer tagged {drop}", type="positive")

    show()


def remove_button(
    state: AppState, chosen: Callable[[], Sequence[CatalogEntry]], then: Callable[[], object]
) -> None:
    """A button that moves prompts to the trash, after a question.

    Args:
        state: of the server.
        chosen: which ones, when it is pressed.
        then: called when they are removed.
    """

    async def ask() -> None:
        entries = list(chosen())
        if not entries:
            return
        what = entries[0].name if len(entries) == 1 else f"{len(entries)} prompts"
        with ui.dialog() as dialog, ui.card():
            textual("p", f"Move {what} to the trash of the library? It can be brought back.")
            with tag("div", "pp-row"):
                ui.button("Remove", on_click=lambda: dialog.submit(True)).props(
                    "unelevated no-caps color=negative"
                )
                ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("outline no-caps")
        attributes(dialog, aria_label=f"Remove {what}")
        wanted = await dialog
        dialog.delete()
        if not wanted:
            return
        for entry in entries:
            try:
                inside = await run.io_bound(state.remove, entry)
            except PromptPortError as error:
                _complain(error)
                return
            if inside:
                ui.notify(f"What lay in its folder went with it: {', '.join(inside)}")
        await run.io_bound(_reread, state)
        then()

    ui.button("Remove", on_click=ask).props("outline dense no-caps color=negative")


def removed_section(state: AppState, then: Callable[[], object]) -> None:
    """What lies in the trash, each with a button that brings it back.

    Args:
        state: of the server.
        then: called when something is back.
    """
    found = state.removed()
    if not found:
        return
    note = "promptport library empty-trash deletes it for good."
    with section("Removed", note=note), tag("ul", "pp-removed"):
        for place, each in found[:_MOST_REMOVED]:
            with tag("li", "pp-row"):
                textual("span", each.name)
                textual("span", each.removed.replace("T", " ")[:16], "pp-note")
                button = ui.button("Bring back", on_click=_bring_back(state, place, each, then))
                button.props("outline dense no-caps")
                attributes(button, aria_label=f"Bring {each.name} back")
        if len(found) > _MOST_REMOVED:
            textual("li", f"{len(found) - _MOST_REMOVED} more", "pp-note")


def _bring_back(
    state: AppState, place: Path, each: Removed, then: Callable[[], object]
) -> Callable[[], object]:
    async def back() -> None:
        try:
            await run.io_bound(changing.restore, each.name, place)
        except PromptPortError as error:
            _complain(error)
            return
        await run.io_bound(_reread, state)
        then()

    return back


def _reread(state: AppState) -> None:
    """Read the library again; an empty one is told by the page that shows it."""
    try:
        state.reread()
    except PromptPortError:
        return


def _complain(error: PromptPortError) -> None:
    ui.notify(str(error), type="negative", multi_line=True)
