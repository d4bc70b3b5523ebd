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
    from promptport.analysis import Independence
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task
    from promptport.tuning import OriginSpec, TuneConfig, TuneJob

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
    from promptport.tasks import open_task
    from promptport.tuning import OriginSpec, TuneConfig, TuneJob

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
    from promptport.tuning import OriginSpec

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
) -> Independence:
    from promptport.analysis import origin_independence
    from promptport.tuning import make_origin

    unseen = [make_origin(spec, model, prompts[0].length) for spec in strangers]
    return origin_independence(model, task, prompts, unseen=unseen, truncate=truncate)


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
    """Judge finished prompts, each on its own, on the same unseen origins of its kind."""
    from promptport.backbone import Backbone
    from promptport.interop import load_prompt
    from promptport.tuning import OriginSpec

    strange = 8 if unseen is None else unseen
    if strange < 1:
        raise PromptPortError(
            "--unseen", expected="1 or more", got=str(strange), fix="Leave it out for 8"
        )
    prompts = [load_prompt(place) for place in places]
    chosen = task_of(prompts[0], task, data, "--task")
    note_other_task(prompts, chosen)
    model = Backbone.load(**home(prompts[0].provenance, backbone), **loading)
    vectors = []
    for place, each in zip(places, prompts, strict=True):
        model.check_prompt(each)
        own = OriginSpec.drawn_again(each.provenance.origin) or OriginSpec()
        kind = origin or own.written
        strangers = OriginSpec.parse(kind, later_seed(seed, 500_000)).others(strange)
        found = _independence(model, chosen, [each], strangers, truncate).to_dict()
        found |= {"own": found["own"][0], "other": found["other"][0]}
        for name in ("task", "majority", "cosine"):  # of all, of all, and of several vectors
            found.pop(name)
        vectors.append({"prompt": str(place), "origin": kind, **found})
    majority = chosen.majority_score("test").value
    output = {
        "backbone": model.name,
        "task": chosen.name,
        "majority": majority,
        "vectors": vectors,
    }
    if json_output:
        print_json(output)
        return
    rows = [
        [v["prompt"], v["own"], sum(v["other"]) / strange, min(v["other"]), v["origin"], _kept(v)]
        for v in vectors
    ]
    columns = ["vector of", "own origin", "other origins, mean", "worst", "kind", "kept [95%]"]
    title = f"{chosen.name} on {model.name}, majority answer {majority:.3f}, {strange} origins"
    print_table(title, columns, rows)
    for v in vectors:
        typer.echo(f"{v['prompt']}: {v['movement']}: {v['reason']}.")
    bad = ("does not move", "moves with a loss")
    if any(v["movement"] in bad and not _wide(p) for v, p in zip(vectors, prompts, strict=True)):
        typer.echo("To make it move: promptport widen PROMPT, which reads no labels.")


def _kept(vector: dict[str, Any]) -> str:
    kept = vector["kept"]
    return "" if kept is None else f"{kept['value']:.3f} [{kept['low']:.3f}, {kept['high']:.3f}]"


def _wide(prompt: SoftPrompt) -> bool:
    """Whether its vector was made for several origins."""
    steps = [entry.get("step") for entry in prompt.provenance.history]
    return "widen" in steps or (prompt.provenance.tuning or {}).get("origins", 1) > 1


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


def _show(output: dict[str, Any], seed: int) -> None:
    rows = [
        [f"origin {seed + i}", own, sum(other) / len(other), min(other), len(other)]
        for i, (own, other) in enumerate(zip(output["own"], output["other"], strict=True))
    ]
    columns = ["vector tuned from", "own origin", "other origins, mean", "worst", "others"]
    title = f"{output['task']} on {output['backbone']}, majority answer {output['majority']:.3f}"
    print_table(title, columns, rows)
    kept = output["kept"]
    if kept is not None:
        typer.echo(f"Kept share {kept['value']:.3f} [{kept['low']:.3f}, {kept['high']:.3f}].")
    typer.echo(f"Verdict: {output['movement']}: {output['reason']}.")
    if output["movement"] in ("does not move", "moves with a loss") and output["over"] == 1:
        typer.echo(
            "To make them move: promptport widen PROMPT, which reads no labels, or tune over "
            "several origins (--over 64)."
        )
