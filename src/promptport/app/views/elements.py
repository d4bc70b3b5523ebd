"""Elements that the pages are made of. Text is text: nothing of it is read as markup or code.

Attributes that hold names are set one by one, since NiceGUI reads a line of attributes as code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement


def textual(tag: str, text: str, classes: str = "") -> Any:
    """An element with text in it.

    Args:
        tag: of HTML, for instance `h2`.
        text: what it says.
        classes: of our style sheet.
    """
    return TextElement(tag=tag, text=text).classes(classes)


def attributes(element: Any, **values: Any) -> Any:
    """Give an element attributes; `aria_label` is `aria-label`.

    Returns:
        The element.
    """
    for name, value in values.items():
        key = name.rstrip("_").replace("_", "-")
        if value is None:
            element.props.pop(key, None)
        else:
            element.props[key] = value
    return element


def address(path: str, **values: Any) -> str:
    """A page of ours with what it is asked; values that are empty are left out."""
    given = {name: value for name, value in values.items() if value not in (None, "", [], ())}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def link(text: str, target: str, classes: str = "") -> Any:
    """A link to a page of ours."""
    return ui.link(text, target).classes(classes)


def link_button(text: str, target: str, classes: str = "") -> Any:
    """A link that looks like a button."""
    return link(text, target, f"pp-button {classes}")


def main_button(label: str, on_click: Callable[[], Any]) -> Any:
    """The button of a form."""
    return (
        ui.button(label, on_click=on_click, color=None)
        .props("unelevated no-caps")
        .classes("pp-main-button")
    )


@contextlib.contextmanager
def tag(name: str, classes: str = "", **values: Any) -> Iterator[Any]:
    """An element with others in it."""
    element = ui.element(name).classes(classes)
    attributes(element, **values)
    with element:
        yield element


@contextlib.contextmanager
def section(title: str, classes: str = "", note: str = "") -> Iterator[Any]:
    """A part of a page under a heading."""
    with tag("section", f"pp-card {classes}", aria_label=title) as element:
        textual("h2", title)
        if note:
            textual("p", note, "pp-note")
        yield element


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Names with their values."""
    with tag("dl", "pp-facts"):
        for name, value in pairs:
            with tag("div"):
                textual("dt", name)
                textual("dd", value)


Cell = str | Callable[[], Any]  # text, or what makes the inside of a cell


@contextlib.contextmanager
def scrolled(label: str) -> Iterator[None]:
    """What may be wider than a narrow screen; it can be scrolled with the keyboard."""
    with tag("div", "pp-scroll", role="region", tabindex="0", aria_label=label):
        yield


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    numbers: Sequence[int] = (),
    cards: bool = True,
) -> Any:
    """A table; the first cell of a row is its heading.

    Args:
        caption: what it tells; shown to screen readers.
        columns: headings.
        rows: of cells.
        numbers: places of columns with numbers.
        cards: on narrow screens a row becomes a card, whose cells have the headings in front.
    """
    # Roles are written out, since browsers forget them where a style makes cards of rows.
    classes = "pp-table pp-cards" if cards else "pp-table"
    with tag("table", classes, role="table") as element:
        textual("caption", caption, "pp-hidden")
        with tag("thead", role="rowgroup"), tag("tr", role="row"):
            for place, column in enumerate(columns):
                own = textual("th", column, "pp-number" if place in numbers else "")
                attributes(own, scope="col", role="columnheader")
        with tag("tbody", role="rowgroup"):
            for row in rows:
                with tag("tr", role="row"):
                    for place, cell in enumerate(row):
                        _cell(cell, columns[place], place, place in numbers)
    return element


def _cell(cell: Cell, column: str, place: int, number: bool) -> None:
    name, classes = ("th" if place == 0 else "td"), "pp-number" if number else ""
    given = {"data_label": column, "role": "rowheader" if place == 0 else "cell"}
    given |= {"scope": "row"} if place == 0 else {}
    if isinstance(cell, str):
        attributes(textual(name, cell, classes), **given)
        return
    with tag(name, classes, **given):
        cell()


def share_bar(share: float, classes: str = "") -> None:
    """A bar of a share, 0 to 1; the number stands beside it."""
    with tag("span", f"pp-bar {classes}", aria_hidden="true"):
        inside = ui.element("span")
        inside.style(f"width: {max(0.0, min(1.0, share)) * 100:.1f}%")


def interval_bar(value: float, low: float | None, high: float | None) -> None:
    """A score from 0 to 1 with its interval; the numbers stand beside it."""
    with tag("span", "pp-interval", aria_hidden="true"):
        if low is not None and high is not None:
            left, width = max(0.0, low), min(1.0, high) - max(0.0, low)
            line = ui.element("span").classes("pp-interval-line")
            line.style(f"left: {left * 100:.1f}%; width: {max(0.0, width) * 100:.1f}%")
        dot = ui.element("span").classes("pp-interval-dot")
        dot.style(f"left: {max(0.0, min(1.0, value)) * 100:.1f}%")


def problem(text: str) -> Any:
    """A line on what is wrong, read out at once."""
    return attributes(textual("p", text, "pp-problem"), role="alert")
