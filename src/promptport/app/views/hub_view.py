"""The Hub: send a prompt there, and get one from there."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from promptport.app.facts import free_name
from promptport.app.state import AppState, asked_of, find
from promptport.app.views.choosing import prompt_field
from promptport.app.views.elements import attributes, main_button, problem, section, tag, textual
from promptport.app.views.jobs_view import job_list
from promptport.catalog import Catalog

_KINDS = ("free", "mixture")


class _Push:
    """The form that sends."""

    def __init__(self, state: AppState, catalog: Catalog, name: str) -> None:
        self.state, self.catalog, self.prompt = state, catalog, name
        note = (
            "A repository that is not there yet is made, and only you see it. The server must be "
            "logged in: hf auth login."
        )
        with section("Send a prompt", note=note):
            with tag("div", "pp-form pp-one"):
                prompt_field(
                    catalog,
                    [name] if name else [],
                    "Prompt to send",
                    self._choose,
                    several=False,
                    kinds=_KINDS,
                )
                self.repo = _field("Repository to send to, USER/NAME")
                self.base = _field("Hub id of its model, if it names a folder")
                self.licence = _field("Licence, for instance apache-2.0")
            self.public = ui.checkbox("Everybody sees a new repository")
            self.refused = ui.element("div")
            with tag("div", "pp-row"):
                main_button("Look first", lambda: self._send(dry_run=True))
                ui.button("Send", on_click=lambda: self._send(dry_run=False)).props(
                    "outline no-caps"
                )

    def _choose(self, names: list[str]) -> None:
        self.prompt = names[0] if names else ""

    def _send(self, *, dry_run: bool) -> None:
        self.refused.clear()
        found, lines = find(self.catalog, [self.prompt] if self.prompt else [])
        repo = _text(self.repo)
        if not found or not repo:
            line = lines[0] if lines else "Choose a prompt, and name a repository."
            with self.refused:
                problem(line)
            return
        asked = {
            "prompt": asked_of(found[0]),
            "repo": repo,
            "base_model": _text(self.base),
            "licence": _text(self.licence),
            "public": bool(self.public.value),
            "dry_run": dry_run,
        }
        title = (
            f"Look at {found[0].name} as {repo}" if dry_run else f"Send {found[0].name} to {repo}"
        )
        self.state.desk.submit("push", title, asked)


class _Pull:
    """The form that gets."""

    def __init__(self, state: AppState, catalog: Catalog | None) -> None:
        self.state, self.catalog = state, catalog
        note = "It is checked before it is in the library, and nothing of it is run."
        with section("Get a prompt", note=note):
            with tag("div", "pp-form pp-one"):
                self.repo = _field("Repository to get, USER/NAME or USER/NAME@REVISION")
                self.repo.on("blur", self._name_it)
                self.name = _field("Name of the new prompt")
            self.refused = ui.element("div")
            with tag("div", "pp-row"):
                main_button("Get", self._get)

    def _name_it(self) -> None:
        """Propose the name of the repository."""
        wanted = _text(self.repo).partition("@")[0].rpartition("/")[2]
        if wanted and not _text(self.name):
            self.name.value = wanted if self.catalog is None else free_name(self.catalog, wanted)

    def _get(self) -> None:
        self.refused.clear()
        self._name_it()
        repo, name = _text(self.repo), _text(self.name)
        if not repo:
            with self.refused:
                problem("Name a repository.")
            return
        asked = {"repo": repo, "name": name, "library": self.state.library}
        self.state.desk.submit("pull", f"Get {repo} as {name}", asked)


def _field(label: str) -> Any:
    field = ui.input(label).props("outlined dense")
    return attributes(field, aria_label=label)


def _text(field: Any) -> str:
    return str(field.value or "").strip()


def hub_page(state: AppState, catalog: Catalog | None, name: str) -> None:
    """Show the page, with all that was sent and got.

    Args:
        state: of the server.
        catalog: of the library; None while it holds nothing.
        name: of the prompt to send; empty for none.
    """
    if catalog is not None:
        _, lines = find(catalog, [name] if name else [])
        for line in lines:
            problem(line)
        _Push(state, catalog, "" if lines else name)
    _Pull(state, catalog)
    textual("h2", "Sent and got")
    job_list(state, ("push", "pull"), "Nothing yet.")
