"""promptport demo --real: the whole path on two pretrained models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.console import (
    HTML_MARK,
    check_file,
    command_line,
    goes_on,
    hint,
    interval,
    print_json,
    print_table,
    say,
    written,
)
from promptport.cli.console.progress import duration

if TYPE_CHECKING:
    from promptport.experiments.real_demo import RealDemoResult

FOLDER = Path("promptport-demo-real")
REVIEW = "The starter was cold, but I have rarely eaten a better main course."


def run(work: Path | None, out: Path | None, chosen: dict[str, Any], json_output: bool) -> None:
    """Run it, or what is left of it, and show what came of it.

    Args:
        work: folder that keeps it; None for `promptport-demo-real`.
        out: page to write; None for `report.html` in that folder.
        chosen: fields of `RealDemoSettings` that the user gave.
        json_output: print one object alone.
    """
    from promptport.experiments.real_demo import RealDemoSettings, run_real_demo
    from promptport.experiments.real_demo_page import write_real_report

    folder = work or FOLDER
    page = out or folder / "report.html"
    check_file(page, HTML_MARK)
    with goes_on("its last finished step", lambda: (folder / "steps").is_dir()):
        result = run_real_demo(
            folder,
            RealDemoSettings(**chosen),
            progress=lambda text: None if json_output else say(f"... {text}"),
        )
    following = _following(result)
    write_real_report(result, page, following)
    if json_output:
        print_json({**result.to_dict(), "report": str(page)})
    else:
        _show(result, page, following)


def _show(result: RealDemoResult, page: Path, following: dict[str, str]) -> None:
    source, target = result.names["source"], result.names["target"]
    on_source, on_target = result.scores["source"], result.scores["target"]
    rows = [
        [
            name,
            interval(on_source[name].to_dict()) if name in on_source else "",
            interval(score.to_dict()),
            f"{result.kept(name):.0%}",
            _share(result.gain_kept(name)),
        ]
        for name, score in on_target.items()
    ]
    columns = ["prompt", f"on {source}", f"on {target}", "kept", "of the gain"]
    title = f"{on_target['majority'].metric} on test reviews; the prompt is tuned on {source}"
    print_table(title, columns, rows)
    times = [[name, duration(seconds)] for name, seconds in result.seconds.items()]
    times.append(["all of it", duration(sum(result.seconds.values()))])
    print_table("time", ["step", ""], times)
    say(result.setup)
    say(
        f"kept: share of the score of a prompt tuned on {target} with labels; of the gain: the "
        "same of what lies above the majority."
    )
    say(result.verdict)
    written(f"{page}, a page with plots and intervals")
    for purpose, command in following.items():
        hint(purpose, command)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _following(result: RealDemoResult) -> dict[str, str]:
    """What can be done next -> the command."""
    folder = result.folder
    task = folder / "reviews" / "task.yaml"
    moved, again = folder / "moved", folder / "moved-again"
    return {
        "Ask the moved prompt": command_line("predict", moved, REVIEW, task=task),
        "Score it with its baselines": command_line("eval", moved, task=task, baselines=True),
        "Move the prompt once more": command_line(
            "move",
            folder / "tuned-source",
            to=result.models["target"],
            task=task,
            out=again,
        ),
        "Tune one of your own": command_line(
            "tune", backbone=result.models["source"], task=task, out=folder / "my-prompt"
        ),
    }
