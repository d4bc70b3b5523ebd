"""promptport origins: do the vectors of a task work on origins that they were not tuned from?"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    STATE_FILE,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    TruncateFlag,
    backbone_reference,
    note_other_task,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
    task_of,
)
from promptport.errors import PromptPortError, TuningError
from promptport.seeds import later_seed

if TYPE_CHECKING:
    from promptport.analysis import OriginRobustness
    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task
    from promptport.tuning import TuneConfig, TuneJob


def command(
    backbone: Annotated[
        str | None,
        typer.Option(help="Embedded name, model folder or Hub id; default: that of --prompt."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Task, see 'promptport tasks'; default: of each --prompt its own."),
    ] = None,
    prompt: Annotated[
        list[Path] | None,
        typer.Option(
            help="Judge the vector of this finished prompt on unseen origins, and tune nothing; "
            "repeat for several."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the prompts; those that are there are not tuned."),
    ] = None,
    origins: Annotated[
        int | None, typer.Option(help="Origins to tune from, each on its own; usually 3.")
    ] = None,
    unseen: Annotated[
        int | None,
        typer.Option(
            help="Further origins that nothing is tuned from; usually 3, with --prompt 8."
        ),
    ] = None,
    over: Annotated[
        int | None,
        typer.Option(help="Tune each vector over so many origins at once: it moves better."),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="Their kind: vocabulary (default), normal, or vocabulary*0.1 (smaller); with "
            "--prompt that of its own origin. seed:3 is vocabulary with --seed 3."
        ),
    ] = None,
    data: DataOption = None,
    length: Annotated[int | None, typer.Option(help="Virtual tokens; usually 5.")] = None,
    seed: Annotated[
        int | None,
        seed_option("Seed of the first origin, and of the unseen; usually 0, or that of --origin."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training rows; usually 20.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows per prompt and step; usually 32.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Epochs without a better dev score before a prompt stops; 0: never; usually 5."
        ),
    ] = None,
    max_train_rows: Annotated[
        int | None, typer.Option(help="Use only so many training rows; 0: all.")
    ] = None,
    max_dev_rows: Annotated[
        int | None, typer.Option(help="Use only so many dev rows; 0: all.")
    ] = None,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Tune a task from several origins and put each vector on every other one; or judge finished
    prompts (--prompt)."""
    quiet()
    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec
    from promptport.tasks import open_task
    from promptport.tuning import TuneConfig, TuneJob

    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    origin, seed = _kind_and_seed(origin, seed)
    usual = {
        "--origins": (origins, 3),
        "--over": (over, 1),
        "--length": (length, 5),
        "--epochs": (epochs, 20),
        "--batch-size": (batch_size, 32),
        "--patience": (patience, 5),
        "--max-train-rows": (max_train_rows, 0),
        "--max-dev-rows": (max_dev_rows, 0),
    }
    if prompt:
        tuning = {name: given is not None for name, (given, _) in usual.items()}
        refuse_together("--prompt", {"--out": out is not None, **tuning})
        _judge(prompt, backbone, task, data, unseen, origin, seed, truncate, loading, json_output)
        return
    for option, value in {"--backbone": backbone, "--task": task}.items():
        if value is None:
            raise PromptPortError(
                option, expected="a value", got="none", fix=f"Give {option}, or finished --prompt"
            )
    counts = {name: default if given is None else given for name, (given, default) in usual.items()}
    starts, strange = counts["--origins"], 3 if unseen is None else unseen
    kind = origin or "vocabulary"
    if starts < 1 or strange < 0 or starts + strange < 2:
        raise PromptPortError(
            "--origins and --unseen",
            expected="one origin or more to tune from, two or more together",
            got=f"{starts} and {strange}",
            fix="Leave them out for 3 and 3",
        )
    chosen = open_task(task or "", data)
    jobs = [
        TuneJob(chosen, OriginSpec.parse(kind, s), counts["--length"], s, origins=counts["--over"])
        for s in range(seed, seed + starts)
    ]
    strangers = OriginSpec.parse(kind, later_seed(seed, starts + 500_000)).others(strange)
    config = TuneConfig(
        epochs=counts["--epochs"],
        batch_size=counts["--batch-size"],
        patience=counts["--patience"],
        truncate=truncate,
        max_train_rows=counts["--max-train-rows"],
        max_dev_rows=counts["--max-dev-rows"],
    )
    model = Backbone.load(backbone or "", **loading)
    prompts = _prompts(model, jobs, config, out, json_output)
    found = _independence(model, chosen, prompts, strangers, truncate)
    output = {"backbone": model.name, "origin": kind, "over": counts["--over"], **found.to_dict()}
    if json_output:
        print_json(output)
    else:
        _show(output, seed)


