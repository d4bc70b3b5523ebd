"""Compare prompts: how alike they are, and what becomes of two in a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import context, ui

from promptport.app.facts import one_model
from promptport.app.jobs import Job
from promptport.app.state import AppState, asked_of, find
from promptport.app.views.choosing import nothing_chosen, prompt_field
from promptport.app.views.elements import (
    address,
    attributes,
    main_button,
    problem,
    scrolled,
    section,
    tag,
    textual,
)
from promptport.app.views.results import show_result
from promptport.app.views.waiting import answer_of, job_card
from promptport.catalog import Catalog, CatalogEntry

_OF = {"prompts": "whole prompts", "vectors": "what tuning added"}
_KINDS = ("free", "mixture")
_ROWS = 128  # texts of a task that a forecast reads
_MOST = 40  # prompts of a map


class _Compare:
    """The page while it is open."""

    def __init__(
        self,
        state: AppState,
        catalog: Catalog,
        entries: Sequence[CatalogEntry],
        of: str,
        job: Job | None,
    ) -> None:
        self.state, self.catalog, self.of = state, catalog, of if of in _OF else "prompts"
        self.entries = list(entries)
        self.key = f"compare of {context.client.id}"  # each page has its own newest comparison
        with section("Choose"):
            names = [entry.name for entry in self.entries]
            prompt_field(catalog, names, "Prompts of one model", self._choose, kinds=_KINDS)
            toggle = ui.radio(_OF, value=self.of, on_change=lambda e: self._choose_of(e.value))
            toggle.props("inline dense")
            attributes(toggle, aria_label="What is compared")
        self.map = ui.element("div")
        self.forecast = ui.element("div")
        self.outcome = ui.element("div")
        self._show()
        if job is not None:
            self._show_job(job)

    def _choose(self, names: list[str]) -> None:
        self.entries, _ = find(self.catalog, names)
        self._changed()

    def _choose_of(self, of: str) -> None:
        self.of = of
        self._changed()

    def _changed(self) -> None:
        names = [entry.name for entry in self.entries]
        ui.navigate.history.replace(address("/compare", p=names, of=self.of))
        self._show()

    def _show(self) -> None:
        self.map.clear()
        self.forecast.clear()
        usable = [entry for entry in self.entries if entry.kind in _KINDS][:_MOST]
        with self.map, section("Cosines"):
            if len(usable) < 2:
                nothing_chosen("Choose two prompts of one model, or more.")
                return
            if not one_model(self.catalog, usable):
                models = ", ".join(dict.fromkeys(entry.backbone for entry in usable))
                problem(f"Prompts of one model can be compared; these belong to {models}.")
                return
            asked = {"prompts": [asked_of(entry) for entry in usable], "of": self.of}
            job = self.state.desk.submit(
                "compare", "Compare", asked, lane="quick", listed=False, key=self.key
            )
            answer_of(job, "Comparing ...", _show_map)
        with self.forecast:
            self._show_forecast(usable)

    def _show_forecast(self, usable: Sequence[CatalogEntry]) -> None:
        names = [entry.name for entry in usable]
        chosen = {"first": names[0], "second": names[1]}
        note = (
            "Do both tasks survive when the two are added? Both are asked unlabelled texts, alone "
            "and as the sum; no label is read."
        )
        with section("Forecast of a sum", note=note), tag("div", "pp-form"):
            for which in chosen:
                field = ui.select(
                    names,
                    label=f"{which} prompt",
                    value=chosen[which],
                    on_change=lambda e, which=which: chosen.update({which: e.value}),
                ).props("outlined dense")
                attributes(field, aria_label=f"{which} prompt of the sum")
            main_button("Forecast", lambda: self._ask(chosen))

    def _ask(self, chosen: dict[str, str]) -> None:
        first, second = chosen["first"], chosen["second"]
        if first == second:
            ui.notify("Choose two different prompts.", type="warning")
            return
        pair, _ = find(self.catalog, [first, second])
        asked = {"prompts": [asked_of(entry) for entry in pair], "rows": _ROWS}
        job = self.state.desk.submit("forecast", f"Forecast: {first} + {second}", asked)
        names = [entry.name for entry in self.entries]
        ui.navigate.history.replace(address("/compare", p=names, of=self.of, job=job.number))
        self._show_job(job)

    def _show_job(self, job: Job) -> None:
        self.outcome.clear()
        with self.outcome:
            job_card(self.state.desk, job, lambda result: show_result(job, result), level="h2")


def _show_map(told: dict[str, Any]) -> None:
    names, cosines = told["names"], told["cosine"]
    textual("p", told["verdict"][:1].upper() + told["verdict"][1:] + ".")
    with scrolled("Cosines of all pairs"), tag("table", "pp-heat"):
        said = "Cosines of all pairs; -1 opposite, 0 nothing in common, 1 the same direction"
        textual("caption", said, "pp-hidden")
        with tag("thead"), tag("tr"):
            attributes(textual("th", "prompt"), scope="col")
            for number, name in enumerate(names, 1):
                attributes(textual("th", str(number)), scope="col", title=name, aria_label=name)
        with tag("tbody"):
            for i, name in enumerate(names):
                with tag("tr"):
                    attributes(textual("th", f"{i + 1}  {name}"), scope="row", title=name)
                    for j, value in enumerate(cosines[i]):
                        cell = textual("td", f"{value:.2f}")
                        back, text = told["colours"][i][j]
                        cell.style(f"background: {back}; color: {text}")
                        conflict = f"signs differ in {told['sign_conflict'][i][j]:.0%}"
                        attributes(cell, title=f"{name} and {names[j]}: {value:.3f}, {conflict}")
    with tag("div", "pp-scale", aria_hidden="true"):
        textual("span", "-1 ")
        with tag("span"):
            for _, colour in told["scale"]:
                ui.element("span").style(f"background: {colour}")
        textual("span", " 1")


def compare_page(
    state: AppState, catalog: Catalog, names: Sequence[str], of: str, number: int
) -> None:
    """Show the page; after a reload with the forecast that was asked for."""
    entries, lines = find(catalog, names)
    for line in lines:
        problem(line)
    job = state.desk.get(number)
    _Compare(state, catalog, entries, of, job if job and job.kind == "forecast" else None)
