"""promptport vector check: does a task vector hold on origins that it was not tuned from?"""

from __future__ import annotations

from dataclasses import dataclass
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
    command_line,
    goes_on,
    hint,
    load_backbone,
    note_other_task,
    print_json,
    print_table,
    quiet,
    refuse_together,
    say,
    seed_option,
    task_of,
    task_options,
    tell,
)
from promptport.cli.panels import MODEL_PANEL, TRAINING_PANEL
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.analysis.origin_checks import OriginCheckConfig, PromptCheck
    from promptport.prompt import SoftPrompt
    from promptport.tuning import TuneConfig

_LOSES = ("does not move", "moves with a loss")


def command(
    prompts: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Finished prompts, each judged on its own task. Without one, --task is tuned from "
            "several origins.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Task, see 'promptport tasks'; of finished prompts needed if they remember none "
            "that comes with promptport.",
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="Kind of the origins that vectors are put on: vocabulary (usual), normal, or "
            "vocabulary*0.1 (smaller); of a finished prompt usually the kind of its own. seed:3 is "
            "vocabulary with --seed 3."
        ),
    ] = None,
    unseen: Annotated[
        int | None,
        typer.Option(
            help="Origins that nothing is tuned from; usually 8 for finished prompts, else 3."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        seed_option("Seed of the first origin, and of the unseen; usually 0, or that of --origin."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the tuned prompts; those that are there are not tuned again.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    origin_samples: Annotated[
        int | None,
        typer.Option(
            help="Origins to tune from, each on its own; usually 3.", rich_help_panel=TRAINING_PANEL
        ),
    ] = None,
    over: Annotated[
        int | None,
        typer.Option(
            help="Tune each vector over so many origins at once: it moves better.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(help="Virtual tokens; usually 5.", rich_help_panel=TRAINING_PANEL),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training rows; usually 20.", rich_help_panel=TRAINING_PANEL
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Rows per prompt and step; usually 32.", rich_help_panel=TRAINING_PANEL),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Epochs without a better dev score before a prompt stops; 0: never; usually 5.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    max_train_rows: Annotated[
        int | None,
        typer.Option(
            help="Use only so many training rows; 0: all.", rich_help_panel=TRAINING_PANEL
        ),
    ] = None,
    max_dev_rows: Annotated[
        int | None,
        typer.Option(help="Use only so many dev rows; 0: all.", rich_help_panel=TRAINING_PANEL),
    ] = None,
    data: DataOption = None,
    truncate: TruncateFlag = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Embedded name, model folder or Hub id; usually that of the prompts.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Whether a task vector holds on other origins than its own.

    The vector of each finished prompt is put on origins that it was not tuned from, and scored
    there. Without a prompt, --task is tuned on --backbone from several origins, and each vector is
    put on all the others.

    Example:
        promptport vector check capital
        promptport vector check --backbone nano-bert --task country-capital
    """
    quiet()
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    training = {
        "--origin-samples": origin_samples,
        "--over": over,
        "--length": length,
        "--epochs": epochs,
        "--batch-size": batch_size,
        "--patience": patience,
        "--max-train-rows": max_train_rows,
        "--max-dev-rows": max_dev_rows,
    }
    kind, first = _kind_and_seed(origin, seed)
    asked = _Asked(task, data, backbone, truncate, json_output, loading)
    if prompts:
        given = {name: value is not None for name, value in training.items()}
        refuse_together("finished prompts", {"--out": out is not None, **given})
        _check_prompts(prompts, asked, kind, 8 if unseen is None else unseen, first)
    else:
        config, tuning = _settings(training, kind, unseen, first, truncate)
        _check_task(asked, config, tuning, out)


@dataclass(frozen=True)
class _Asked:
    """What both ways need."""

    task: str | None
    data: Path | None
    backbone: str | None
    truncate: bool
    json_output: bool
    loading: dict[str, Any]


def _kind_and_seed(origin: str | None, seed: int | None) -> tuple[str | None, int]:
    """`seed:3` is the kind vocabulary, whose first origin has this seed."""
    from promptport.parameters import OriginSpec

    if origin is None or not origin.startswith("seed:"):
        return origin, seed or 0
    spec = OriginSpec.parse(origin, 0)
    refuse_together(f"--origin {origin}", {"--seed": seed not in (None, spec.seed)})
    return spec.kind, spec.seed


def _settings(
    training: dict[str, int | None],
    kind: str | None,
    unseen: int | None,
    seed: int,
    truncate: bool,
) -> tuple[OriginCheckConfig, TuneConfig]:
    """The usual settings with what was given."""
    from promptport.analysis.origin_checks import OriginCheckConfig
    from promptport.tuning import TuneConfig

    given = {
        name.removeprefix("--").replace("-", "_"): value
        for name, value in training.items()
        if value is not None
    }
    if "origin_samples" in given:
        given["samples"] = given.pop("origin_samples")
    mine = ("samples", "over", "length")
    origins: dict[str, Any] = {name: value for name, value in given.items() if name in mine}
    tuning: dict[str, Any] = {name: value for name, value in given.items() if name not in mine}
    if unseen is not None:
        origins["unseen"] = unseen
    return (
        OriginCheckConfig(kind=kind or "vocabulary", seed=seed, **origins),
        TuneConfig(truncate=truncate, **tuning),
    )


def _check_task(
    asked: _Asked, config: OriginCheckConfig, tuning: TuneConfig, out: Path | None
) -> None:
    """Tune from several origins; show each vector on the others."""
    from promptport.analysis.origin_checks import check_task_origins
    from promptport.backbone import Backbone
    from promptport.tasks import open_task

    for option, value in {"--backbone": asked.backbone, "--task": asked.task}.items():
        if value is None:
            raise PromptPortError(
                option, expected="a value", got="none", fix=f"Give {option}, or finished prompts"
            )
    task = open_task(asked.task or "", asked.data)
    model = Backbone.load(asked.backbone or "", **asked.loading)
    state = None if out is None else out / STATE_FILE
    since = None if out is None else "the last saved step"
    with goes_on(since, state):
        result = check_task_origins(model, task, config, tuning=tuning, folder=out, state=state)
    output = {
        "backbone": model.name,
        "origin": config.kind,
        "over": config.over,
        **result.to_dict(),
    }
    if asked.json_output:
        print_json(output)
        return
    _show_task(output, config.seed)
    if output["movement"] in _LOSES and config.over == 1:
        if out is None:
            say("To make them move, tune over several origins: add --over 64.")
        else:
            first = out / config.jobs(task)[0].label
            _hint_widen(first, asked, asked.task)


def _show_task(output: dict[str, Any], seed: int) -> None:
    scores = zip(*(output[name] for name in ("own", "other", "bare", "alone")), strict=True)
    rows = [
        [f"origin {seed + i}", own, fmean(other), min(other), len(other), fmean(bare), alone]
        for i, (own, other, bare, alone) in enumerate(scores)
    ]
    columns = ["vector tuned from", "own origin", "others", "worst", "number", "others bare"]
    title = f"{output['task']} on {output['backbone']}, majority answer {output['majority']:.3f}"
    print_table(title, [*columns, "no origin"], rows)
    if output["kept"] is not None:
        tell(f"Kept share {_share(output['kept'])}.")
    tell(_scale())
    tell(f"Verdict: {output['movement']}: {output['reason']}.")


def _check_prompts(
    places: list[Path], asked: _Asked, kind: str | None, unseen: int, seed: int
) -> None:
    """Judge finished prompts, each on its own task, on the same unseen origins of its kind."""
    from promptport.analysis.origin_checks import check_prompt_origins
    from promptport.storage import load_prompt

    if unseen < 1:  # before anything is loaded
        raise PromptPortError(
            "--unseen", expected="1 or more", got=str(unseen), fix="Leave it out for 8"
        )
    prompts = [load_prompt(place) for place in places]
    tasks = [task_of(each, asked.task, asked.data, "--task") for each in prompts]
    if asked.task is not None:
        note_other_task(prompts, tasks[0])
    model = load_backbone(prompts[0].provenance, asked.backbone, places[0], **asked.loading)
    checks = check_prompt_origins(
        model, prompts, tasks, kind=kind, unseen=unseen, seed=seed, truncate=asked.truncate
    )
    if asked.json_output:
        named = zip(places, checks, strict=True)
        vectors = [{"prompt": str(place), **each.to_dict()} for place, each in named]
        print_json({"backbone": model.name, "vectors": vectors})
        return
    _show_prompts(model.name, places, checks, unseen)
    for place, prompt, each in zip(places, prompts, checks, strict=True):
        _say_verdict(place, prompt, each, asked)


def _show_prompts(model: str, places: list[Path], checks: list[PromptCheck], unseen: int) -> None:
    vectors = [each.to_dict() for each in checks]
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
    print_table(f"{', '.join(asked.values())} on {model}, {unseen} origins", columns, rows)
    tell(_scale())


def _say_verdict(place: Path, prompt: SoftPrompt, check: PromptCheck, asked: _Asked) -> None:
    from promptport.analysis.origin_checks import is_wide

    tell(f"{place}: {check.result.movement}: {check.result.reason}.")
    if check.result.movement in _LOSES and not is_wide(prompt):
        _hint_widen(place, asked, asked.task)


def _hint_widen(place: Path, asked: _Asked, task: str | None) -> None:
    following = command_line(
        *("vector", "widen", place),
        **task_options(task, asked.data),
        backbone=asked.backbone,
        out=place.with_name(f"{place.name}-wide"),
    )
    hint("To make it move, without labels", following)


def _scale() -> str:
    """What a good number is."""
    from promptport.analysis.robustness import LOSES, MOVES

    return (
        "kept: the score on other origins as a share of that on its own; 1 is all of it. A vector "
        f"that leads {MOVES:.0%} of the way from the bare origins to its own score moves, one that "
        f"leads {LOSES:.0%} moves with a loss."
    )


def _short(places: list[Path]) -> list[str]:
    """Names of folders, with what is before them only where two are the same."""
    names = [place.resolve().name for place in places]
    return names if len(set(names)) == len(names) else [str(place) for place in places]


def _share(interval: dict[str, float] | None) -> str:
    if interval is None:
        return ""
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"
