"""promptport combine: arithmetic on task prompt vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    OwnBackboneOption,
    TextsOption,
    TruncateFlag,
    backbone_reference,
    check_out,
    open_tasks,
    origin_folder,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
    show_lesson,
    task_of,
)
from promptport.cli.made_origin import OWN, origin_for
from promptport.cli.parsing import parse_options
from promptport.cli.vector.searching import describe_search, search_config, searched, show_search
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.distillation import Texts
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task
    from promptport.vector import TaskPromptVector

EITHER = "either"


def command(
    expression: Annotated[
        str,
        typer.Argument(
            help="For instance 'sst2 + 0.5*mnli - (a + b)/2'. A name is a folder NAME or "
            "NAME.prompt here; a minus between names needs a space, and an expression that begins "
            "with one parentheses: '(-a + b)'."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    origin: Annotated[
        str,
        typer.Option(
            help="What the vectors are added to: own (the first prompt's), seed:3 (random words), "
            "normal, mixture, text:SOME WORDS, or a prompt folder."
        ),
    ] = OWN,
    method: Annotated[
        str,
        typer.Option(
            help="sum, mean, weighted, ties, dare, orthogonal, select; concatenate (whole "
            "prompts one behind the other); or either (to reconcile: sum and concatenate are both "
            "begun, and the one that misses less goes on)."
        ),
    ] = "sum",
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the method, NAME=VALUE; repeat for several.")
    ] = None,
    load: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER, prompt or vector; repeat for several.")
    ] = None,
    backbone: OwnBackboneOption = None,
    seed: Annotated[int, seed_option("Seed of random origins and methods.")] = 0,
    search: Annotated[
        str | None,
        typer.Option(
            help="Choose coefficients by labelled dev rows of the tasks: mean (of the scores), min "
            "or harmonic (of the kept shares)."
        ),
    ] = None,
    coefficients: Annotated[
        str,
        typer.Option(help="Search one for the whole expression, or separate ones for its names."),
    ] = "one",
    grid: Annotated[
        str | None,
        typer.Option(
            help="Search: numbers to try, START:END:STEP like 0:1.5:0.1 (both ends included) or "
            "-0.5,0.25,1. Usually 0:1:0.05, or 0.25:1:0.25 for separate coefficients."
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(
            help="Search: go on from the best of the grid by ever smaller steps, down to this "
            "one; ties by dev loss. 0: the grid, and for separate ones a single step."
        ),
    ] = 0.0,
    ties: Annotated[
        str | None,
        typer.Option(
            help="Search: between equal values the smallest coefficients (usual for one), or the "
            "lowest dev loss (usual for separate ones and with --precision)."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task that the search scores; repeat for several. Or, to reconcile, the tasks of "
            "the names, in their order, if their folders name none that is embedded."
        ),
    ] = None,
    data: DataOption = None,
    max_dev_rows: Annotated[
        int, typer.Option(help="Search: use only so many dev rows; 0: all.")
    ] = 0,
    distill_merge: Annotated[
        bool,
        typer.Option(
            "--reconcile",
            help="Then let it answer like each prompt on that task's unlabelled texts: some "
            "steps, no labels.",
        ),
    ] = False,
    texts: TextsOption = "task",
    rows: Annotated[
        int | None,
        typer.Option(
            help="Reconcile: most unlabelled rows per task; usually 1024 to read (fewer than 256 "
            "are filled up by swapping words), or 256 to make of random words."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Reconcile: most updates per task, usually 600; it ends before if nothing is "
            "missed, or no less than before.",
        ),
    ] = None,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Add, subtract, scale and merge tuned prompts; trains nothing unless --reconcile is given."""
    quiet()
    from promptport.backbone import Backbone
    from promptport.distillation import INTO_MERGE, DistillConfig
    from promptport.distillation import distill_merge as reconciled
    from promptport.merging.expressions import parse_expression
    from promptport.storage import save_prompt

    terms = parse_expression(expression)
    _check_method(method)
    places = _places(list(terms), load or [])
    check_out(out, *places.values(), *origin_folder(None if origin == OWN else origin))
    settings = search_config(
        search, coefficients, grid, precision, ties, method, option or [], seed
    )
    told = {"--texts": texts != "task", "--rows": rows is not None, "--steps": steps is not None}
    if not distill_merge:
        refuse_together("no --reconcile", told)
    if not search:
        searching = {"--max-dev-rows": max_dev_rows != 0, "--grid": grid is not None}
        searching |= {"--precision": precision != 0, "--ties": ties is not None}
        refuse_together("no --search", searching)
    if not search and not distill_merge:
        needless = {"--task": bool(task), "--truncate": truncate, "--dtype": dtype != "auto"}
        needless |= {"--device": device != "auto", "--device-map": device_map is not None}
        refuse_together("no --search and no --reconcile", needless)
        unread = origin == OWN and backbone is not None and not _any_text(places)
        refuse_together("--origin own", {"--backbone": unread})
    loading: dict[str, Any] = {"device": device, "device_map": device_map, "dtype": dtype}
    _check_added(terms, distill_merge)
    found = None
    vector: TaskPromptVector | None = None
    if _is_whole(method):
        _check_whole(method, terms, origin, option or [], search, distill_merge)
        starts = {"concatenate": _concatenated(places)}
        if method == EITHER:
            summed, vector = _merged(terms, places, origin, "sum", {}, backbone, seed)
            starts = {"sum": summed, **starts}
    elif settings is not None:
        settings = replace(settings, rows=max_dev_rows, truncate=truncate)
        tasks = open_tasks(task or [], data)
        found = searched(terms, places, origin, settings, backbone, loading, tasks)
        starts, vector = {method: found.prompt}, found.vector
    else:
        options = parse_options(option or [])
        prompt, vector = _merged(terms, places, origin, method, options, backbone, seed)
        starts = {method: prompt}
    prompt = next(iter(starts.values()))
    settled = None
    if distill_merge:
        # Four times as many are made as are kept: of random words the usual number will do.
        usual = INTO_MERGE.rows if texts == "task" else DistillConfig.rows
        config = replace(
            INTO_MERGE,
            texts=cast("Texts", texts),
            rows=usual if rows is None else rows,
            steps=INTO_MERGE.steps if steps is None else steps,
            seed=seed,
            truncate=truncate,
        )
        parts = _parts(terms, places, task or [], data)
        model = Backbone.load(**backbone_reference(prompt.provenance, backbone), **loading)
        with progress_bar("reconciling", hidden=json_output) as show:
            settled = reconciled(
                list(starts.values()),
                model,
                parts,
                config=config,
                progress=lambda done, total: show(done, total, ""),
            )
        prompt = settled.prompt
        vector = vector if settled.start == 0 else None  # of the sum, where both were begun
    save_prompt(prompt, out)
    described: dict[str, Any] = {
        "combination": prompt.provenance.task,
        "terms": terms,
        "folders": {name: str(place) for name, place in places.items()},
        "method": list(starts)[settled.start if settled else 0],
        "backbone": prompt.provenance.backbone,
        "origin": prompt.provenance.origin,
        "length": prompt.length,
        "template": prompt.provenance.template,
        "vector_norms": None,
        "folder": str(out),
        **({} if vector is None else _of_vector(vector)),
    }
    if settings is not None and found is not None:
        described["search"] = describe_search(found, settings, terms)
    if settled is not None:
        described["reconciled"] = settled.to_dict()
        if settled.tried:
            described["reconciled"]["tried"] = dict(zip(starts, settled.tried, strict=True))
    if json_output:
        print_json(described)
        return
    _show(expression, described, _added(terms))
    typer.echo(f"Written to {out}. Score it with: promptport eval {out} --task TASK")


