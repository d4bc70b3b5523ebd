"""What promptport tune starts from besides an origin: a library, or other tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptport.cli.console import command_line, print_json, print_table, say, tell
from promptport.cli.library.shared import open_library
from promptport.errors import TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.tuning import TuneConfig, TuneJob
    from promptport.tuning.multitask import TogetherResult

WAYS = ("text", "labels", "mean", "sum", "attention")
_MOST_LABELLED = 100


def check_start(
    start: str | None, library: list[Path] | None, together: str | None, *, mixed: bool
) -> None:
    """Refuse options that do not go together, before anything is loaded.

    Raises:
        TuningError: an unknown way, one of --start and --library alone, or both with options that
            decide the start otherwise.
    """
    wrong = None
    if start is not None and start not in WAYS:
        wrong = "--start", ", ".join(WAYS), repr(start), "Choose one of them"
    elif (start is None) != (not library):
        here, other = ("--start", "--library") if start else ("--library", "--start")
        wrong = here, f"{other} with it", "none", f"Add {other}, or leave {here} out"
    elif together is not None and together not in ("one", "factors"):
        wrong = "--together", "one or factors", repr(together), "Choose one of them"
    elif mixed and (start or together):
        name = "--start" if start else "--together"
        wrong = name, "free vectors", "a mixture prompt", "Leave one of the two out"
    elif start and together:
        wrong = "--together", "no --start", "both", "Leave one of the two out"
    if wrong is not None:
        name, expected, got, fix = wrong
        raise TuningError(name, expected=expected, got=got, fix=fix)


def started(
    jobs: list[TuneJob],
    model: Backbone,
    way: str,
    library: list[Path],
    config: TuneConfig,
    data: Path | None,
) -> list[TuneJob]:
    """The jobs, each starting from a prompt that a library gives.

    Raises:
        PromptPortError: folders that cannot be used, or prompts of another length.
    """
    from promptport.library.starts import start_from

    opened = open_library(library, data=data).on(model)
    begun = []
    for job in jobs:
        start = start_from(job, model, opened, way, config)
        say(start.said)
        begun.append(start.job)
    return begun


def report_together(result: TogetherResult, out: Path, seconds: float, json_output: bool) -> None:
    """Save the prompt of several tasks and tell how each of them does with it."""
    from promptport.storage import save_prompt

    save_prompt(result.prompt, out)
    tuning = result.prompt.provenance.tuning or {}
    scores = dict(zip(tuning["together"], result.dev_scores, strict=True))
    if json_output:
        print_json(
            {
                "backbone": result.prompt.provenance.backbone,
                "seconds": seconds,
                "way": tuning["way"],
                "dev_scores": scores,
                "steps": result.steps,
                "stopped": result.stopped,
                "folder": str(out),
            }
        )
        return
    title = f"{len(scores)} tasks tuned together in {seconds:.1f} s ({result.steps} steps)"
    print_table(title, ["task", "dev score"], [list(item) for item in scores.items()])
    following = command_line("tune", task="TASK", origin=out)
    tell(f"Written to {out}. Start from it: {following}")
