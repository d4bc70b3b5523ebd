"""Move a prompt to another model: choose, watch, read the report."""

from __future__ import annotations

from nicegui import ui

from promptport.app.facts import free_name
from promptport.app.state import AppState, asked_of, find
from promptport.app.views.choosing import prompt_field
from promptport.app.views.elements import attributes, main_button, problem, section, tag, textual
from promptport.app.views.jobs_view import job_list
from promptport.catalog import Catalog
from promptport.catalog.changing import checked_name
from promptport.errors import PromptPortError
from promptport.history import public_name
from promptport.zoo import embedded_names

_KINDS = ("free", "mixture")
_TEXTS = {
    "auto": "unlabelled texts of its task, if there are some",
    "task": "unlabelled texts of its task",
    "words": "random words",
}
_EFFORTS = {0: "as usual", 100: "quick: 100 updates", 30: "a first look: 30 updates"}


class _Move:
    """The page while it is open."""

    def __init__(self, state: AppState, catalog: Catalog, name: str) -> None:
        self.state, self.catalog = state, catalog
        self.prompt = name
        note = (
            "The new prompt answers like the old one, on another model. No label is read, unless "
            "the scores are asked for."
        )
        with section("What, and where to", note=note):
            with tag("div", "pp-form pp-one"):
                prompt_field(
                    catalog,
                    [name] if name else [],
                    "Prompt to move",
                    self._choose,
                    several=False,
                    kinds=_KINDS,
                )
                known = dict.fromkeys([*embedded_names(), *catalog.backbones])
                self.to = ui.select(
                    list(known),
                    label="Model: choose, or write the path of a folder",
                    with_input=True,
                    new_value_mode="add-unique",
                    on_change=self._name_it,
                ).props("outlined dense")
                attributes(self.to, aria_label="Model to move to")
                self.texts = ui.select(_TEXTS, label="Both models are asked", value="auto")
                self.effort = ui.select(_EFFORTS, label="Effort", value=0)
                for field in (self.texts, self.effort):
                    field.props("outlined dense")
                attributes(self.texts, aria_label="What both models are asked")
                attributes(self.effort, aria_label="Effort")
                self.name = ui.input("Name of the new prompt").props("outlined dense")
            self.score = ui.checkbox("Then score both on the labelled test rows")
            self.refused = ui.element("div")
            with tag("div", "pp-row"):
                main_button("Move", self._move)

    def _choose(self, names: list[str]) -> None:
        self.prompt = names[0] if names else ""
        self._name_it()

    def _name_it(self) -> None:
        """Propose a name that tells both."""
        if self.prompt and self.to.value:
            wanted = f"{self.prompt}-{public_name(str(self.to.value))}"
            self.name.value = free_name(self.catalog, wanted)

    def _move(self) -> None:
        self.refused.clear()
        found, lines = find(self.catalog, [self.prompt] if self.prompt else [])
        if not found:
            self._refuse(lines[0] if lines else "Choose the prompt that is to be moved.")
            return
        to, name = str(self.to.value or "").strip(), str(self.name.value or "").strip()
        if not to:
            self._refuse("Choose a model, or write the path of its folder.")
            return
        try:
            checked_name(name)
        except PromptPortError as error:
            self._refuse(str(error).replace(" with --name", ""))
            return
        asked = {
            "prompt": asked_of(found[0]),
            "to": to,
            "name": name,
            "library": self.state.library,
            "texts": self.texts.value,
            "steps": self.effort.value or None,
            "score": bool(self.score.value),
        }
        self.state.desk.submit("move", f"Move {found[0].name} to {to}", asked)
        ui.notify("The move has begun: see below.", type="positive")

    def _refuse(self, line: str) -> None:
        with self.refused:
            problem(line)


def move_page(state: AppState, catalog: Catalog, name: str) -> None:
    """Show the page, with all moves that the server knows of."""
    _, lines = find(catalog, [name] if name else [])
    for line in lines:
        problem(line)
    _Move(state, catalog, "" if lines else name)
    textual("h2", "Moves")
    job_list(state, ("move",), "None yet.")
