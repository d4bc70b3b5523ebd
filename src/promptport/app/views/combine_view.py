"""Combine prompts: sliders for their coefficients, and what the sum scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import context, ui

from promptport.app.facts import LOADABLE, free_name, one_model
from promptport.app.jobs import Job
from promptport.app.state import AppState, asked_of, find
from promptport.app.views.choosing import nothing_chosen, prompt_field
from promptport.app.views.elements import (
    address,
    attributes,
    interval_bar,
    main_button,
    problem,
    section,
    table,
    tag,
    textual,
)
from promptport.app.views.jobs_view import job_list
from promptport.app.views.waiting import when_over
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.changing import checked_name
from promptport.errors import PromptPortError

_LOW, _HIGH, _STEP = -2.0, 2.0, 0.05
_ROWS = {16: "16 dev rows", 64: "64 dev rows", 0: "all dev rows"}
_PAUSE = 0.25  # seconds without a change after which a sum is scored


class _Combine:
    """The page while it is open."""

    def __init__(self, state: AppState, catalog: Catalog, entries: Sequence[CatalogEntry]) -> None:
        self.state, self.catalog = state, catalog
        self.entries = list(entries)
        self.coefficients: dict[str, float] = {}
        self.rows = 64
        self.key = f"sum of {context.client.id}"  # of two pages each has its own newest sum
        self._due: ui.timer | None = None
        with section("Choose"):
            names = [entry.name for entry in self.entries]
            prompt_field(catalog, names, "Prompts of one model and one length", self._choose)
        self.place = ui.element("div")
        self._show()

    def _choose(self, names: list[str]) -> None:
        self.entries, _ = find(self.catalog, names)
        ui.navigate.history.replace(address("/combine", p=names))
        self._show()

    def _show(self) -> None:
        self.place.clear()
        usable = [entry for entry in self.entries if entry.kind in LOADABLE]
        kept = self.coefficients
        self.coefficients = {entry.name: kept.get(entry.name, 1.0) for entry in usable}
        with self.place:
            if not usable:
                nothing_chosen("Choose two prompts of one model and one length, or more.")
                return
            if not one_model(self.catalog, usable):
                models = ", ".join(dict.fromkeys(entry.backbone for entry in usable))
                problem(f"Prompts of one model can be combined; these belong to {models}.")
                return
            with tag("div", "pp-two"):
                with section("Coefficients"):
                    self._show_sliders(usable)
                with section("Scores on dev rows"):
                    self._show_scores()
            with section("Keep it"):
                self._show_keep(usable)
        self._later()

    def _show_sliders(self, usable: Sequence[CatalogEntry]) -> None:
        note = (
            "The sum of what tuning added to each, on the origin of the first. 1 adds a prompt as "
            "it is, 0 leaves it out, a negative number takes it off."
        )
        textual("p", note, "pp-note")
        for entry in usable:
            with tag("div", "pp-slider"):
                with tag("div"):
                    textual("div", entry.name)
                    textual("div", entry.task or "no task", "pp-note")
                self._show_slider(entry.name)

    def _show_slider(self, name: str) -> None:
        """A slider and a number that follow each other."""
        now = self.coefficients[name]
        # The browser's own slider: it has keys and a name for screen readers.
        slider = attributes(
            ui.element("input"),
            type="range",
            min=_LOW,
            max=_HIGH,
            step=_STEP,
            aria_label=f"Coefficient of {name}",
        )
        slider.props["^value"] = now  # at first; later it is the browser's, which Vue leaves alone
        number = ui.number(value=now, min=_LOW, max=_HIGH, step=_STEP, format="%.2f")
        number.props("outlined dense")
        attributes(number, aria_label=f"Coefficient of {name} as a number")

        def slid(event: Any) -> None:
            value = float(event.args)
            self.coefficients[name] = round(value, 4)
            number.value = self.coefficients[name]
            self._later()

        def written(event: Any) -> None:
            value = event.value
            if value is None or not _LOW <= value <= _HIGH:  # while it is being written
                return
            if self.coefficients[name] != round(float(value), 4):
                self.coefficients[name] = round(float(value), 4)
                shown = self.coefficients[name]  # a number, nothing else goes into the code
                ui.run_javascript(f"getHtmlElement({slider.id}).value = {shown:f}")
                self._later()

        slider.on("input", slid, js_handler="(event) => emit(event.target.value)", throttle=0.1)
        number.on_value_change(written)

    def _show_scores(self) -> None:
        field = ui.select(_ROWS, label="Scored on", value=self.rows, on_change=self._set_rows)
        field.props("outlined dense")
        attributes(field, aria_label="How many dev rows are scored")
        self.status = attributes(textual("p", "", "pp-note"), role="status")
        self.scores = ui.element("div")

    def _set_rows(self, event: Any) -> None:
        self.rows = int(event.value)
        self._later()

    def _later(self) -> None:
        """Score the sum once nothing changes for a moment."""
        if self._due is not None:
            self._due.cancel()
        with self.place:
            self._due = ui.timer(_PAUSE, self._score, once=True)

    def _parts(self) -> list[dict[str, Any]]:
        usable = [entry for entry in self.entries if entry.name in self.coefficients]
        return [asked_of(e) | {"coefficient": self.coefficients[e.name]} for e in usable]

    def _score(self) -> None:
        parts = self._parts()
        if not parts:
            return
        job = self.state.desk.submit(
            "score sum",
            "Score a sum",
            {"parts": parts, "rows": self.rows},
            lane="quick",
            listed=False,
            key=self.key,
        )
        self.status.set_text("Scoring ...")
        with self.place:
            when_over(job, self._show_scored)

    def _show_scored(self, job: Job) -> None:
        if job.state == "cancelled":  # a newer one is on its way
            return
        if job.asked["parts"] != self._parts() or job.asked["rows"] != self.rows:
            return
        self.scores.clear()
        with self.scores:
            if job.result is None:
                self.status.set_text("")
                problem(job.error or "")
                return
            self.status.set_text(f"Scored in {job.seconds:.1f} s.")
            rows: list[list[Any]] = []
            for own in job.result["scores"]:
                rows.append(
                    [
                        own["task"],
                        lambda own=own: _measured(own["alone"]),
                        lambda own=own: _measured(own["sum"]),
                    ]
                )
            table("Scores of the sum", ["task", "its prompt alone", "the sum"], rows)
            if job.result["scores"]:
                first = job.result["scores"][0]["sum"]
                said = f"{first['metric']}, with 95% intervals; {first['rows']} rows"
                textual("p", said + " of the first task.", "pp-note")
            for name in job.result["left_out"]:
                textual("p", f"The task of {name} cannot be opened.", "pp-note")

    def _show_keep(self, usable: Sequence[CatalogEntry]) -> None:
        wanted = "-".join(dict.fromkeys(entry.task or entry.name for entry in usable[:3]))
        with tag("div", "pp-form"):
            name = ui.input(
                "Name of the new prompt", value=free_name(self.catalog, f"sum-{wanted}")
            ).props("outlined dense")
            main_button("Save", lambda: self._keep(str(name.value or "").strip()))
        self.refused = ui.element("div")
        job_list(self.state, "combine", "Nothing was saved yet.")

    def _keep(self, name: str) -> None:
        self.refused.clear()
        try:
            checked_name(name)
        except PromptPortError as error:
            with self.refused:
                problem(str(error).replace(" with --name", ""))
            return
        parts = self._parts()
        asked = {"parts": parts, "name": name, "library": self.state.library}
        told = " + ".join(f"{part['coefficient']:g} {part['name']}" for part in parts)
        self.state.desk.submit("combine", f"Save {told}", asked, lane="quick")


def _measured(score: dict[str, Any]) -> None:
    with tag("span", "pp-stacked"):
        interval_bar(score["value"], score["low"], score["high"])
        textual("span", f"{score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f})")


def combine_page(state: AppState, catalog: Catalog, names: Sequence[str]) -> None:
    """Show the page."""
    entries, lines = find(catalog, names)
    for line in lines:
        problem(line)
    _Combine(state, catalog, entries)
