"""promptport transfer: carry a prompt to another backbone."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from promptport.cli.console import (
    DataOption,
    JsonFlag,
    backbone_reference,
    check_one_each,
    check_out,
    interval,
    open_tasks,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
)
from promptport.cli.moved_vector import MINIMUM_ANCHORS, VectorSettings, is_vector, move_vector
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.distillation.selection import Criterion
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task
    from promptport.transfers import Source, TransferConfig, TransferResult

_CHOOSE = "choose"


def command(
    prompt: Annotated[
        list[Path],
        typer.Argument(
            help="Prompt folder (ours or PEFT's); several of one task become one. Or one vector "
            "folder, which stays a vector (or --vector)."
        ),
    ],
    to: Annotated[
        str, typer.Option(help="Target backbone: embedded name, model folder or Hub id.")
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write, or vector folder.")],
    vector: Annotated[
        bool,
        typer.Option(
            "--vector",
            help="Carry what tuning added to an anchored prompt, as words with signs: a vector "
            "folder for origins of the target (combine --origin mixture).",
        ),
    ] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Source backbone, if it is not where the prompt says; repeat, one per prompt.",
        ),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Weight of a source; repeat, one per prompt. Default: all alike."),
    ] = None,
    lengths: Annotated[
        str, typer.Option(help="Prompts of different length: same (refuse), cut, repeat, stretch.")
    ] = "same",
    own_anchors: Annotated[
        bool,
        typer.Option(
            "--own-anchors", help="Every source uses all words that it shares with the target."
        ),
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(
            help="mixture (default of anchored prompts), least_squares (default), or another; "
            "promptport methods lists them."
        ),
    ] = None,
    magnitude: Annotated[
        str | None,
        typer.Option(
            help="Rule for the length: token (usual), keep (usual of mixture), paper, dimension."
        ),
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="File with the anchor words to use, one a line.")
    ] = None,
    anchors: Annotated[
        str, typer.Option(help="Which shared words: all, frequent:COUNT, agreeing:SHARE.")
    ] = "all",
    minimum_anchors: Annotated[
        int, typer.Option(help="Refuse with fewer anchors.")
    ] = MINIMUM_ANCHORS,
    seed: Annotated[int, seed_option("Seed of methods that draw random numbers.")] = 0,
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the method, NAME=VALUE; repeat for several.")
    ] = None,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Several ways, the best is kept: METHOD, METHOD:OPTION=VALUE,RULE; repeat.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="What decides between --try: matching, roundtrip (usual), agreement (unlabelled "
            "text of --task), or labels (dev rows of --task)."
        ),
    ] = None,
    cue_word: Annotated[
        str | None,
        typer.Option(
            help="For causal targets: word to put in front of {answer}, for instance is. choose: "
            "the one that answers most like the source (asks both models random words; --task)."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Task that --by and --readout choose ask about; without them: score the result on "
            "its test rows."
        ),
    ] = None,
    data: DataOption = None,
    json_output: JsonFlag = False,
) -> None:
    """Carry prompts to another backbone by the embedding tables: no labels, no training."""
    quiet()
    check_out(out, *prompt)
    from promptport.transfers import TransferConfig, transfer

    chosen = {"--magnitude": magnitude is not None, "--own-anchors": own_anchors}
    if vector or any(is_vector(place) for place in prompt):
        several = {"--weight": bool(weight), "--lengths": lengths != "same"}
        others = {"--try": bool(candidate), "--by": by is not None, "--seed": seed != 0}
        asked = {"--readout": cue_word is not None, "--task": task is not None}
        refuse_together(
            "--vector" if vector else "a vector folder", {**chosen, **several, **others, **asked}
        )
        settings: VectorSettings = {
            "words": None if words is None else read_words(words),
            "anchors": anchors,
            "minimum_anchors": minimum_anchors,
            "options": parse_options(option or []),
        }
        named = None if not source else source[0]
        move_vector(prompt, named, to, method, settings, out, json_output)
        return
    sources = _sources(prompt, source or [], weight or [])
    opened = None if task is None else open_tasks([task], data)[0]
    if cue_word == _CHOOSE and opened is None:
        raise PromptPortError(
            "--readout choose", expected="--task with it", got="none", fix="Name the task"
        )
    common = TransferConfig(
        words=None if words is None else read_words(words),
        anchors=anchors,
        minimum_anchors=minimum_anchors,
        lengths=lengths,
        seed=seed,
    )
    if candidate:
        own = {"--method": method is not None, "--option": bool(option)}
        refuse_together("--try", {**own, **chosen})
        result = _selected(sources, to, candidate, by or "roundtrip", opened, common)
        _finish(_read_behind(result, cue_word, sources, opened), out, json_output)
        return
    if by is not None:
        raise PromptPortError(
            "--by", expected="--try with it", got="none", fix="Add --try METHOD, or leave --by out"
        )
    with progress_bar("carrying", hidden=json_output) as show:
        result = transfer(
            sources,
            target=to,
            config=common,
            method=method,
            magnitude=magnitude,
            own_anchors=own_anchors,
            options=parse_options(option or []),
            progress=lambda done, total: show(done, total, ""),
        )
    result = _read_behind(result, cue_word, sources, opened)
    # What chooses a word reads no label: the task may have no labelled rows at all.
    scored = None if opened is None or cue_word == _CHOOSE else _scored(result, opened)
    _finish(result, out, json_output, scored)


def _read_behind(
    result: TransferResult, word: str | None, sources: list[Source], task: Task | None
) -> TransferResult:
    """The result with a word in front of the answer in its template."""
    if word is None:
        return result
    prompt = result.prompt
    if word == _CHOOSE and task is not None:
        return replace(result, prompt=_chosen_word(prompt, sources, task))
    from promptport.tasks import Template

    if prompt.provenance.template is None:
        raise PromptPortError(
            "--readout",
            expected="a prompt that remembers its template",
            got="one without",
            fix="Leave it out, and give eval the template",
        )
    template = Template.parse(prompt.provenance.template).with_cue_word(word).text
    told = replace(prompt.provenance, template=template)
    return replace(result, prompt=replace(prompt, provenance=told))


def _chosen_word(prompt: SoftPrompt, sources: list[Source], task: Task) -> SoftPrompt:
    from promptport.backbone import Backbone
    from promptport.distillation import DistillConfig, Teacher, choose_cue_word

    model = Backbone.load(**backbone_reference(prompt.provenance))
    teachers = [Teacher(_backbone(s), s.prompt, s.weight) for s in sources]
    config = DistillConfig(texts="words", truncate=True)
    found = choose_cue_word(prompt, model, teachers, task, config=config)
    typer.echo(f"word in front of the answer: {found.word or 'none'}", err=True)
    return found.prompt


def _scored(result: TransferResult, task: Task) -> dict[str, dict[str, Any]]:
    """The ported prompt on test rows of a task, and the baselines, with intervals."""
    from promptport.backbone import Backbone
    from promptport.evaluation import evaluate
    from promptport.tuning import score_baselines

    model = Backbone.load(**backbone_reference(result.prompt.provenance))
    own = evaluate(model, task, result.prompt, truncate=True).score
    baselines = score_baselines(model, task, result.prompt, truncate=True)
    return {name: s.to_dict() for name, s in {"ported prompt": own, **baselines}.items()}


def _finish(
    result: TransferResult,
    out: Path,
    json_output: bool,
    scored: dict[str, dict[str, Any]] | None = None,
) -> None:
    from promptport.storage import save_prompt

    save_prompt(result.prompt, out)
    report = result.report.to_dict()
    selection = result.prompt.provenance.history[-1].get("selection")
    if json_output:
        extra = {"selection": selection, "scores": scored}
        told = {name: value for name, value in extra.items() if value is not None}
        print_json({"folder": str(out), **report, **told})
        return
    if selection is not None:
        rows = [[name, score] for name, score in selection["scores"].items()]
        title = f"chosen by {selection['by']} (read: {selection['touched']}): {selection['chosen']}"
        print_table(title, ["way", "score"], sorted(rows, key=lambda row: -row[1]))
    show_transfer(report, out, result.prompt.provenance.task)
    if scored is not None:
        rows = [[name, interval(score)] for name, score in scored.items()]
        print_table("scores on test rows", ["", "score"], rows)


def _selected(
    sources: list[Source],
    to: str,
    candidates: list[str],
    by: str,
    task: Task | None,
    common: TransferConfig,
) -> TransferResult:
    """The best of several ways; loads the backbones only if the criterion asks them."""
    from promptport.backbone import Backbone
    from promptport.distillation import DistillConfig, select_transfer
    from promptport.distillation.selection import parse_candidate

    ways = {text: parse_candidate(text, parse_options, common) for text in candidates}
    teachers = [] if task is None else [_backbone(s) for s in sources]
    selection = select_transfer(
        sources,
        Backbone.load(to),
        ways,
        by=cast("Criterion", by),
        task=task,
        teachers=teachers,
        config=DistillConfig(truncate=True),
    )
    return selection.result


def _backbone(source: Source) -> Backbone:
    from promptport.backbone import Backbone

    return Backbone.load(source.space.backbone, revision=source.space.revision)


def _sources(prompts: list[Path], backbones: list[str], weights: list[float]) -> list[Source]:
    """The prompts with their spaces.

    Raises:
        PromptPortError: another number of backbones or weights than of prompts.
    """
    from promptport.backbone import open_space
    from promptport.storage import load_prompt
    from promptport.transfers import Source

    for name, values in (("--from", backbones), ("--weight", weights)):
        check_one_each(name, values, prompts)
    found = []
    for i, folder in enumerate(prompts):
        prompt = load_prompt(folder)
        named = backbones[i] if backbones else None
        space = open_space(**backbone_reference(prompt.provenance, named))
        found.append(Source(prompt, space, weights[i] if weights else 1.0))
    return found


def parse_options(texts: list[str]) -> dict[str, Any]:
    """`topk=512` -> {"topk": 512}: numbers, true, false and none are read as such.

    Raises:
        PromptPortError: no `=`.
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise PromptPortError(
                "--option", expected="NAME=VALUE", got=repr(text), fix="Write for instance topk=512"
            )
        options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    """A number, true, false or none as such, all else as text (YAML would read 1e-6 as text)."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def read_words(path: Path) -> list[str]:
    """A word list, one a line, empty lines ignored.

    Raises:
        PromptPortError: it cannot be read.
    """
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PromptPortError(
            str(path),
            expected="a text file with one word a line",
            got=(error.strerror or "none").lower() if isinstance(error, OSError) else "no UTF-8",
            fix="Check the path",
        ) from error


def show_transfer(report: dict[str, Any], out: Path, task: str | None) -> None:
    """The report of a transfer as tables, and how to score a prompt of this task."""
    facts = [
        ["anchors", report["anchors"]],
        ["agreement of anchor cosines (centred)", report["agreement"]],
        ["matching (mean cosine)", report["matching"]],
        ["round trip (mean cosine)", report["roundtrip"]],
        ["method", report["method"]],
        ["magnitude", report["magnitude"]],
        ["weight on shared words", report["kept_weight"]],
        ["seconds", report["seconds"]],
        ["labels used", "yes" if report["labels_used"] else "no"],
    ]
    way = f"{report['source']} -> {report['target']}"
    print_table(way, ["", ""], [fact for fact in facts if fact[1] is not None])
    rows = [
        [i + 1, " ".join(w for w, _ in before), " ".join(w for w, _ in after)]
        for i, (before, after) in enumerate(
            zip(report["nearest_before"], report["nearest_after"], strict=True)
        )
    ]
    print_table("nearest words of each virtual token", ["token", "before", "after"], rows)
    for line in report["warnings"]:
        typer.echo(f"- {line}")
    score = f"promptport eval {out} --task {task or 'TASK'} --baselines"
    typer.echo(f"Written to {out}. Score it with: {score}")
