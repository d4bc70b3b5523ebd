"""All jobs: what waits, what runs, what came of the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nicegui import ui

from promptport.app.jobs import Job
from promptport.app.state import AppState
from promptport.app.views.elements import textual
from promptport.app.views.results import show_result
from promptport.app.views.waiting import job_card

_LOOK = 1.0  # seconds between two looks for new jobs


def jobs_page(state: AppState) -> None:
    """Show the list."""
    textual(
        "p",
        "Jobs go on when their page is closed. They are forgotten when the server ends; the "
        "prompts that they made stay in the library.",
        "pp-note",
    )
    job_list(state, (), "Nothing was asked yet: try, move or combine prompts.", level="h2")


def job_list(state: AppState, kinds: Sequence[str], empty: str, *, level: str = "h3") -> None:
    """Cards of jobs, the newest first; new ones appear by themselves.

    Args:
        state: of the server.
        kinds: only these; none for all.
        empty: what is said where there is none.
        level: tag of the headings.
    """
    place = ui.element("div")
    shown: list[int] = [-1]

    def look() -> None:
        jobs: Sequence[Job] = state.desk.jobs(kinds=kinds)
        numbers = [job.number for job in jobs]
        if numbers == shown:
            return
        shown[:] = numbers
        place.clear()
        with place:
            if not jobs:
                textual("p", empty, "pp-note")
            for job in jobs:
                job_card(state.desk, job, partial(show_result, job), level=level)

    look()
    ui.timer(_LOOK, look)