def _kind_and_seed(origin: str | None, seed: int | None) -> tuple[str | None, int]:
    """`seed:3` is the kind vocabulary, whose first origin has this seed."""
    from promptport.parameters import OriginSpec

    if origin is None or not origin.startswith("seed:"):
        return origin, seed or 0
    spec = OriginSpec.parse(origin, 0)
    refuse_together(f"--origin {origin}", {"--seed": seed not in (None, spec.seed)})
    return spec.kind, spec.seed


def _independence(
    model: Backbone,
    task: Task,
    prompts: list[SoftPrompt],
    strangers: list[OriginSpec],
    truncate: bool,
) -> OriginRobustness:
    from promptport.analysis import origin_robustness
    from promptport.parameters import make_origin

    unseen = [make_origin(spec, model, prompts[0].length) for spec in strangers]
    return origin_robustness(model, task, prompts, unseen=unseen, truncate=truncate)


def _judge(
    places: list[Path],
    backbone: str | None,
    task: str | None,
    data: Path | None,
    unseen: int | None,
    origin: str | None,
    seed: int,
    truncate: bool,
    loading: dict[str, Any],
    json_output: bool,
) -> None:
    """Judge finished prompts, each on its own task, on the same unseen origins of its kind."""
    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec
    from promptport.storage import load_prompt

    strange = 8 if unseen is None else unseen
    if strange < 1:
        raise PromptPortError(
            "--unseen", expected="1 or more", got=str(strange), fix="Leave it out for 8"
        )
    prompts = [load_prompt(place) for place in places]
    tasks = [task_of(each, task, data, "--task") for each in prompts]
    if task is not None:
        note_other_task(prompts, tasks[0])
    model = Backbone.load(**backbone_reference(prompts[0].provenance, backbone), **loading)
    vectors = []
    for place, each, chosen in zip(places, prompts, tasks, strict=True):
        model.check_prompt(each)
        own = OriginSpec.drawn_again(each.provenance.origin) or OriginSpec()
        kind = origin or own.written
        strangers = OriginSpec.parse(kind, later_seed(seed, 500_000)).others(strange)
        found = _independence(model, chosen, [each], strangers, truncate).to_dict()
        found |= {name: found[name][0] for name in ("own", "other", "bare", "alone")}
        found.pop("cosine")  # of several vectors
        vectors.append({"prompt": str(place), "origin": kind, **found})
    output = {"backbone": model.name, "vectors": vectors}
    if json_output:
        print_json(output)
        return
    rows = [
        [
            *(name, v["own"], fmean(v["other"]), min(v["other"]), fmean(v["bare"]), v["alone"]),
            *(v["origin"], _share(v["kept"])),
        ]
        for name, v in zip(_short(places), vectors, strict=True)
    ]
    columns = [
        *("vector of", "own origin", "others", "worst", "others bare", "no origin", "kind"),
        "kept [95%]",
    ]
    asked = {v["task"]: f"{v['task']} (majority answer {v['majority']:.3f})" for v in vectors}
    print_table(f"{', '.join(asked.values())} on {model.name}, {strange} origins", columns, rows)
    for v in vectors:
        typer.echo(f"{v['prompt']}: {v['movement']}: {v['reason']}.")
    bad = ("does not move", "moves with a loss")
    if any(v["movement"] in bad and not _wide(p) for v, p in zip(vectors, prompts, strict=True)):
        typer.echo("To make it move: promptport widen PROMPT, which reads no labels.")


