"""`move --only`: one stage of the road by answers, fitting a mixture or aligning a moved prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.console import (
    check_other_prompt,
    command_line,
    note_no_template,
    note_other_task,
    print_json,
    refuse_together,
    say,
    shared_words,
    show_distillation,
    task_of,
    written,
)
from promptport.cli.move_report import show_check
from promptport.errors import PromptPortError, UnknownNameError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.cli.move_options import MoveOptions
    from promptport.distillation import DistillConfig, DistillResult
    from promptport.moving import AnswerCheck
    from promptport.moving.places import PromptAt
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task


def run_stage(options: MoveOptions) -> None:
    """Do the stage that --only names.

    Raises:
        UnknownNameError: another stage.
        PromptPortError: options that it does not have, or what the stage refuses.
    """
    stages = {"mixture": _fit, "align": _align}
    if options.only not in stages:
        raise UnknownNameError(
            "--only", expected="mixture or align", got=repr(options.only), fix="Choose one of them"
        )
    others = {**options.of_tables, "--vector": options.vector, "--score": options.score}
    others |= {"--labelled": options.labelled > 0}
    others |= {"--written-to": options.written_to is not None}
    others |= {"--method": options.method != "auto", "--check": options.check is not None}
    refuse_together(f"--only {options.only}", others)
    stages[options.only](options)


def _fit(options: MoveOptions) -> None:
    """A mixture of words that answers like the prompt, on the prompt's own model."""
    from promptport.distillation import fit_mixture
    from promptport.distillation.moving import FIT_EPOCHS, FIT_PATIENCE
    from promptport.distillation.starts import learning_settings

    refuse_together(
        "--only mixture",
        {
            "--start": options.start is not None,
            "--relative-lr": options.relative_lr is not None,
            "--weight": bool(options.weight),
            "several prompts": len(options.prompts) > 1,
        },
    )
    (source,) = _sources(options)
    task = task_of(source.prompt, options.task, options.data, "--task")
    _look(options, source.prompt, task)
    names = [*options.words_of, *([options.to] if options.to else [])]
    backbone = source.place.backbone
    passes = {"epochs": options.epochs or FIT_EPOCHS, "patience": FIT_PATIENCE}
    config = learning_settings(_config(options, task, backbone), passes)
    result = fit_mixture(
        source.prompt,
        backbone,
        task,
        words=shared_words(names),
        split=options.split,
        config=config,
    )
    _report(options, task, result, f"{options.prompts[0]} as a mixture of words", source.place.name)
    if options.to is None:
        written(options.out, "Look at it", command_line("inspect", options.out))
        return
    place = options.out.with_name(f"{options.out.name}-moved")
    following = command_line(
        "move", options.out, to=options.to, out=place, task=options.task, data=options.data
    )
    written(options.out, "Carry it", following)


def _align(options: MoveOptions) -> None:
    """Pull a moved prompt's answers towards those of the prompts that it came from."""
    from promptport.distillation import Teacher, align
    from promptport.moving import check_answers
    from promptport.moving.places import ModelPlace, place_of
    from promptport.storage import load_prompt

    refuse_together(
        "--only align", {"--words-of": bool(options.words_of), "--noise": options.noise is not None}
    )
    if options.start is None:
        raise PromptPortError(
            "--only align",
            expected="--start PORTED, the moved prompt",
            got="none",
            fix="Name its folder; the argument is the prompt that it came from",
        )
    folder = Path(options.start)
    start = load_prompt(folder)
    place = place_of(start.provenance, None, folder, options.loading)
    if options.to is not None:
        place = ModelPlace(options.to, loading=options.loading)
    task = task_of(start, options.task, options.data, "--task")
    _look(options, start, task)
    target = place.backbone
    config = _config(options, task, target)
    teachers = [Teacher(s.place.backbone, s.prompt, s.weight) for s in _sources(options)]
    result = align(start, target, teachers, task, split=options.split, config=config)
    check = check_answers(
        result.prompt, target, teachers, task, split=options.split, config=config, held_back=True
    )
    title = f"{options.start} aligned on {place.name}"
    _report(options, task, result, title, place.name, check)
    reference = options.task or task.name
    following = command_line("eval", options.out, task=reference, data=options.data, baselines=True)
    written(options.out, "Score it", following)


def _sources(options: MoveOptions) -> list[PromptAt]:
    from promptport.moving.places import open_prompts

    sources = open_prompts(
        options.prompts, options.backbone or None, options.weight, options.loading
    )
    if options.template is None:
        return sources
    return [
        replace(each, prompt=each.prompt.with_provenance(template=options.template))
        for each in sources
    ]


def _config(options: MoveOptions, task: Task, backbone: Backbone) -> DistillConfig:
    """The budget, and what is asked: told on standard error where the user left it open."""
    from promptport.distillation.starts import learning_settings, usual_distillation
    from promptport.moving.planning import choose_texts, texts_at_hand

    count, refused = (0, None) if options.texts != "auto" else texts_at_hand(task, options.split)
    texts, asked = choose_texts(options.texts, task.name, options.split, count, refused)
    say(f"asked: {asked}, no label is read")
    return learning_settings(usual_distillation(backbone), {**options.learning, "texts": texts})


def _look(options: MoveOptions, prompt: SoftPrompt, task: Task) -> None:
    """What may surprise, before anything long begins."""
    check_other_prompt(options.out, prompt.provenance.task, task.name, force=options.force)
    note_other_task([prompt], task)
    note_no_template(prompt, task)


def _report(
    options: MoveOptions,
    task: Task,
    result: DistillResult,
    title: str,
    backbone: str,
    check: AnswerCheck | None = None,
) -> None:
    from promptport.storage import save_prompt

    save_prompt(result.prompt, options.out)
    output: dict[str, Any] = {"backbone": backbone, "task": task.name, "folder": str(options.out)}
    output |= result.to_dict()
    if check is not None:
        output["check"] = check.to_dict()
    if options.json_output:
        print_json(output)
        return
    show_distillation(title, output)
    if check is not None:
        show_check(check)
