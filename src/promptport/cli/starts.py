"""What promptport tune starts from besides an origin: a library, or other tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from promptport.cli.console import print_json, print_table
from promptport.cli.library.loading import find_library, load_library
from promptport.errors import TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.library import Candidate
    from promptport.tasks import Task
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
        wrong = name, "free vectors", "an anchored prompt", "Leave one of the two out"
    elif start and together:
        wrong = "--together", "no --start", "both", "Leave one of the two out"
    if wrong is not None:
        name, expected, got, fix = wrong
        raise TuningError(name, expected=expected, got=got, fix=fix)


def started(
    job: TuneJob,
    model: Backbone,
    way: str,
    library: list[Path],
    config: TuneConfig,
    data: Path | None,
) -> TuneJob:
    """The job, starting from a prompt that a library gives.

    Raises:
        PromptPortError: folders that cannot be used, or prompts of another length.
    """
    from promptport.backbone import with_origin
    from promptport.library import rank
    from promptport.merging import merge
    from promptport.parameters import OriginSpec, make_origin
    from promptport.vector import TaskPromptVector, unique_labels

    candidates = sources(job, model, library, data)
    if way in ("mean", "sum"):
        known = {c.name: with_origin(c.prompt, model) for c in candidates}
        vectors = unique_labels({name: TaskPromptVector.of(p, name) for name, p in known.items()})
        origin = make_origin(job.origin, model, vectors[0].length)
        prompt = merge(vectors, method=way).apply(origin, job.origin.to_dict())
        typer.echo(f"{job.label} starts from the {way} of {len(vectors)} vectors", err=True)
    else:
        seen = _seen(job.task, config.max_train_rows)
        labelled = min(_MOST_LABELLED, len(seen.load("train"))) if way == "labels" else 0
        found = rank(
            model, candidates, seen, labelled=labelled, seed=job.seed, truncate=config.truncate
        )
        prompt = next(c.prompt for c in candidates if c.name == found.best)
        typer.echo(f"{job.label} starts from {found.best} (read: {found.touched})", err=True)
    return replace(job, origin=OriginSpec("prompt", job.seed, prompt=prompt))


def sources(
    job: TuneJob, model: Backbone, library: list[Path], data: Path | None
) -> list[Candidate]:
    """The prompts of a library for a job.

    Raises:
        PromptPortError: folders that cannot be used, or prompts of another length.
    """
    candidates = load_library(find_library(library), model, "seed:0", data)
    for candidate in candidates:
        if candidate.prompt.length != job.length:
            raise TuningError(
                f"--library, {candidate.name}",
                expected=f"{job.length} virtual tokens",
                got=str(candidate.prompt.length),
                fix="Set --length to the length of the library's prompts",
            )
    return candidates


def _seen(task: Task, most: int) -> Task:
    """The task with the training rows that tuning may see, so that ranking sees no others."""

    rows = task.load("train")[: most or None]
    return task.with_rows(train=rows)


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
    typer.echo(f"Written to {out}. Start from it: promptport tune --task TASK --origin {out}")