def _short(places: list[Path]) -> list[str]:
    """Names of folders, with what is before them only where two are the same."""
    names = [place.resolve().name for place in places]
    return names if len(set(names)) == len(names) else [str(place) for place in places]


def _share(found: dict[str, float] | None) -> str:
    return (
        "" if found is None else f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    )


def _wide(prompt: SoftPrompt) -> bool:
    """Whether its vector was made for several origins."""
    from promptport.prompt import step_name

    steps = [step_name(entry) for entry in prompt.provenance.history]
    return "distill_over_origins" in steps or (prompt.provenance.tuning or {}).get("origins", 1) > 1


def _prompts(
    model: Backbone, jobs: list[TuneJob], config: TuneConfig, out: Path | None, hidden: bool
) -> list[SoftPrompt]:
    """Tuned prompts, one per job; those in the folder are read."""
    from promptport.storage import load_prompt, save_prompt
    from promptport.tuning import tune

    places = {job.label: out / job.label for job in jobs} if out is not None else {}
    found = {name: load_prompt(place) for name, place in places.items() if place.is_dir()}
    for job in jobs:
        if job.label in found:
            _check_same(found[job.label], job, config, model, places[job.label])
    missing = [job for job in jobs if job.label not in found]
    if missing:
        with progress_bar("tuning", hidden=hidden) as show:
            results = tune(
                model,
                missing,
                config,
                state=None if out is None else out / STATE_FILE,
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


def _check_same(
    prompt: SoftPrompt, job: TuneJob, config: TuneConfig, model: Backbone, place: Path
) -> None:
    """Refuse a kept prompt that was tuned otherwise, on another backbone, or changed since."""
    from promptport.tuning.config import config_dict

    made, tuned = prompt.provenance, prompt.provenance.tuning or {}
    at_home = made.fingerprint == model.space.fingerprint
    usual = {"origins": 1, "noise": 0.0, "rest": 0.0}
    asked = {
        "backbone": model.name,
        "task": job.task.name,
        "template": (job.template or job.task.template).text,
        "origin": job.origin.to_dict(),
        "length": job.length,
        "steps after tuning": 0,
        "origins": job.origins,
        "noise": job.noise_share,
        "rest": job.rest,
        "learning_rate": job.relative_lr * model.space.statistics.std,
        **config_dict(config),
    }
    del asked["batch_tokens"]  # memory, not results
    here = {name: tuned.get(name, usual.get(name)) for name in asked} | {
        "backbone": model.name if at_home else f"{made.backbone}, another",
        "task": made.task,
        "template": made.template,
        "origin": made.origin,
        "length": prompt.length,
        "steps after tuning": len(made.history),
    }
    if other := [name for name in asked if here[name] != asked[name]]:
        raise PromptPortError(
            str(place),
            expected=", ".join(f"{name} {asked[name]}" for name in other),
            got=", ".join(f"{name} {here[name]}" for name in other),
            fix="Ask as it was tuned, name another --out, or delete the folder",
        )


def _show(output: dict[str, Any], seed: int) -> None:
    scores = zip(*(output[name] for name in ("own", "other", "bare", "alone")), strict=True)
    rows = [
        [f"origin {seed + i}", own, fmean(other), min(other), len(other), fmean(bare), alone]
        for i, (own, other, bare, alone) in enumerate(scores)
    ]
    columns = ["vector tuned from", "own origin", "others", "worst", "number", "others bare"]
    columns.append("no origin")
    title = f"{output['task']} on {output['backbone']}, majority answer {output['majority']:.3f}"
    print_table(title, columns, rows)
    if output["kept"] is not None:
        typer.echo(f"Kept share {_share(output['kept'])}.")
    typer.echo(f"Verdict: {output['movement']}: {output['reason']}.")
    if output["movement"] in ("does not move", "moves with a loss") and output["over"] == 1:
        typer.echo(
            "To make them move: promptport widen PROMPT, which reads no labels, or tune over "
            "several origins (--over 64)."
        )
