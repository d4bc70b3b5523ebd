"""Where tune writes, and what it tells of the prompts that it made."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.attention import AVERAGED, is_attention
from promptport.cli.console import (
    check_other_prompt,
    check_out,
    command_line,
    note,
    origin_folder,
    print_json,
    print_table,
    say,
    task_options,
    written,
)
from promptport.errors import PromptPortError, TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.tuning import JointResult, TuneConfig, TuneJob, TuneResult

_MOST_MANUAL = 4  # tasks whose manual templates are scored as well


def folders_of(out: Path, jobs: Sequence[TuneJob]) -> list[Path]:
    """The folder of each job: `out` itself if there is one."""
    return [out] if len(jobs) == 1 else [out / job.label for job in jobs]


def check_folders(
    out: Path,
    jobs: Sequence[TuneJob],
    backbones: Sequence[str],
    *,
    library: Sequence[Path],
    origin: str | None,
    together: bool,
    attention: bool,
    force: bool,
) -> None:
    """Refuse places where a run would write over something else.

    Args:
        out: what the user gave.
        jobs: of the run.
        backbones: models that prompts are made for; several have a folder each.
        library: folders that the run starts from.
        origin: what the user gave with `--origin`.
        together: one prompt is made for all jobs.
        attention: attention folders are written.
        force: prompts of other tasks may go.

    Raises:
        PromptPortError: a folder that is read is written, or holds prompts of others.
    """
    _check_names(backbones)
    if together:
        places = [(out, " + ".join(job.task.name for job in jobs))]
    else:
        named = zip(folders_of(out, jobs), (job.task.name for job in jobs), strict=True)
        places = [
            (base if len(backbones) == 1 else base / Path(name).name, task)
            for base, task in named
            for name in backbones
        ]
    read = [*library, *_entries(library), *origin_folder(origin)]
    for folder, task in places:
        again = folder / AVERAGED if attention and is_attention(folder) else None
        check_out(folder, *read, own=again)
        check_other_prompt(folder, task, force=force)


def dev_scores(folders: Sequence[Path]) -> dict[Path, float]:
    """Dev scores of the prompts that stand in folders, as far as they are known."""
    from promptport.catalog.facts import read_folder_facts
    from promptport.catalog.layout import CONFIG_FILE

    found = {}
    for folder in (each for each in folders if (each / CONFIG_FILE).is_file()):
        with contextlib.suppress(PromptPortError, OSError, ValueError, TypeError, KeyError):
            score = read_folder_facts(folder).dev_score
            if score is not None:
                found[folder] = score
    return found


def note_worse(
    before: Mapping[Path, float], folders: Sequence[Path], results: Sequence[TuneResult]
) -> None:
    """Tell where a better prompt stood before.

    Args:
        before: dev scores of what stood in the folders.
        folders: of the results.
        results: that stand there now.
    """
    for folder, result in zip(folders, results, strict=True):
        old = before.get(folder, -math.inf)
        if result.prompt is not None and result.dev_score < old:
            note(
                f"{folder} held a prompt that scored {old:.3f} on dev rows, and now holds this one "
                f"({result.dev_score:.3f}); another --out keeps both"
            )


def _entries(library: Sequence[Path]) -> list[Path]:
    """The prompt and vector folders of a library."""
    from promptport.library.folders import library_folders

    return list(library_folders(list(library))[0].values()) if library else []


def _check_names(backbones: Sequence[str]) -> None:
    """Refuse backbones whose prompts would go to one folder."""
    names = [Path(name).name for name in backbones]
    twice = [name for name in backbones if names.count(Path(name).name) > 1]
    if twice:
        raise TuningError(
            "--with",
            expected="backbones with different names, for their folders",
            got=", ".join(twice),
            fix="Rename or link one of the model folders",
        )


def save_results(results: Sequence[TuneResult], folders: Sequence[Path]) -> None:
    """Write the prompts that there are."""
    from promptport.storage import save_prompt

    for result, folder in zip(results, folders, strict=True):
        if result.prompt is not None:
            save_prompt(result.prompt, folder)


def summaries(
    results: Sequence[TuneResult],
    folders: Sequence[Path],
    model: Backbone,
    config: TuneConfig,
) -> list[dict[str, Any]]:
    """What came out, beside what is known without a prompt on the same dev rows.

    Returns:
        Per prompt, `TuneResult.to_dict` with `folder` (None if it failed), `baselines` (name ->
        dev score), `verdict`, and `gains_over_template` (False where the manual template with its
        label prior taken off does as well).
    """
    from promptport.analysis.verdict import dev_verdict, gains_over_template
    from promptport.tuning.baselines import dev_baselines

    tasks = {result.job.task.name: result.job.task for result in results}
    compared = {
        name: dev_baselines(model, task, config, manual=len(tasks) <= _MOST_MANUAL)
        for name, task in tasks.items()
    }
    told = []
    for result, folder in zip(results, folders, strict=True):
        task = result.job.task
        others = compared[task.name]
        done = result.prompt is not None
        told.append(
            {
                **result.to_dict(),
                "folder": str(folder) if done else None,
                "baselines": {name: score.value for name, score in others.items()},
                "verdict": dev_verdict(result.dev_score, task, others) if done else None,
                "gains_over_template": done and gains_over_template(result.dev_score, others),
            }
        )
    return told


def report_prompts(
    told: list[dict[str, Any]],
    backbone: str,
    seconds: float,
    references: Sequence[str],
    data: Path | None,
    json_output: bool,
) -> None:
    """Tell how the prompts do on dev, where they are and what to do next.

    Args:
        told: as `summaries` gives it.
        backbone: its name.
        seconds: of the run.
        references: of the tasks, as the user wrote them.
        data: what the user gave with `--data`.
        json_output: as JSON.
    """
    if json_output:
        print_json({"backbone": backbone, "seconds": seconds, "prompts": told})
        return
    names = list(dict.fromkeys(name for one in told for name in one["baselines"]))
    rows = [
        [
            one["name"],
            one["dev_score"] if one["folder"] else None,
            *(one["baselines"].get(name) for name in names),
            one["epochs"],
            one["steps"],
            one["error"] or one["stopped"],
        ]
        for one in told
    ]
    columns = ["prompt", "dev score", *names, "epochs", "steps", "stopped"]
    plural = "prompt" if len(rows) == 1 else "prompts"
    print_table(f"{len(rows)} {plural} tuned in {seconds:.1f} s", columns, rows)
    skipped = sum(one["skipped_rows"] for one in told)
    if skipped:
        say(f"{skipped} training rows were left out: their object is several tokens.")
    saved = [one for one in told if one["folder"]]
    if not saved:
        return
    if len(told) == 1:
        say(f"Verdict: {saved[0]['verdict']}")
    elif idle := [one["name"] for one in saved if not one["gains_over_template"]]:
        say(
            f"{len(idle)} of {len(told)} do not beat the manual template with its label prior "
            f"taken off: {', '.join(idle)}"
        )
    reference = references[0] if len(references) == 1 or saved[0] is told[0] else None
    following = command_line("eval", saved[0]["folder"], **task_options(reference, data))
    place = saved[0]["folder"] if len(told) == 1 else Path(saved[0]["folder"]).parent
    written(place, "Score it on the test rows", following)


def report_joint(
    results: Sequence[JointResult],
    backbones: Sequence[str],
    out: Path,
    seconds: float,
    json_output: bool,
) -> None:
    """Save one folder per prompt and backbone, and tell how they do.

    Raises:
        TuningError: a prompt failed; the others are saved.
    """
    from promptport.storage import save_prompt

    told: list[dict[str, Any]] = []
    for result in results:
        base = out if len(results) == 1 else out / result.job.label
        folders = []
        for name, prompt in zip(backbones, result.prompts, strict=bool(result.prompts)):
            folders.append(base / Path(name).name)
            save_prompt(prompt, folders[-1])
        told.append(
            {
                "name": result.job.label,
                "dev_scores": dict(zip(backbones, result.dev_scores, strict=False)),
                "steps": result.steps,
                "stopped": result.stopped,
                "error": result.error,
                "folders": [str(folder) for folder in folders],
            }
        )
    if json_output:
        print_json({"backbones": list(backbones), "seconds": seconds, "prompts": told})
    else:
        rows = [
            [one["name"], one["dev_scores"], one["steps"], one["error"] or one["stopped"]]
            for one in told
        ]
        columns = ["mixture", "dev score", "steps", "stopped"]
        print_table(f"{len(rows)} tuned jointly in {seconds:.1f} s", columns, rows)
        written(", ".join(folder for one in told for folder in one["folders"]))
    failed = [result for result in results if not result.prompts]
    if failed:
        raise TuningError(
            failed[0].job.label,
            expected="a finite loss",
            got=str(failed[0].error),
            fix="Lower --lr",
        )