def _of_vector(vector: TaskPromptVector) -> dict[str, Any]:
    """What to say of the combination without its origin."""
    if not vector.delta.any():
        typer.echo("note: the combination is zero: the prompt is the bare origin", err=True)
    return {"combination": vector.label, "vector_norms": vector.delta.norm(dim=1).tolist()}


def _show(expression: str, described: dict[str, Any], added: list[str]) -> None:
    """Print what `--json` says."""
    names = ("combination", "method", "backbone", "origin", "length", "template", "vector_norms")
    facts = [[name.replace("_", " "), described[name]] for name in names]
    print_table(expression, ["", ""], [fact for fact in facts if fact[1] is not None])
    if "search" in described:
        show_search(described["search"])
    if "reconciled" in described:
        if tried := described["reconciled"].get("tried"):
            print_table("begun from", ["", "missed at the first look"], list(tried.items()))
        show_lesson("reconciled with the single prompts", described["reconciled"], added)


def _places(names: list[str], load: list[str]) -> dict[str, Path]:
    """The folder of every name."""
    given = {}
    for text in load:
        name, equals, folder = text.partition("=")
        if not equals or name not in names or name in given:
            hyphen = ", or put spaces around a minus: a hyphen belongs to a name"
            raise PromptPortError(
                "--load",
                expected="NAME=FOLDER with a name of the expression, each once "
                f"({', '.join(names)})",
                got=repr(text),
                fix="Write for instance --load sst2=runs/sst2-seed1"
                + (hyphen if any("-" in known for known in names) else ""),
            )
        given[name] = Path(folder)
    return {name: given.get(name) or _here(name) for name in names}


