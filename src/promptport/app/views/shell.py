"""What stands around every page: links to the others, colours, and what is running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nicegui import ui

from promptport.app.state import AppState
from promptport.app.views.elements import attributes, link, tag, textual

PAGES = {
    "Library": "/",
    "Try": "/try",
    "Compare": "/compare",
    "Move": "/move",
    "Combine": "/combine",
    "Hub": "/hub",
    "Jobs": "/jobs",
}
# Colours: what a click makes of it, and what is said of it.
_NEXT = {None: True, True: False, False: None}
_COLOURS = {
    None: ("contrast", "Colours as the system has them; choose dark"),
    True: ("dark_mode", "Dark colours; choose light"),
    False: ("light_mode", "Light colours; choose those of the system"),
}


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


@contextlib.contextmanager
def shell(state: AppState, title: str, *, heading: str | None = None) -> Iterator[None]:
    """A page with its header; what is made within is its content.

    Args:
        state: of the server.
        title: name of the page, in `PAGES` if it is one of these.
        heading: at its top; None: the title.
    """
    ui.page_title(f"{heading or title} - promptport")
    ui.add_css(_style())
    ui.colors(primary="#0f6b74", negative="#b3261e")
    dark = ui.dark_mode(state.dark)
    with ui.header(elevated=False).classes("pp-header"):
        link("Skip to the content", "#content", "pp-skip")
        link("promptport", "/", "pp-brand")
        with tag("nav", "pp-nav", aria_label="Pages"):
            for name, target in PAGES.items():
                own = link(name, target)
                if name == title:
                    attributes(own, aria_current="page")
                if name == "Jobs":
                    _count_jobs(state, own)
        _colour_button(state, dark)
    with tag("div", "pp-page", id="content", tabindex="-1"):
        textual("h1", heading or title)
        yield


def _count_jobs(state: AppState, jobs: ui.link) -> None:
    """How many are running, in the link to them."""

    def count() -> None:
        running = state.desk.running()
        text = f"Jobs ({running} running)" if running else "Jobs"
        if jobs.text != text:
            jobs.set_text(text)

    count()
    ui.timer(1.0, count)


def _colour_button(state: AppState, dark: ui.dark_mode) -> None:
    def change() -> None:
        state.dark = _NEXT[state.dark]
        dark.value = state.dark
        show()

    button = ui.button(on_click=change).props("flat round dense").classes("pp-colours")

    def show() -> None:
        icon, said = _COLOURS[state.dark]
        attributes(button, icon=icon, aria_label=said, title=said)

    show()
