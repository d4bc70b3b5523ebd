"""promptport tune: learn one or many prompts on one frozen model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from promptport.cli.attention import report_attentions, tune_attentions
from promptport.cli.console import (
    STATE_FILE,
    ChatFlag,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    TruncateFlag,
    command_line,
    goes_on,
    note,
    open_tasks,
    quiet,
    refuse_together,
    seed_option,
    shared_words,
)
from promptport.cli.panels import METHOD_PANEL, START_PANEL, TASK_PANEL, TRAINING_PANEL
from promptport.cli.starts import check_start, report_together, started
from promptport.cli.tune_output import (
    check_folders,
    dev_scores,
    folders_of,
    note_worse,
    report_joint,
    report_prompts,
    save_results,
    summaries,
)
from promptport.errors import TuningError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.tasks import Task
    from promptport.tuning import TuneConfig, TuneJob
    from promptport.tuning.multitask import Way
    from promptport.tuning.usual import Place, UsualSettings


def command(
    backbone: Annotated[str, typer.Option(help="The model: embedded name, folder or Hub id.")],
    task: Annotated[
        list[str],
        typer.Option(
            help="Task or task file; repeat for several, or name a group such as 'lama:*'. "
            "See 'promptport tasks'."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Prompt folder to write; of several prompts a folder of such.")
    ],
    length: Annotated[
        int | None, typer.Option(help="Virtual tokens. Usual: 5, on large models 10.")
    ] = None,
    seed: Annotated[list[int] | None, seed_option("Seed; repeat for several. Default 0.")] = None,
    mixture: Annotated[
        bool,
        typer.Option(
            "--mixture",
            help="Learn mixtures of words, which other models can mix as well: the prompt moves "
            "without any training.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = False,
    rest: Annotated[
        float,
        typer.Option(
            help="Of a mixture: add a free rest to each mixture of words, at most this share of "
            "its length.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = 0.0,
    words_of: Annotated[
        list[str] | None,
        typer.Option(
            "--words-of",
            help="Of a mixture: mix only words that this model knows too; repeat for several.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    together_with: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="Learn one mixture on this model as well; repeat for several.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    together: Annotated[
        str | None,
        typer.Option(
            help="Learn one prompt on all tasks together, to start new tasks from: one (a single "
            "prompt), factors (shared, times a matrix of rank one per task).",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="vocabulary (usual), normal, vocabulary*0.1 (smaller), mixture, text:SOME WORDS, "
            "a prompt folder, or seed:3: vocabulary with this seed, the same for every --seed.",
            rich_help_panel=START_PANEL,
        ),
    ] = None,
    origin_samples: Annotated[
        int,
        typer.Option(
            help="Learn one task vector on so many origins at once, so that it holds on others.",
            rich_help_panel=START_PANEL,
        ),
    ] = 1,
    start: Annotated[
        str | None,
        typer.Option(
            help="Start from --library: text (the prompt that ranks first by unlabelled text), "
            "labels (by up to 100 training rows), mean or sum (of the vectors, on --origin). "
            "attention: a prompt for each row by learned attention over the library (ATTEMPT); "
            "--out then gets an attention folder for eval, and in it 'averaged', an ordinary "
            "prompt.",
            rich_help_panel=START_PANEL,
        ),
    ] = None,
    library: Annotated[
        list[Path] | None,
        typer.Option(
            help="Prompt or vector folders, or a folder of such, for --start; repeat.",
            rich_help_panel=START_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    template: Annotated[
        str | None,
        typer.Option(help="Template in place of the task's.", rich_help_panel=TASK_PANEL),
    ] = None,
    chat: ChatFlag = False,
    max_train_rows: Annotated[
        int,
        typer.Option(help="Use only so many training rows; 0: all.", rich_help_panel=TASK_PANEL),
    ] = 0,
    max_dev_rows: Annotated[
        int | None,
        typer.Option(
            help="Use only so many dev rows; 0: all. Usual: 0, on large models 200.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    truncate: TruncateFlag = False,
    place: Annotated[
        str | None,
        typer.Option(
            help="Where the virtual tokens stand: template (as the task says), front (as PEFT), "
            "behind (the text: quickest on causal models). Usual: template, on large causal models "
            "behind, but for classifications of short texts.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Passes over the training rows. Usual: 20.", rich_help_panel=TRAINING_PANEL
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Most updates; 0: only --epochs limits them. Usual: 0, on large models 200 "
            "unless --epochs is given.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option(
            help="Updates between two looks at the dev rows; 0: a pass. Usual: 0, on large models "
            "50.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Rows per prompt and step. Usual: 32, on large models 16.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Looks at the dev rows without a better score before a prompt stops; 0: never. "
            "Usual: 5, on large models 0.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Of the rate: constant, or linear (falls to zero). Usual: constant, on large "
            "models linear.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate. Usual: 0.1 of the embeddings' spread, 0.2 on large models; of a "
            "mixture 1.0.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Train under noise of this share of a virtual token's norm, so that the prompt "
            "moves better; usual for --mixture: 1, else 0.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Learn soft prompts for tasks on a frozen model.

    Several tasks and seeds are learned at once, in the same batches. An interrupted run goes on
    where it stopped when the same command is given again (not with --with or --together, which
    begin anew).

    Example:
        promptport tune --backbone nano-bert --task country-capital --out capital
        promptport tune --backbone nano-bert --task opposite --task plural --out prompts
    """
    quiet()
    from promptport.tasks import Template, expand_tasks
    from promptport.tuning import TuneConfig, usual_settings
    from promptport.tuning.jobs import JobSettings, make_jobs

    began = time.perf_counter()
    kind = "mixture" if mixture or together_with else origin or "vocabulary"
    _check_options(
        {"--mixture": mixture, "--with": bool(together_with)},
        origin,
        start,
        library,
        together,
        kind,
    )
    wanted = _Wanted(
        length,
        place,
        {
            "epochs": epochs,
            "max_steps": 0 if steps is None and epochs is not None else steps,
            "check": check,
            "batch_size": batch_size,
            "patience": patience,
            "schedule": schedule,
            "max_dev_rows": max_dev_rows,
            "truncate": truncate,
            "max_train_rows": max_train_rows,
        },
        start is not None,
    )
    TuneConfig(**wanted.given)  # refuses values out of their range before a model is opened
    _refuse_places(place, template)
    tasks = [t.with_chat() if chat else t for t in open_tasks(expand_tasks(task, data), data)]
    own = None if template is None else Template.parse(template)
    if together is not None and len(tasks) < 2:
        raise TuningError(
            "--together", expected="two tasks or more", got="one", fix="Repeat --task"
        )
    words = shared_words(words_of or [])
    settings = JobSettings(
        origin=kind,
        length=wanted.length_of(None),
        lr=lr,
        template=own.in_chat() if own and chat else own,
        words=None if words is None else tuple(words),
        origins=origin_samples,
        rest=rest,
        noise=noise,
    )
    jobs = make_jobs(tasks, seed or [0], settings)
    backbones = [backbone, *(together_with or [])]
    check_folders(
        out,
        jobs,
        backbones,
        library=library or [],
        origin=origin,
        together=together is not None,
        attention=start == "attention",
        force=force,
    )
    loading = {"device": device, "dtype": dtype, "device_map": device_map}
    models = [_load(name, loading) for name in backbones]
    usual = usual_settings(models[0])
    settings = replace(settings, length=wanted.length_of(usual))
    one = tasks if together is not None else None  # tasks of one prompt
    jobs = [
        wanted.placed(job, models[0], usual, one or [job.task])
        for job in make_jobs(tasks, seed or [0], settings)
    ]
    config = replace(usual.config, **wanted.given)
    _note_absent_labels(tasks, task, data)
    run = _Run(jobs, config, out, task, data, json_output, began)
    if together_with:
        _tune_jointly(run, models, words)
        return
    moved = [j for j in jobs if j.template not in (None, j.task.template)]
    if moved and place is None and template is None:
        _note_place(moved[0])
    else:
        _note_first_words(models[0], jobs)
    if together is not None:
        _tune_together(run, models[0], together)
    elif start == "attention":
        _tune_attentions(run, models[0], library or [])
    else:
        if start is not None:
            begun = started(jobs, models[0], start, library or [], config, data)
            run = replace(run, jobs=begun)
        _tune_each(run, models[0])