def _here(name: str) -> Path:
    for place in (Path(name), Path(f"{name}.prompt")):
        if place.is_dir():
            return place
    space = ", and put spaces around a minus" if "-" in name else ""
    raise PromptPortError(
        f"name {name!r} of the expression",
        expected=f"a folder {name} or {name}.prompt here",
        got="neither",
        fix=f"Check the name, or add --load {name}=FOLDER{space}",
    )


def _is_whole(method: str) -> bool:
    """Whether it takes prompts as they are."""
    return method in ("concatenate", "concatenate.v1", EITHER)


def _check_method(method: str) -> None:
    """Refuse a name that is none, with all that there are."""
    from promptport.merging import list_merges
    from promptport.registry import unknown_name

    full = {"concatenate.v1", *(found.name for found in list_merges())}
    bare = {EITHER, *(name.rpartition(".")[0] for name in full)}
    if method not in full | bare:
        raise unknown_name("merge method", method, full if "." in method else bare)


def _check_whole(
    method: str,
    terms: dict[str, float],
    origin: str,
    options: list[str],
    search: str | None,
    distill_merge: bool,
) -> None:
    if method == EITHER and not distill_merge:
        raise PromptPortError(
            f"method {EITHER}",
            expected="--reconcile, which tells the sum and the concatenation apart",
            got="none",
            fix="Add --reconcile, or choose sum or concatenate",
        )
    scaled = [f"{value:g}*{name}" for name, value in terms.items() if value != 1]
    if scaled or origin != OWN or options or search:
        raise PromptPortError(
            f"method {method}",
            expected="whole prompts, like 'a + b', without --origin, --option and --search",
            got=", ".join(scaled) or "one of them",
            fix="Leave coefficients and options out, or choose another method",
        )


def _check_added(terms: dict[str, float], distill_merge: bool) -> None:
    """Reconciling learns to answer like each name that is added, and so undoes what is taken off.

    Raises:
        PromptPortError: a name is taken off, or none is added.
    """
    wrong = [f"{value:g}*{name}" for name, value in terms.items() if value < 0]
    if distill_merge and (wrong or not _added(terms)):
        raise PromptPortError(
            "--reconcile",
            expected="names that are added: it learns to answer like each of them, and would undo "
            "what is taken off",
            got=", ".join(wrong) or "none",
            fix="Leave --reconcile out, or take nothing off",
        )


def _concatenated(places: dict[str, Path]) -> SoftPrompt:
    from promptport.merging import concatenate
    from promptport.storage import load_prompt

    return concatenate([load_prompt(place) for place in places.values()])


def _parts(
    terms: dict[str, float], places: dict[str, Path], tasks: list[str], data: Path | None
) -> list[tuple[SoftPrompt, Task]]:
    """The single prompts that are added, with their tasks."""
    from promptport.storage import load_prompt

    added = _added(terms)
    if tasks and len(tasks) != len(added):
        raise PromptPortError(
            "--task",
            expected=f"one for each name that is added ({', '.join(added)})",
            got=", ".join(tasks),
            fix="Repeat --task in the order of the names",
        )
    singles = [load_prompt(places[name]) for name in added]
    given: list[str | None] = [*tasks] or [None] * len(added)
    return [(p, task_of(p, t, data, "--task")) for p, t in zip(singles, given, strict=True)]


def _added(terms: dict[str, float]) -> list[str]:
    return [name for name, value in terms.items() if value > 0]


def _any_text(places: dict[str, Path]) -> bool:
    """Whether an origin is made again from PEFT's text, for which the backbone is read."""
    from promptport.backbone import origin_is_text
    from promptport.storage import is_vector, load_prompt

    folders = [place for place in places.values() if not is_vector(place)]
    return any(origin_is_text(load_prompt(place)) for place in folders)


def _merged(
    terms: dict[str, float],
    places: dict[str, Path],
    origin: str,
    method: str,
    options: dict[str, Any],
    backbone: str | None,
    seed: int,
) -> tuple[SoftPrompt, TaskPromptVector]:
    from promptport.merging import merge
    from promptport.storage import load_vector
    from promptport.vector import unique_labels

    vectors = unique_labels(
        {name: load_vector(place, name, backbone) for name, place in places.items()}
    )
    merged = merge(vectors, list(terms.values()), method=method, seed=seed, options=options)
    first = next(iter(places.values()))
    start, made = origin_for(
        origin, first, merged.provenance, merged.length, backbone=backbone, seed=seed
    )
    return merged.apply(start, made), merged
