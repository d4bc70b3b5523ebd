"""One prompt: what it is, what it reads like, how it came to be, what it is like."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from promptport.app.facts import LOADABLE, fitting
from promptport.app.state import AppState, asked_of
from promptport.app.views.curve import show_curve
from promptport.app.views.elements import (
    address,
    facts,
    interval_bar,
    link,
    link_button,
    problem,
    scrolled,
    section,
    share_bar,
    table,
    tag,
    textual,
)
from promptport.app.views.keeping_view import remove_button, tags_form
from promptport.app.views.waiting import answer_of
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.showing import curve_of, history_sentences, score_facts
from promptport.errors import PromptPortError

_MOST_OTHERS = 300  # prompts that one is compared with


def prompt_page(state: AppState, catalog: Catalog, name: str) -> None:
    """Show the page of a prompt."""
    try:
        entry = catalog.show(name)
    except PromptPortError as error:
        problem(str(error))
        return
    if entry.problem is not None:
        problem(entry.problem)
        return
    _show_facts(state, entry)
    with tag("div", "pp-two"):
        with section("Scores"):
            _show_scores(entry)
        with section("History"):
            _show_history(entry)
    if entry.kind in LOADABLE:
        with section("What it reads like"):
            job = state.desk.submit(
                "read", f"Read {name}", asked_of(entry), lane="quick", listed=False
            )
            answer_of(job, "Reading its vectors and the words of its model ...", _show_reading)
    curve = curve_of(entry)
    with section("Loss curve"):
        if curve is None:
            textual(
                "p", "Its files hold no curve: prompts of earlier versions have none.", "pp-note"
            )
        else:
            show_curve(curve)
    if entry.kind in LOADABLE:
        with section("Similar prompts"):
            _show_similar(state, catalog, entry)


def _show_facts(state: AppState, entry: CatalogEntry) -> None:
    with tag("div", "pp-card"):
        size = "" if entry.width is None else f" x {entry.width}"
        pairs = [
            ("Task", entry.task or "not recorded"),
            ("Model", entry.backbone + (f" @ {entry.revision}" if entry.revision else "")),
            ("Kind", entry.kind),
            ("Virtual tokens", f"{entry.length}{size}"),
            ("Written", entry.written or ""),
            ("Template", entry.template or "not recorded"),
            ("Folder", entry.path),
        ]
        facts(pairs)
        tags_form(state, entry)
        with tag("div", "pp-row", role="group", aria_label="With this prompt"):
            if entry.kind in LOADABLE:
                link_button("Try it", address("/try", p=entry.name))
                if entry.kind != "vector":
                    link_button("Move it", address("/move", p=entry.name))
                link_button("Combine it", address("/combine", p=entry.name))
                link_button("Compare it", address("/compare", p=entry.name))
                if entry.kind != "vector":
                    link_button("Send it to the Hub", address("/hub", p=entry.name))
            remove_button(state, lambda: [entry], lambda: ui.navigate.to("/"))


def _show_scores(entry: CatalogEntry) -> None:
    found = score_facts(entry)
    if not found:
        textual("p", "No score is recorded. promptport eval scores it on its task.", "pp-note")
    for fact in found:
        textual("p", fact.whose, "pp-note")
        with tag("div", "pp-measure"):
            interval_bar(fact.value, fact.low, fact.high)
            textual("span", fact.text)


def _show_history(entry: CatalogEntry) -> None:
    sentences = history_sentences(entry)
    if not sentences:
        textual("p", "Nothing is recorded.", "pp-note")
        return
    with tag("ol", "pp-history"):
        for sentence in sentences:
            textual("li", sentence)


def _show_reading(told: dict[str, Any]) -> None:
    norms, mean = told["norms"], told["mean_norm"]
    longest = max([*norms, mean or 0.0, 1e-12])
    if told["problem"] is not None:
        textual("p", told["problem"], "pp-problem")
    if mean is not None:
        textual(
            "p",
            f"Lengths beside {mean:.2f}, the mean length of a word of its model; cosines of the "
            "nearest words in brackets.",
            "pp-note",
        )
    columns = ["token", "length", "nearest words"]
    columns += ["from its origin"] if told["moved"] is not None else []
    columns += ["mixture of"] if told["mixture"] is not None else []
    rows: list[list[Any]] = []
    for number, norm in enumerate(norms):
        times = "" if not mean else f" ({norm / mean:.1f} x)"
        row: list[Any] = [
            str(number + 1),
            lambda norm=norm, times=times: _measure(norm / longest, f"{norm:.2f}{times}"),
            _pairs(told["nearest"], number),
        ]
        if told["moved"] is not None:
            row.append(f"{told['moved'][number]:.2f}")
        if told["mixture"] is not None:
            row.append(_pairs(told["mixture"], number))
        rows.append(row)
    table("Virtual tokens", columns, rows)


def _pairs(all_pairs: Any, number: int) -> str:
    if all_pairs is None:
        return ""
    return ", ".join(f"{word} ({value:.2f})" for word, value in all_pairs[number])


def _measure(share: float, said: str) -> None:
    with tag("span", "pp-measure"):
        share_bar(share)
        textual("span", said)


def _show_similar(state: AppState, catalog: Catalog, entry: CatalogEntry) -> None:
    others = fitting(catalog, entry)
    if not others:
        textual("p", "No other prompt of its model has as many virtual tokens.", "pp-note")
        return
    tasks = {other.name: other.task or "" for other in others}
    looked = others[:_MOST_OTHERS]
    if len(looked) < len(others):
        textual("p", f"Compared with the first {len(looked)} of {len(others)}.", "pp-note")
    asked = {**asked_of(entry), "others": [asked_of(other) for other in looked]}
    job = state.desk.submit("similar", "Similar prompts", asked, lane="quick", listed=False)

    def show(told: dict[str, Any]) -> None:
        rows: list[list[Any]] = []
        for own in told["similar"]:
            name = own["name"]
            rows.append(
                [
                    lambda name=name: link(name, address("/prompt", name=name)),
                    tasks[name],
                    f"{own['cosine']:.2f}",
                    "" if own["tuned"] is None else f"{own['tuned']:.2f}",
                    lambda name=name: link("compare", address("/compare", p=[entry.name, name])),
                ]
            )
        columns = ["prompt", "task", "cosine", "of what tuning added", ""]
        with scrolled("Similar prompts"):
            table("Similar prompts, the nearest first", columns, rows, numbers=(2, 3))
        if told["left_out"]:
            textual("p", f"{told['left_out']} could not be compared.", "pp-note")

    answer_of(job, f"Comparing it with {len(looked)} others ...", show)
