"""promptport tune --start attention, and eval of what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.console import (
    STATE_FILE,
    command_line,
    load_backbone,
    print_json,
    print_table,
    say,
    task_options,
    written,
)
from promptport.cli.library.shared import open_library
from promptport.errors import TuningError
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.evaluation import Evaluation
    from promptport.tasks import Task
    from promptport.tuning import TuneConfig, TuneJob

AVERAGED = "averaged"  # the ordinary prompt, in the attention's folder
_OWN = "its own"


def tune_attentions(
    model: Backbone,
    jobs: Sequence[TuneJob],
    library: list[Path],
    config: TuneConfig,
    folders: Sequence[Path],
    *,
    data: Path | None,
) -> list[dict[str, Any]]:
    """Tune a prompt and its attention over a library for each job, save both, and tell of them.

    Each folder keeps the state of its run until all are saved, so that the same call goes on.

    Raises:
        PromptPortError: folders that cannot be used, or settings that attention does not know.
    """
    from promptport.evaluation import score_prompts
    from promptport.library.starts import of_length
    from promptport.storage import save_prompt
    from promptport.storage.attention_folder import save_attention
    from promptport.tuning import tune_attention

    opened = open_library(library, data=data)
    found = []
    states = [folder / STATE_FILE for folder in folders]
    for job, folder, state in zip(jobs, folders, states, strict=True):
        prompts = of_length(opened, model, job.length)
        began = state.exists()
        try:
            tuned = tune_attention(model, job, list(prompts.values()), config, state=state)
        except TuningError:
            if began and not state.exists():  # it failed: all begin anew with other settings
                _remove(states)
            raise
        with stage(f"scoring {job.label} on dev rows"):
            own = tuned.evaluate("dev", rows=config.max_dev_rows)
        with stage(f"scoring the averaged prompt of {job.label} on dev rows"):
            averaged = tuned.averaged(rows=config.max_train_rows)
            ((plain,),) = score_prompts(
                model,
                [averaged],
                [tuned.task],
                split="dev",
                rows=config.max_dev_rows,
                truncate=config.truncate,
            )
        names = list(prompts)
        weights = (averaged.provenance.tuning or {})["attention"]
        save_attention(tuned, folder)
        save_prompt(averaged, folder / AVERAGED)
        found.append(
            {
                "name": job.label,
                "dev_score": own.score.value,
                "dev_loss": own.loss,
                "attention": dict(zip([*names, _OWN], weights, strict=True)),
                "folder": str(folder),
                "averaged": {
                    "dev_score": plain.score.value,
                    "dev_loss": plain.loss,
                    "folder": str(folder / AVERAGED),
                },
            }
        )
    _remove(states)
    return found


def _remove(states: Sequence[Path]) -> None:
    for state in states:
        state.unlink(missing_ok=True)


def report_attentions(
    found: Sequence[dict[str, Any]],
    backbone: str,
    seconds: float,
    references: Sequence[str],
    data: Path | None,
    json_output: bool,
) -> None:
    """Tell how they do on dev, and what came out.

    Args:
        found: as `tune_attentions` gives it.
        backbone: its name.
        seconds: of the run.
        references: of the tasks, as the user wrote them.
        data: what the user gave with `--data`.
        json_output: as JSON.
    """
    if json_output:
        print_json({"backbone": backbone, "seconds": seconds, "attentions": list(found)})
        return
    rows = [
        [f["name"], f["dev_score"], f["averaged"]["dev_score"], f["attention"], f["folder"]]
        for f in found
    ]
    columns = ["prompt", "dev score", "averaged: dev score", "mean attention", "folder"]
    print_table(f"{len(rows)} tuned with attention in {seconds:.1f} s", columns, rows)
    place = found[0]["folder"]
    following = command_line("eval", place, **task_options(references[0], data))
    written(
        place, "Each row has its own prompt, which no prompt folder can hold. Score it", following
    )
    say(f"{place}/{AVERAGED} is the ordinary prompt of the mean attention.")


def is_attention(place: Path) -> bool:
    """Whether a folder holds an attention and no prompt."""
    from promptport.catalog.layout import ATTENTION_FILE, CONFIG_FILE

    return (place / ATTENTION_FILE).is_file() and not (place / CONFIG_FILE).is_file()


def score_attention(
    place: Path, task: Task, split: str, backbone: str | None, truncate: bool, **loading: Any
) -> tuple[Backbone, Evaluation]:
    """The backbone of an attention folder, and how it does on a task.

    Raises:
        PromptPortError: a damaged folder, or a task that does not fit.
    """
    from promptport.storage.attention_folder import attention_provenance
    from promptport.tuning import load_attention

    model = load_backbone(attention_provenance(place), backbone, place, **loading)
    prompts = load_attention(place, model, task)
    return model, replace(prompts, truncate=prompts.truncate or truncate).evaluate(split)
