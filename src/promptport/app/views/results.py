"""What came of jobs, as their cards show it."""

from __future__ import annotations

from typing import Any

from promptport.app.jobs import Job
from promptport.app.views.elements import (
    address,
    interval_bar,
    link,
    share_bar,
    table,
    tag,
    textual,
)


def show_result(job: Job, result: dict[str, Any]) -> None:
    """The result of a job that is listed."""
    {
        "move": show_moved,
        "combine": show_combined,
        "try": show_answers,
        "forecast": show_forecast,
        "push": show_pushed,
        "pull": show_pulled,
    }[job.kind](result)


def show_moved(result: dict[str, Any]) -> None:
    """The report of a move."""
    with tag("p"):
        textual("span", "Saved as ")
        link(result["name"], address("/prompt", name=result["name"]))
    expected = result["expected"]
    if expected is not None:
        with tag("div", "pp-measure"):
            interval_bar(expected["value"], expected["low"], expected["high"])
            textual(
                "span",
                f"expected score {expected['value']:.2f} "
                f"({expected['low']:.2f} to {expected['high']:.2f}); the source scored "
                f"{expected['source']:.3f} on dev rows when it was tuned",
            )
    for whose, score in result["scores"].items():
        with tag("div", "pp-measure"):
            interval_bar(score["value"], score["low"], score["high"])
            textual("span", f"{whose}: {score_text(score)}, test")
    textual("p", f"How far to trust it: {result['verdict']}")
    for line in result["warnings"]:
        if _letters(line) != _letters(result["verdict"]):
            textual("p", f"Warning: {line}", "pp-warn")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def show_combined(result: dict[str, Any]) -> None:
    """A combination that was saved."""
    with tag("p"):
        textual("span", "Saved as ")
        link(result["name"], address("/prompt", name=result["name"]))
    for line in result["notes"]:
        textual("p", f"Note: {line}", "pp-note")


def show_pushed(result: dict[str, Any]) -> None:
    """What was sent to the Hub, or would be."""
    if result["url"] is None:
        whose = "only you see it" if result["private"] else "everybody sees it"
        said = f"Nothing was sent yet. If {result['repo']} is made anew, {whose}."
    else:
        said = f"Sent: {result['url']}"
    textual("p", said)
    rows = [[name, f"{size:,} bytes"] for name, size in result["files"].items()]
    table("Files", ["file", "size"], rows, numbers=(1,))
    with tag("details"):
        textual("summary", "The model card")
        textual("pre", result["card"], "pp-card-text")


def show_pulled(result: dict[str, Any]) -> None:
    """What came from the Hub."""
    with tag("p"):
        textual("span", "Whole and readable; saved as ")
        link(result["name"], address("/prompt", name=result["name"]))
    told = (
        f"{result['model']}, {result['task'] or 'no task recorded'}; commit {result['commit'][:12]}"
    )
    textual("p", told, "pp-note")
    for line in result["notes"]:
        textual("p", f"Note: {line}", "pp-note")


def show_answers(result: dict[str, Any]) -> None:
    """What prompts answered, side by side."""
    rows: list[list[Any]] = []
    for own in result["answers"]:
        rows.append(
            [
                lambda own=own: link(own["name"], address("/prompt", name=own["name"])),
                own["model"] or "",
                own["task"] or "",
                lambda own=own: _answer(own),
                lambda own=own: _shares(own),
            ]
        )
    table("Answers, side by side", ["prompt", "model", "task", "answer", "probabilities"], rows)


def _answer(own: dict[str, Any]) -> None:
    if "error" in own:
        textual("span", own["error"], "pp-problem")
        return
    textual("span", own["answer"] or "(nothing)", "pp-answer-text")
    if own["truncated"]:
        textual("div", "Only the beginning of the text was read.", "pp-note")


def _shares(own: dict[str, Any]) -> None:
    if not own.get("probabilities"):
        textual("span", "written, not chosen" if own.get("writes") else "", "pp-note")
        return
    with tag("div", "pp-shares"):
        for number, (label, share) in enumerate(own["probabilities"]):
            textual("span", label)
            share_bar(share, "" if number == 0 else "pp-bar-soft")
            textual("span", f"{share:.1%}", "pp-number")


def show_forecast(result: dict[str, Any]) -> None:
    """Which task survives the sum of two prompts."""
    rows: list[list[Any]] = [
        [
            own["name"],
            own["task"],
            own["verdict"],
            f"{own['probability']:.0%}",
            f"{own['agreement']:.0%} ({own['low']:.0%} to {own['high']:.0%}) of {own['rows']}",
        ]
        for own in result["tasks"]
    ]
    columns = ["prompt", "task", "in the sum", "chance to be kept", "same answers as alone"]
    table("Forecast of the sum", columns, rows, numbers=(3,))
    for verdict, record in sorted(result["reliability"].items()):
        right = f"right for {record['right']:.0%} of"
        if verdict == "at risk":
            right = f"{record['right']:.0%} were kept of"
        textual("p", f"“{verdict}” in the benchmark: {right} {record['said']} tasks.", "pp-note")


def score_text(score: dict[str, Any]) -> str:
    """A score with its interval, in words."""
    return (
        f"{score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f}), {score['metric']} on "
        f"{score['rows']} rows"
    )
