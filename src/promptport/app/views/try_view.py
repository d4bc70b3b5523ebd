"""Try prompts: one text, the answers of several prompts side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nicegui import ui

from promptport.app.facts import LOADABLE, text_fields
from promptport.app.jobs import Job
from promptport.app.state import AppState, asked_of, find
from promptport.app.views.choosing import nothing_chosen, prompt_field
from promptport.app.views.elements import (
    address,
    attributes,
    main_button,
    problem,
    section,
    tag,
    textual,
)
from promptport.app.views.results import show_result
from promptport.app.views.waiting import job_card
from promptport.catalog import Catalog

_LONGEST = 100_000  # characters of a text


class _Try:
    """The page while it is open."""

    def __init__(
        self, state: AppState, catalog: Catalog, names: Sequence[str], job: Job | None
    ) -> None:
        self.state, self.catalog = state, catalog
        self.texts: dict[str, str] = dict(job.asked["fields"]) if job else {}
        before = [each["name"] for each in job.asked["prompts"]] if job and not names else names
        self.entries, lines = find(catalog, before)
        for line in lines:
            problem(line)
        with section("Ask"):
            prompt_field(catalog, [e.name for e in self.entries], "Prompts to ask", self._choose)
            self.form = ui.element("div")
        self.answers = attributes(ui.element("div"), aria_live="polite")
        self._show_form()
        if job is not None:
            self._show(job)

    def _choose(self, names: list[str]) -> None:
        self.entries, _ = find(self.catalog, names)
        self._show_form()
        ui.navigate.history.replace(address("/try", p=names))

    def _show_form(self) -> None:
        self.form.clear()
        with self.form:
            usable = [entry for entry in self.entries if entry.kind in LOADABLE]
            if not usable:
                nothing_chosen("Choose one prompt or more.")
                return
            fields = text_fields(usable, self.state.data)
            for name in fields:
                area = ui.textarea(
                    name.replace("_", " "),
                    value=self.texts.get(name, ""),
                    on_change=lambda e, name=name: self.texts.update({name: e.value or ""}),
                ).props(f"outlined autogrow maxlength={_LONGEST}")
                area.classes("w-full").on("keydown.ctrl.enter", lambda: self._ask(fields))
            with tag("div", "pp-row"):
                main_button("Ask", lambda: self._ask(fields))
                textual("span", "or Ctrl+Enter", "pp-note")

    def _ask(self, fields: Sequence[str]) -> None:
        texts: Mapping[str, str] = {name: self.texts.get(name, "") for name in fields}
        if not any(text.strip() for text in texts.values()):
            ui.notify("Write a text first.", type="warning")
            return
        asked = {"prompts": [asked_of(entry) for entry in self.entries], "fields": texts}
        first = next(text for text in texts.values() if text.strip())
        title = f"Try: {' '.join(first.split())[:60]}"
        job = self.state.desk.submit("try", title, asked, lane="quick")
        names = [entry.name for entry in self.entries]
        ui.navigate.history.replace(address("/try", p=names, job=job.number))
        self._show(job)

    def _show(self, job: Job) -> None:
        self.answers.clear()
        with self.answers:
            job_card(self.state.desk, job, lambda result: show_result(job, result), level="h2")


def try_page(state: AppState, catalog: Catalog, names: Sequence[str], number: int) -> None:
    """Show the page; after a reload with the answers that were asked for."""
    job = state.desk.get(number)
    _Try(state, catalog, names, job if job is not None and job.kind == "try" else None)
