"""promptport move: carry finished prompts to another model by the road that works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptport.cli import move_options as o
from promptport.cli.console import (
    BackbonesOption,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    TruncateFlag,
    check_other_prompt,
    check_out,
    command_line,
    goes_on,
    hint,
    note,
    note_no_template,
    note_other_task,
    note_sentinel,
    print_json,
    quiet,
    refuse_together,
    say,
    written,
)
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.moving import MoveResult, PreparedMove
    from promptport.tasks import Task


def command(
    prompt: o.Prompts,
    out: o.Out,
    to: o.To = None,
    task: o.TaskName = None,
    data: DataOption = None,
    method: o.Method = "auto",
    only: o.Only = None,
    start: o.Start = None,
    words_of: o.WordsOf = None,
    vector: o.Vector = False,
    weight: o.Weight = None,
    template: o.Template = None,
    check: o.Check = None,
    score: o.ScoreFlag = False,
    texts: o.Texts = "auto",
    about: o.About = None,
    shown: o.Shown = None,
    written_to: o.WrittenTo = None,
    split: o.Split = "train",
    labelled: o.Labelled = 0,
    rows: o.Rows = None,
    epochs: o.Epochs = None,
    steps: o.Steps = None,
    relative_lr: o.RelativeLr = None,
    noise: o.Noise = None,
    seed: o.Seed = 0,
    truncate: TruncateFlag = False,
    magnitude: o.Magnitude = None,
    option: o.MethodOption = None,
    anchors: o.Anchors = "all",
    words: o.Words = None,
    minimum_anchors: o.MinimumAnchors = o.MINIMUM,
    lengths: o.Lengths = "same",
    own_anchors: o.OwnAnchors = False,
    candidate: o.Candidate = None,
    by: o.By = None,
    cue_word: o.CueWord = None,
    backbone: BackbonesOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Carry a prompt to another model, without labels.

    It looks at the prompt, at both models and at the task, and says which road it takes and why.
    By answers: both models are asked texts of the task or random words. By embeddings: their two
    tables alone, which is enough for mixtures of words and keeps little of a free prompt.

    Example:
        promptport move capital --to nano-roberta --out capital-roberta
    """
    quiet()
    options = o.MoveOptions(
        prompts=prompt,
        to=to,
        out=out,
        task=task,
        data=data,
        method=method,
        only=only,
        start=start,
        words_of=words_of or [],
        vector=vector,
        backbone=backbone or [],
        weight=weight or [],
        template=template,
        check=check,
        score=score,
        texts=texts,
        about=about,
        shown=shown,
        written_to=written_to,
        split=split,
        labelled=labelled,
        rows=rows,
        epochs=epochs,
        steps=steps,
        relative_lr=relative_lr,
        noise=noise,
        seed=seed,
        truncate=truncate,
        magnitude=magnitude,
        option=option or [],
        anchors=anchors,
        words=words,
        minimum_anchors=minimum_anchors,
        lengths=lengths,
        own_anchors=own_anchors,
        candidate=candidate or [],
        by=by,
        cue_word=cue_word,
        force=force,
        json_output=json_output,
        loading={"device": device, "dtype": dtype, "device_map": device_map},
    )
    with goes_on(None):
        _dispatch(options)


def _dispatch(options: o.MoveOptions) -> None:
    from promptport.cli.move_stages import run_stage
    from promptport.storage import is_vector

    started = [Path(options.start)] if options.start and Path(options.start).exists() else []
    check_out(options.out, *options.prompts, *started)
    if options.texts != "write" and any(options.of_writing.values()):
        given = next(name for name, given in options.of_writing.items() if given)
        raise PromptPortError(
            given, expected="--texts write with it", got=options.texts, fix="Add --texts write"
        )
    if options.only is not None:
        run_stage(options)
        return
    if options.to is None:
        raise PromptPortError(
            "--to", expected="a target model", got="none", fix="Name one, for instance --to nano-t5"
        )
    if options.words_of:
        raise PromptPortError(
            "--words-of", expected="--only mixture with it", got="none", fix="Add --only mixture"
        )
    if options.vector or any(is_vector(place) for place in options.prompts):
        _move_vector(options, options.to)
    else:
        _move_prompts(options, options.to)


def _move_prompts(options: o.MoveOptions, to: str) -> None:
    from promptport.cli.move_report import show_move
    from promptport.scratch import discard
    from promptport.storage import save_prompt

    _check_options(options)
    prepared = _prepared(options, to)
    if options.score:
        prepared.check_score()
    if options.method == "auto":
        say(prepared.plan.line)
    _note(options, prepared)
    _check_out(options, prepared)
    kept = options.out / o.UNFINISHED
    with goes_on("where it was", lambda: any(kept.glob("*"))):
        result = prepared.run()
    save_prompt(result.prompt, options.out)
    discard(kept)
    if options.written_to is not None:
        _write_texts(result, options.written_to)
    scores = prepared.score(result.prompt) if options.score else None
    show_move(prepared, result, scores, options)
    if options.cue_word == "choose":
        say(f"cue word, in front of the answer: {result.cue_word or 'none'}")
    _say_warnings(options, prepared, result.warnings)
    if prepared.task is None:
        written(options.out, "Look at it", command_line("inspect", options.out))
        return
    reference = _task_reference(options, prepared.task)
    known = [score for score in result.source_scores if score is not None]
    if known and scores is None and result.expected is None:
        told = ", ".join(f"{score:.3f}" for score in known)
        say(f"The source scored {told} on dev rows when it was tuned.")
    following = command_line("eval", options.out, task=reference, data=options.data, baselines=True)
    written(options.out, "Score it here", following)