@dataclass(frozen=True)
class _Wanted:
    """What the user says of length, place and budget; None for what is usual for the backbone."""

    length: int | None
    place: str | None
    budget: dict[str, Any]
    starts: bool  # from prompts of a library

    @property
    def given(self) -> dict[str, Any]:
        """Fields of `TuneConfig` that the user chose."""
        return {name: value for name, value in self.budget.items() if value is not None}

    def length_of(self, usual: UsualSettings | None) -> int:
        """Virtual tokens; before the backbone is known, some number that is refused if wrong."""
        if self.length is not None:
            return self.length
        return 5 if usual is None else usual.length

    def placed(
        self, job: TuneJob, model: Backbone, usual: UsualSettings, tasks: list[Task]
    ) -> TuneJob:
        """The job at the usual rate, its virtual tokens in their place unless it has a template.

        The tasks of one prompt have one place. A prompt to start from stays where it stood, unless
        the user says otherwise.
        """
        from promptport.tuning.usual import placed_in

        job = replace(job, relative_lr=usual.relative_lr)
        started = self.starts or job.origin.kind == "prompt"
        if job.template is not None or (started and self.place is None):
            return job
        place = cast("Place | None", self.place)
        return replace(job, template=placed_in(model, job.task, place, *tasks))


def _refuse_places(place: str | None, template: str | None) -> None:
    """Refuse an unknown place, or one that a template contradicts.

    Raises:
        PromptPortError: either.
    """
    places = ("template", "front", "behind")
    if place is not None and place not in places:
        raise TuningError(
            "--place", expected=" or ".join(places), got=repr(place), fix="Choose one of them"
        )
    if place is not None:
        refuse_together("--place", {"--template": template is not None})


