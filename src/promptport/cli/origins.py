"""promptport origins: do the vectors of a task work on origins that they were not tuned from?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    TruncateFlag,
    home,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    task_of,
)
from promptport.errors import PromptPortError, TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task
    from promptport.tuning import TuneConfig, TuneJob

_STATE_FILE = ".tuning-state.safetensors"


def command(
    backbone: Annotated[
        str | None,
        typer.Option(help="Embedded name, model folder or Hub id; default: that of --prompt."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Task, see 'promptport tasks'; default: that of --prompt."),
    ] = None,
    prompt: Annotated[
        list[Path] | None,
        typer.Option(
            help="Judge the vector of this finished prompt, and tune nothing; repeat for several."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the prompts; those that are there are not tuned."),
    ] = None,
    origins: Annotated[int, typer.Option(help="Origins to tune from, each on its own.")] = 3,
    unseen: Annotated[int, typer.Option(help="Further origins that nothing is tuned from.")] = 3,
    over: Annotated[
        int, typer.Option(help="Tune each vector over so many origins at once: it moves better.")
    ] = 1,
    origin: Annotated[
        str, typer.Option(help="Their kind: vocabulary, normal, or vocabulary*0.1 (smaller).")
    ] = "vocabulary",
    data: DataOption = None,
    length: Annotated[int, typer.Option(help="Virtual tokens.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the first origin.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Rows per prompt and step.")] = 32,
    patience: Annotated[
        int, typer.Option(help="Epochs without a better dev score before a prompt stops; 0: never.")
    ] = 5,
    max_train_rows: Annotated[
        int, typer.Option(help="Use only so many training rows; 0: all.")
    ] = 0,
    max_dev_rows: Annotated[int, typer.Option(help="Use only so many dev rows; 0: all.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Tune a task from several origins, or take finished prompts; put each vector on all others."""
    quiet()
    from promptport.analysis import origin_independence
    from promptport.backbone import Backbone
    from promptport.tuning import OriginSpec, TuneConfig, TuneJob, make_origin

    given = prompt or []
    if given:
        refuse_together("--prompt", {"--out": out is not None, "--over": over != 1})
    finished, chosen, place = _finished(given, backbone, task, data)
    count = len(finished) or origins
    if count < 1 or unseen < 0 or count + unseen < 2:
        raise PromptPortError(
            "--origins and --unseen",
            expected="one origin or more to tune from, two or more together",
            got=f"{count} and {unseen}",
            fix="Leave them out for 3 and 3",
        )
    strangers = OriginSpec.parse(origin, seed + count + 500_000).others(unseen)
    if not finished:
        jobs = [
            TuneJob(chosen, OriginSpec.parse(origin, s), length, s, origins=over)
            for s in range(seed, seed + origins)
        ]
    config = TuneConfig(
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        truncate=truncate,
        max_train_rows=max_train_rows,
        max_dev_rows=max_dev_rows,
    )
    model = Backbone.load(**place, device=device, dtype=dtype, device_map=device_map)
    prompts = finished or _prompts(model, jobs, config, out, json_output)
    for each in prompts:
        model.check_prompt(each)
    found = origin_independence(
        model,
        chosen,
        prompts,
        unseen=[make_origin(spec, model, prompts[0].length) for spec in strangers],
        truncate=truncate,
    )
    names = [str(p) for p in given] or [f"origin {seed + i}" for i in range(len(prompts))]
    output = {"backbone": model.name, "vectors": names, "origin": origin, **found.to_dict()}
    if not given:
        output["over"] = over
    if json_output:
        print_json(output)
    else:
        _show(output)


def _finished(
    given: list[Path], backbone: str | None, task: str | None, data: Path | None
) -> tuple[list[SoftPrompt], Task, dict[str, Any]]:
    """Prompts that are there already, the task, and how to load the backbone."""
    from promptport.interop import load_prompt
    from promptport.tasks import open_task

    if given:
        prompts = [load_prompt(place) for place in given]
        chosen = task_of(prompts[0], task, data, "--task")
        return prompts, chosen, home(prompts[0].provenance, backbone)
    missing = {"--backbone": backbone, "--task": task}
    for option, value in missing.items():
        if value is None:
            raise PromptPortError(
                option, expected="a value", got="none", fix=f"Give {option}, or finished --prompt"
            )
    return [], open_task(task or "", data), {"name": backbone}


def _prompts(
    model: Backbone, jobs: list[TuneJob], config: TuneConfig, out: Path | None, hidden: bool
) -> list[SoftPrompt]:
    """Tuned prompts, one per job; those in the folder are read."""
    from promptport.interop import load_prompt, save_prompt
    from promptport.tuning import tune

    places = {job.label: out / job.label for job in jobs} if out is not None else {}
    found = {name: load_prompt(place) for name, place in places.items() if place.is_dir()}
    for job in jobs:
        if job.label in found:
            _check_same(found[job.label], job, places[job.label])
    missing = [job for job in jobs if job.label not in found]
    if missing:
        with progress_bar("tuning", hidden=hidden) as show:
            results = tune(
                model,
                missing,
                config,
                state=None if out is None else out / _STATE_FILE,
                progress=lambda p: show(p.step, p.total, f"{p.active} running"),
            )
        for result in results:
            if result.prompt is None:
                raise TuningError(
                    result.job.label,
                    expected="a finite loss",
                    got=str(result.error),
                    fix="Choose another origin",
                )
            found[result.job.label] = result.prompt
            if places:
                save_prompt(result.prompt, places[result.job.label])
    return [found[job.label] for job in jobs]


def _check_same(prompt: SoftPrompt, job: TuneJob, place: Path) -> None:
    """Refuse a kept prompt that was tuned otherwise."""
    tuned = prompt.provenance.tuning or {}
    here = (prompt.provenance.origin, prompt.length, tuned.get("origins", 1))
    asked = (job.origin.to_dict(), job.length, job.origins)
    if here != asked:
        raise PromptPortError(
            str(place),
            expected="a prompt of this origin, length and number of origins",
            got=", ".join(map(str, here)),
            fix="Name another --out, or delete the folder",
        )


def _show(output: dict[str, Any]) -> None:
    rows = [
        [name, own, sum(other) / len(other), min(other), len(other)]
        for name, own, other in zip(output["vectors"], output["own"], output["other"], strict=True)
    ]
    columns = ["vector of", "own origin", "other origins, mean", "worst", "others"]
    title = f"{output['task']} on {output['backbone']}, majority answer {output['majority']:.3f}"
    print_table(title, columns, rows)
    kept = output["kept"]
    if kept is not None:
        typer.echo(f"Kept share {kept['value']:.3f} [{kept['low']:.3f}, {kept['high']:.3f}].")
    typer.echo(f"Verdict: {output['movement']}: {output['reason']}.")
    if output["movement"] in ("does not move", "moves with a loss") and output.get("over", 1) == 1:
        typer.echo(
            "To make it move: promptport widen PROMPT, which reads no labels, or tune over several "
            "origins (--over 64)."
        )
