"""Showing jobs: while they wait and run, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui

from promptport.app.jobs import Desk, Job
from promptport.app.views.elements import attributes, problem, tag, textual

_LOOK = 0.25  # seconds between two looks at a job
Show = Callable[[dict[str, Any]], Any]
_SAID = {
    "waiting": "Waiting",
    "running": "Running",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


def when_over(job: Job, then: Callable[[Job], Any]) -> None:
    """Call a function once a job is over: at once if it is; where it was asked, on the page."""
    if job.is_over:
        then(job)
        return

    def look() -> None:
        if job.is_over:
            timer.deactivate()
            then(job)

    timer = ui.timer(_LOOK, look)


def answer_of(job: Job, waiting: str, show: Show) -> None:
    """A place for what comes of a job that a page asked by itself.

    Args:
        job: asked.
        waiting: what is said until it is over.
        show: shows its result.
    """
    with tag("div", "pp-answer", role="status", aria_live="polite") as place:
        if not job.is_over:
            textual("p", waiting, "pp-note")

    def over(job: Job) -> None:
        place.clear()
        with place:
            if job.result is not None:
                show(job.result)
            elif job.state == "failed":
                textual("p", job.error or "", "pp-problem")

    when_over(job, over)


def job_card(desk: Desk, job: Job, show: Show, *, level: str = "h3") -> None:
    """All of a job: what it is, how far, what was said, what came of it.

    Args:
        desk: where it is done.
        job: to show.
        show: shows its result.
        level: tag of its heading.
    """
    with tag("article", "pp-job", aria_label=job.title):
        with tag("div", "pp-job-head"):
            textual(level, job.title)
            state = textual("span", "", "pp-state")
            attributes(state, role="status")
            cancel = ui.button("Cancel", on_click=lambda: desk.cancel(job.number))
            cancel.props("outline dense no-caps")
            attributes(cancel, aria_label=f"Cancel: {job.title}")
        bar = ui.linear_progress(show_value=False, size="8px").props("rounded instant-feedback")
        attributes(bar, aria_label=f"Progress: {job.title}")
        progress = textual("p", "", "pp-note")
        notes = ui.element("div")
        result = ui.element("div")
    seen = {"changes": -1, "notes": 0, "shown": False}

    def look() -> None:
        seconds = f", {job.seconds:.0f} s" if job.began is not None else ""
        said = _SAID[job.state] + (seconds if job.is_over or job.seconds >= 1 else "")
        if state.text != said and (job.is_over or job.changes != seen["changes"] or seconds):
            state.set_text(said)
        if job.changes == seen["changes"]:
            return
        seen["changes"] = job.changes
        state.classes(replace=f"pp-state pp-state-{job.state}")
        progress.set_text(job.progress)
        bar.set_visibility(not job.is_over)
        cancel.set_visibility(not job.is_over)
        progress.set_visibility(bool(job.progress))
        if job.share is None:
            bar.props("indeterminate")
        else:
            bar.props(remove="indeterminate")
            bar.set_value(round(job.share, 3))
        with notes:
            for line in job.notes[seen["notes"] :]:
                textual("p", line, "pp-note")
            seen["notes"] = len(job.notes)
        if job.is_over and not seen["shown"]:
            seen["shown"] = True
            with result:
                if job.result is not None:
                    show(job.result)
                elif job.error is not None:
                    problem(job.error)

    def look_again() -> None:
        look()
        if job.is_over:
            timer.deactivate()

    look()
    if not job.is_over:
        timer = ui.timer(_LOOK, look_again)