def _check_out(options: o.MoveOptions, prepared: PreparedMove) -> None:
    tasks = [source.prompt.provenance.task for source in prepared.sources]
    tasks += [] if prepared.task is None else [prepared.task.name]
    check_other_prompt(options.out, *tasks, force=options.force)


def _write_texts(result: MoveResult, place: Path) -> None:
    """The texts that a model wrote, a line each, as a task file reads them."""
    import json

    from promptport.distillation import AnswersResult
    from promptport.files import write_atomic

    if isinstance(result.report, AnswersResult):
        lines = [json.dumps(row.fields, ensure_ascii=False) for row in result.report.written]
        write_atomic(place, "".join(f"{line}\n" for line in lines).encode())
        say(f"{len(lines)} written texts are in {place}.")


def _prepared(options: o.MoveOptions, to: str) -> PreparedMove:
    from promptport.moving import prepare_move
    from promptport.tasks import open_task

    return prepare_move(
        options.prompts,
        to,
        backbone=options.backbone or None,
        task=None if options.task is None else open_task(options.task, options.data),
        method=options.method,
        texts=options.texts,
        config=options.move_config(),
    )


def _check_options(options: o.MoveOptions) -> None:
    """Refuse options that the road that is asked for does not have, and halves of pairs."""
    if options.candidate:
        refuse_together(
            "--try",
            {
                "--method": options.is_method,
                "--option": bool(options.option),
                "--magnitude": options.magnitude is not None,
                "--own-anchors": options.own_anchors,
            },
        )
    elif options.by is not None:
        raise PromptPortError(
            "--by", expected="--try with it", got="none", fix="Add --try METHOD, or leave --by out"
        )
    if options.method == "answers":
        refuse_together("--method answers", options.of_tables)
    elif options.method != "auto":
        refuse_together(f"--method {options.method}", options.of_answers)


def _note(options: o.MoveOptions, prepared: PreparedMove) -> None:
    """What a user may not expect of this road, before it starts."""
    if prepared.task is not None:
        note_other_task([source.prompt for source in prepared.sources], prepared.task)
        for source in prepared.sources:
            note_no_template(source.prompt, prepared.task)
            note_sentinel(source.prompt, prepared.task)
    if prepared.plan.method == "embeddings" and not prepared.plan.fits:
        for name, given in options.of_answers.items():
            if given:
                note(f"{name} has no effect on the road by embeddings")


def _say_warnings(
    options: o.MoveOptions, prepared: PreparedMove, warnings: tuple[str, ...]
) -> None:
    for warning in warnings:
        say(f"warning: {warning.rstrip('.')}.")
    told = any(warning in prepared.plan.warnings for warning in warnings)
    if not (prepared.plan.better and told) or prepared.task is None:
        return
    hint(
        "What does better",
        command_line(
            "move",
            *options.prompts,
            to=options.to,
            out=options.out,
            method="answers" if prepared.plan.better == "answers" else None,
            task=_task_reference(options, prepared.task),
            data=options.data,
            backbone=options.backbone,
            weight=options.weight,
            template=options.template,
        ),
    )


def _task_reference(options: o.MoveOptions, task: Task) -> str:
    """How the task is named on a command line: as the user did, else as the prompt remembers it."""
    return options.task or task.name


def _move_vector(options: o.MoveOptions, to: str) -> None:
    from promptport.cli.console import check_vector_out, print_facts
    from promptport.moving import move_vector
    from promptport.storage import save_vector

    config = options.vector_config()
    backbone = options.backbone[0] if options.backbone else None
    check_vector_out(options.out)
    moved = move_vector(options.prompts, to, backbone=backbone, config=config)
    save_vector(moved.vector, options.out)
    if moved.leaves_rest:
        note("the words are carried, not what the prompt holds beside them")
    described = {"folder": str(options.out), **moved.to_dict()}
    if options.json_output:
        print_json(described)
    else:
        print_facts("vector carried", [[k, v] for k, v in described.items()])
    origin = "mixture" if described["method"] == "mixture.v1" else "seed:0"
    following = command_line(
        "vector",
        "combine",
        "v",
        load=f"v={options.out}",
        origin=origin,
        out=_beside(options.out, "prompt"),
    )
    written(options.out, "Put it on an origin of the target", following)


def _beside(place: Path, what: str) -> Path:
    return place.with_name(f"{place.name}-{what}")