@dataclass(frozen=True)
class _Run:
    """What all ways of tuning need."""

    jobs: list[TuneJob]
    config: TuneConfig
    out: Path
    references: list[str]  # of the tasks, as the user wrote them
    data: Path | None
    hidden: bool  # JSON is asked for
    began: float

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began


def _check_options(
    mixed: dict[str, bool],
    origin: str | None,
    start: str | None,
    library: list[Path] | None,
    together: str | None,
    kind: str,
) -> None:
    """Refuse options that contradict each other, before anything is opened.

    Raises:
        PromptPortError: some do.
    """
    given = [option for option, is_given in mixed.items() if is_given]
    if given:
        refuse_together(given[0], {"--origin": origin not in (None, "mixture")})
    check_start(start, library, together, mixed=kind == "mixture")
    if start in ("text", "labels"):
        refuse_together(f"--start {start}", {"--origin": origin is not None})


def _load(name: str, loading: dict[str, Any]) -> Backbone:
    from promptport.backbone import Backbone

    return Backbone.load(name, **loading)


def _note_place(job: TuneJob) -> None:
    """Say where virtual tokens stand, which neither the user nor the task said."""
    assert job.template is not None
    note(
        f"virtual tokens stand behind the text, {job.template.text!r}, where tuning is quickest; "
        "PEFT needs them in front: --place front"
    )


def _note_absent_labels(tasks: list[Task], names: list[str], data: Path | None) -> None:
    """Say which labels are on no training row: wrongly read labels often look like that."""
    named = names if len(names) == len(tasks) else [task.name for task in tasks]
    for name, task in zip(named, tasks, strict=True):
        if task.kind != "classification" or task.is_regression:
            continue
        there = {row.answer for row in task.load("train")}
        absent = [label for label in task.label_names if label not in there]
        if absent:
            note(
                f"no training row of {task.name} has the label {', '.join(absent)}; look at its "
                f"rows: {command_line('tasks', 'show', name, data=data)}"
            )


def _note_first_words(model: Backbone, jobs: list[TuneJob]) -> None:
    """Say where texts begin with a field, but the backbone knows first words by other tokens."""
    templates = {(job.template or job.task.template) for job in jobs}
    texts = sorted(t.text for t in templates if t.begins_with_field)
    if texts and model.layout.cuts_first_words:
        note(
            f"{model.name} cuts the first word of a text into other tokens than the same word "
            f"elsewhere; --template 'The {texts[0]}', or another first word, may do better"
        )


def _tune_each(run: _Run, model: Backbone) -> None:
    """Every job for itself, all in the same batches; saved when all are done."""
    from promptport.tuning import tune

    folders = folders_of(run.out, run.jobs)
    before = dev_scores(folders)
    state = run.out / STATE_FILE
    with goes_on("the last saved step", state):
        results = tune(
            model,
            run.jobs,
            run.config,
            state=state,
            save=lambda made: save_results(made, folders),
        )
    told = summaries(results, folders, model, run.config)
    report_prompts(told, model.name, run.seconds, run.references, run.data, run.hidden)
    note_worse(before, folders, results)
    failed = [result for result in results if result.prompt is None or result.error]
    if failed:
        raise TuningError(
            f"{len(failed)} of {len(results)} prompts ({failed[0].job.label})",
            expected="a finite loss",
            got=str(failed[0].error),
            fix="Lower --lr, or choose another origin; the other prompts are saved",
        )


def _tune_jointly(run: _Run, models: list[Backbone], words: list[str] | None) -> None:
    from promptport.tuning import tune_jointly

    results = tune_jointly(models, run.jobs, run.config, words=words)
    report_joint(results, [model.name for model in models], run.out, run.seconds, run.hidden)


def _tune_together(run: _Run, model: Backbone, way: str) -> None:
    from promptport.tuning.multitask import tune_together

    result = tune_together(model, run.jobs, run.config, way=cast("Way", way))
    report_together(result, run.out, run.seconds, run.hidden)


def _tune_attentions(run: _Run, model: Backbone, library: list[Path]) -> None:
    folders = folders_of(run.out, run.jobs)
    states = [folder / STATE_FILE for folder in folders]
    with goes_on("the last saved step", lambda: any(state.exists() for state in states)):
        told = tune_attentions(model, run.jobs, library, run.config, folders, data=run.data)
    report_attentions(told, model.name, run.seconds, run.references, run.data, run.hidden)
