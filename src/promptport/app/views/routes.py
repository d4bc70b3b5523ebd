"""Addresses of the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Query
from nicegui import run, ui

from promptport.app.filters import Filters
from promptport.app.state import AppState
from promptport.app.views.combine_view import combine_page
from promptport.app.views.compare_view import compare_page
from promptport.app.views.elements import problem
from promptport.app.views.hub_view import hub_page
from promptport.app.views.jobs_view import jobs_page
from promptport.app.views.keeping_view import removed_section
from promptport.app.views.library_view import library_page
from promptport.app.views.move_view import move_page
from promptport.app.views.prompt_view import prompt_page
from promptport.app.views.shell import shell
from promptport.app.views.try_view import try_page
from promptport.catalog import Catalog
from promptport.errors import PromptPortError

_PATIENCE = 60.0  # seconds to build a page: a library without its index is read first


def add_pages(state: AppState) -> None:
    """Make all pages known to the server."""

    async def library(
        q: str = "",
        task: str = "",
        model: str = "",
        kind: str = "",
        label: str = "",
        sort: str = "",
        n: int = 0,
    ) -> None:
        filters = Filters(q, task, model, kind, label, sort, n)
        await _shown(state, "Library", lambda catalog: library_page(state, catalog, filters))

    async def prompt(name: str = "") -> None:
        await _shown(state, name, lambda catalog: prompt_page(state, catalog, name))

    async def attempt(p: Annotated[list[str], Query()] = [], job: int = 0) -> None:  # noqa: B006
        await _shown(state, "Try", lambda catalog: try_page(state, catalog, p, job))

    async def compare(
        p: Annotated[list[str], Query()] = [],  # noqa: B006
        of: str = "prompts",
        job: int = 0,
    ) -> None:
        await _shown(state, "Compare", lambda catalog: compare_page(state, catalog, p, of, job))

    async def move(p: str = "") -> None:
        await _shown(state, "Move", lambda catalog: move_page(state, catalog, p))

    async def combine(p: Annotated[list[str], Query()] = []) -> None:  # noqa: B006
        await _shown(state, "Combine", lambda catalog: combine_page(state, catalog, p))

    async def hub(p: str = "") -> None:
        try:
            catalog = await run.io_bound(state.catalog)
        except PromptPortError:  # nothing is there yet: something can be got
            catalog = None
        with shell(state, "Hub"):
            hub_page(state, catalog, p)

    async def jobs() -> None:
        with shell(state, "Jobs"):
            jobs_page(state)

    pages = {
        "/": library,
        "/prompt": prompt,
        "/try": attempt,
        "/compare": compare,
        "/move": move,
        "/combine": combine,
        "/hub": hub,
        "/jobs": jobs,
    }
    for path, build in pages.items():
        ui.page(path, response_timeout=_PATIENCE)(build)


async def _shown(state: AppState, title: str, show: Callable[[Catalog], Any]) -> None:
    """A page on the library as it is now, or a line on why it cannot be read."""
    try:
        catalog = await run.io_bound(state.catalog)
    except PromptPortError as error:
        with shell(state, title):
            problem(str(error))
            removed_section(state, ui.navigate.reload)
        return
    with shell(state, title):
        show(catalog)
