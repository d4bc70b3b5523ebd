"""promptport tune: tune one or many prompts against one frozen backbone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from promptport.cli.attention import AVERAGED, is_attention, report_attentions, tune_attentions
from promptport.cli.console import (
    STATE_FILE,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    TruncateFlag,
    check_out,
    goes_on,
    open_tasks,
    origin_folder,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
    shared_words,
)
from promptport.cli.starts import check_start, report_together, started
from promptport.errors import TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec
    from promptport.tasks import Task
    from promptport.tuning import JointResult, TuneJob, TuneResult
    from promptport.tuning.multitask import Way


def command(
    backbone: Annotated[str, typer.Option(help="Embedded name, model folder or Hub id.")],
    task: Annotated[
        list[str], typer.Option(help="Task; repeat for several. See 'promptport tasks'.")
    ],
    out: Annotated[
        Path, typer.Option(help="Prompt folder to write (one folder per prompt in it if several).")
    ],
    data: DataOption = None,
    length: Annotated[int, typer.Option(help="Virtual tokens.")] = 5,
    seed: Annotated[list[int] | None, seed_option("Seed; repeat for several. Default 0.")] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate. Usual: 0.1 of the embeddings' spread; --anchored: 1.0, of logits."
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="vocabulary (usual), normal, vocabulary*0.1 (smaller), mixture, text:SOME WORDS, "
            "a prompt folder, or seed:3: vocabulary with this seed, the same for every --seed."
        ),
    ] = None,
    origins: Annotated[
        int,
        typer.Option(
            help="Tune one task prompt vector on so many origins at once: it moves to others."
        ),
    ] = 1,
    anchored: Annotated[
        bool,
        typer.Option("--anchored", help="Tune mixtures of words, which move to other backbones."),
    ] = False,
    rest: Annotated[
        float,
        typer.Option(
            help="Anchored: add a free rest to each mixture of words, at most this share of its "
            "length."
        ),
    ] = 0.0,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Train under noise of this share of a virtual token's length, so that the prompt "
            "moves better; usual for --anchored: 1, else 0."
        ),
    ] = None,
    together_with: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Tune one mixture on this backbone as well (anchored); repeat for several.",
        ),
    ] = None,
    words_of: Annotated[
        list[str] | None,
        typer.Option(
            "--words-of",
            help="Anchored: mix only words that this backbone knows too; repeat for several.",
        ),
    ] = None,
    together: Annotated[
        str | None,
        typer.Option(
            help="Tune one prompt on all tasks together, to start new tasks from: one (a single "
            "prompt), factors (shared, times a matrix of rank one per task)."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start from --library: text (the prompt that ranks first by unlabelled text), "
            "labels (by up to 100 training rows), mean or sum (of the vectors, on --origin). "
            "attention: a prompt for each row by tuned attention over the library (ATTEMPT); --out "
            "then gets an attention folder for eval, and in it 'averaged', an ordinary prompt."
        ),
    ] = None,
    library: Annotated[
        list[Path] | None,
        typer.Option(help="Prompt or vector folders, or a folder of such, for --start; repeat."),
    ] = None,
    template: Annotated[str | None, typer.Option(help="Template in place of the task's.")] = None,
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
    """Tune soft prompts against one frozen backbone, all in the same batch.

    An interrupted run goes on where it stopped when the same command is given again (not with
    --with or --together, which begin anew).
    """
    quiet()
    from promptport.backbone import Backbone
    from promptport.library.folders import library_folders
    from promptport.tuning import TuneConfig, tune, tune_jointly
    from promptport.tuning.multitask import tune_together

    began = time.perf_counter()
    tasks = open_tasks(task, data)
    config = TuneConfig(
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        truncate=truncate,
        max_train_rows=max_train_rows,
        max_dev_rows=max_dev_rows,
    )
    words = shared_words(words_of or [])
    kind = "mixture" if anchored or together_with else origin or "vocabulary"
    if kind == "mixture":
        option = "--anchored" if anchored else "--with"
        refuse_together(option, {"--origin": origin not in (None, "mixture")})
    check_start(start, library, together, mixed=kind == "mixture")
    if start in ("text", "labels"):
        refuse_together(f"--start {start}", {"--origin": origin is not None})
    if together is not None and len(tasks) < 2:
        raise TuningError(
            "--together", expected="two tasks or more", got="one", fix="Repeat --task"
        )
    jobs = _jobs(tasks, seed or [0], length, lr, kind, template, words)
    jobs = [replace(job, origins=origins, rest=rest, noise=noise) for job in jobs]
    names = [backbone, *(together_with or [])]
    entries = library_folders(library)[0].values() if library else []
    for folder in _written(out, jobs, names, together):
        again = folder / AVERAGED if start == "attention" and is_attention(folder) else None
        check_out(folder, *(library or []), *entries, *origin_folder(origin), own=again)
    if together_with:
        _check_folders(names)
        models = [
            Backbone.load(name, device=device, dtype=dtype, device_map=device_map) for name in names
        ]
        with progress_bar("tuning jointly", hidden=json_output) as show:
            shared = tune_jointly(
                models,
                jobs,
                config,
                words=words,
                progress=lambda p: show(p.step, p.total, f"{p.active} running"),
            )
        _report_joint(shared, names, out, time.perf_counter() - began, json_output)
        return
    folders = _folders(out, jobs)
    model = Backbone.load(backbone, device=device, dtype=dtype, device_map=device_map)
    _warn_of_first_words(model, jobs)
    if together is not None:
        with progress_bar("tuning together", hidden=json_output) as show:
            one = tune_together(
                model,
                jobs,
                config,
                way=cast("Way", together),
                progress=lambda p: show(p.step, p.total, f"best {_best(p.best)}"),
            )
        report_together(one, out, time.perf_counter() - began, json_output)
        return
    if start == "attention":
        with goes_on("the last saved step"):
            heard = tune_attentions(
                model, jobs, library or [], config, folders, data=data, hidden=json_output
            )
        report_attentions(heard, backbone, time.perf_counter() - began, json_output)
        return
    if start is not None:
        jobs = started(jobs, model, start, library or [], config, data)
    found: list[dict[str, Any]] = []
    with goes_on("the last saved step"), progress_bar("tuning", hidden=json_output) as show:
        results = tune(
            model,
            jobs,
            config,
            state=out / STATE_FILE,
            save=lambda made: found.extend(_save(made, folders)),
            progress=lambda p: show(p.step, p.total, f"{p.active} running, best {_best(p.best)}"),
        )
    seconds = time.perf_counter() - began
    if json_output:
        print_json({"backbone": backbone, "seconds": seconds, "prompts": found})
    else:
        _show(found, seconds)
    failed = [result for result in results if result.prompt is None or result.error]
    if failed:
        raise TuningError(
            f"{len(failed)} of {len(results)} prompts ({failed[0].job.label})",
            expected="a finite loss",
            got=str(failed[0].error),
            fix="Lower --lr, or choose another origin; the other prompts are saved",
        )


def _warn_of_first_words(model: Backbone, jobs: list[TuneJob]) -> None:
    """Say where texts begin with a field, but the backbone knows first words by other tokens."""
    templates = {(job.template or job.task.template) for job in jobs}
    texts = sorted(t.text for t in templates if t.begins_with_field)
    if texts and model.layout.cuts_first_words:
        typer.echo(
            f"note: {model.name} cuts the first word of a text into other tokens than the same "
            f"word elsewhere; --template 'The {texts[0]}', or another first word, may do better",
            err=True,
        )


def _jobs(
    tasks: list[Task],
    seeds: list[int],
    length: int,
    lr: float | None,
    origin: str,
    template: str | None,
    words: list[str] | None,
) -> list[TuneJob]:
    from promptport.tasks import Template
    from promptport.tuning import TuneJob

    place = None if template is None else Template.parse(template)
    jobs = [
        TuneJob(t, _origin(origin, seed, words), length, seed, lr=lr, template=place)
        for t in tasks
        for seed in seeds
    ]
    labels = [job.label for job in jobs]
    if len(set(labels)) < len(labels):
        raise TuningError(
            "--task and --seed",
            expected="each combination once",
            got=f"{max(labels, key=labels.count)} more than once",
            fix="Remove the repetition",
        )
    return jobs


def _origin(text: str, seed: int, words: list[str] | None) -> OriginSpec:
    from promptport.parameters import OriginSpec
    from promptport.storage import load_prompt

    if Path(text).is_dir():
        return OriginSpec("prompt", seed, prompt=load_prompt(text))
    spec = OriginSpec.parse(text, seed)
    if words is None:
        return spec
    if spec.kind != "mixture":
        raise TuningError(
            "--words-of",
            expected="an anchored prompt",
            got=f"the origin {spec.kind}",
            fix="Add --anchored: only mixtures are made of words",
        )
    return replace(spec, words=tuple(words))


def _folders(out: Path, jobs: list[TuneJob]) -> list[Path]:
    return [out] if len(jobs) == 1 else [out / job.label for job in jobs]


def _written(
    out: Path, jobs: list[TuneJob], backbones: list[str], together: str | None
) -> list[Path]:
    """Every prompt folder that a run writes."""
    if together is not None:
        return [out]
    if len(backbones) == 1:
        return _folders(out, jobs)
    return [base / Path(name).name for base in _folders(out, jobs) for name in backbones]


def _check_folders(backbones: list[str]) -> None:
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


def _report_joint(
    results: list[JointResult], backbones: list[str], out: Path, seconds: float, json_output: bool
) -> None:
    """Save one folder per prompt and backbone, and tell how they do."""
    from promptport.storage import save_prompt

    found = []
    for result in results:
        base = out if len(results) == 1 else out / result.job.label
        folders = []
        for name, prompt in zip(backbones, result.prompts, strict=bool(result.prompts)):
            folders.append(base / Path(name).name)
            save_prompt(prompt, folders[-1])
        found.append(
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
        print_json({"backbones": backbones, "seconds": seconds, "prompts": found})
    else:
        rows = [
            [f["name"], f["dev_scores"], f["steps"], f["error"] or f["stopped"], f["folders"]]
            for f in found
        ]
        columns = ["mixture", "dev score", "steps", "stopped", "folders (the same mixture in each)"]
        print_table(f"{len(rows)} tuned jointly in {seconds:.1f} s", columns, rows)
    failed = [result for result in results if not result.prompts]
    if failed:
        raise TuningError(
            failed[0].job.label,
            expected="a finite loss",
            got=str(failed[0].error),
            fix="Lower --lr",
        )


def _save(results: Sequence[TuneResult], folders: list[Path]) -> list[dict[str, Any]]:
    from promptport.storage import save_prompt

    found = []
    for result, folder in zip(results, folders, strict=True):
        if result.prompt is not None:
            save_prompt(result.prompt, folder)
        place = None if result.prompt is None else str(folder)
        found.append({**result.to_dict(), "folder": place})
    return found


def _show(found: list[dict[str, Any]], seconds: float) -> None:
    rows = [
        [
            f["name"],
            f["dev_score"] if f["folder"] else None,
            f["epochs"],
            f["steps"],
            f["error"] or f["stopped"],
            f["folder"],
        ]
        for f in found
    ]
    columns = ["prompt", "dev score", "epochs", "steps", "stopped", "folder"]
    plural = "prompt" if len(rows) == 1 else "prompts"
    print_table(f"{len(rows)} {plural} tuned in {seconds:.1f} s", columns, rows)
    skipped = sum(f["skipped_rows"] for f in found)
    if skipped:
        typer.echo(f"{skipped} training rows were left out: their object is several tokens.")


def _best(scores: tuple[float | None, ...]) -> str:
    known = [score for score in scores if score is not None]
    return f"{max(known):.3f}" if known else "-"
