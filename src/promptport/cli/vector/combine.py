"""promptport vector combine: arithmetic on task vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    OwnBackboneOption,
    TextsOption,
    TruncateFlag,
    check_other_prompt,
    check_out,
    command_line,
    hint,
    note,
    open_tasks,
    origin_folder,
    print_facts,
    print_json,
    quiet,
    refuse_together,
    say,
    seed_option,
    show_distillation,
    written,
)
from promptport.cli.panels import METHOD_PANEL, TASK_PANEL
from promptport.cli.parsing import parse_options
from promptport.cli.vector.distilling import distill_changes
from promptport.cli.vector.searching import USUAL, search_settings, show_search
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.library.combining import Combination
    from promptport.library.terms import Terms

_OWN = "own"
_SEARCH_PANEL = "Choose the coefficients by labelled rows (--search)"
_DISTILL_PANEL = "Learn to answer like each prompt, without labels (--distill)"


def command(
    expression: Annotated[
        str,
        typer.Argument(
            help="For instance 'sst2 + 0.5*library/mnli - (a + b)/2'. A name is a folder NAME or "
            "NAME.prompt, or the NAME of a --load; a minus between names needs a space."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    origin: Annotated[
        str,
        typer.Option(
            help="What the vectors are put on: own (that of the first name), seed:3 (random "
            "words), normal, mixture, text:SOME WORDS, or a prompt folder."
        ),
    ] = _OWN,
    load: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER, prompt or vector; repeat for several.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="sum, mean, weighted, ties, dare, orthogonal, select; concatenate (whole "
            "prompts one behind the other); or either (with --distill: sum and concatenate are "
            "both begun, and the one that misses less goes on).",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = "sum",
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of the method, NAME=VALUE; repeat for several.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    seed: Annotated[int, seed_option("Seed of random origins and methods.", METHOD_PANEL)] = 0,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help=f"Choose coefficients by labelled dev rows of the tasks (--search-by {USUAL}).",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = False,
    search_by: Annotated[
        str | None,
        typer.Option(
            help=f"Search by the smallest kept share (min), their harmonic mean (harmonic), or the "
            f"mean of the scores (mean); usually {USUAL}.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    coefficients: Annotated[
        str,
        typer.Option(
            help="One for the whole expression, or separate ones for its names.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = "one",
    grid: Annotated[
        str | None,
        typer.Option(
            help="Numbers to try, START:END:STEP like 0:1.5:0.1 (both ends included) or "
            "-0.5,0.25,1. Usually 0:1:0.05, or 0.25:1:0.25 for separate coefficients.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(
            help="Go on from the best of the grid by ever smaller steps, down to this one; ties "
            "by dev loss. 0: the grid, and for separate ones a single step.",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = 0.0,
    ties: Annotated[
        str | None,
        typer.Option(
            help="Between equal values the smallest coefficients (usual for one), or the lowest "
            "dev loss (usual for separate ones and with --precision).",
            rich_help_panel=_SEARCH_PANEL,
        ),
    ] = None,
    max_dev_rows: Annotated[
        int,
        typer.Option(help="Use only so many dev rows; 0: all.", rich_help_panel=_SEARCH_PANEL),
    ] = 0,
    distill: Annotated[
        bool,
        typer.Option(
            "--distill",
            help="Then let it answer like each prompt on that task's unlabelled texts: some "
            "steps, no labels.",
            rich_help_panel=_DISTILL_PANEL,
        ),
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Most unlabelled rows per task; usually 1024 to read (fewer than 256 are filled "
            "up by swapping words), or 256 to make of random words.",
            rich_help_panel=_DISTILL_PANEL,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most updates per task, usually 600; it ends before if nothing is missed, or no "
            "less than before.",
            rich_help_panel=_DISTILL_PANEL,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task that the search scores; repeat for several. To distill, the tasks of the "
            "names, in their order. Usually those that the prompts remember.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    texts: TextsOption = "task",
    truncate: TruncateFlag = False,
    backbone: OwnBackboneOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    force: ForceFlag = False,
    json_output: JsonFlag = False,
) -> None:
    """Add, subtract, scale and merge task vectors.

    A task vector is a tuned prompt minus the origin of its tuning. The expression is computed on
    vectors and put on an origin: the result is a prompt. Nothing is trained unless --distill is
    given.

    Example:
        promptport vector combine "capital + 0.5*currency" --out both
        promptport vector combine "capital + currency" --search --out both
        promptport vector combine "capital + currency" --method either --distill --out both
    """
    quiet()
    from promptport.library.combining import CombineConfig, combine
    from promptport.library.terms import find_terms
    from promptport.storage import save_prompt

    terms = find_terms(expression, _loads(load or []))
    searching = search or search_by is not None
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    idle = {"--coefficients": coefficients != "one", "--max-dev-rows": max_dev_rows != 0}
    idle |= {"--grid": grid is not None, "--precision": precision != 0, "--ties": ties is not None}
    _check_needs("--search", searching, idle)
    idle = {"--texts": texts != "task", "--rows": rows is not None, "--steps": steps is not None}
    _check_needs("--distill", distill, idle)
    idle = {"--task": bool(task), "--truncate": truncate, "--dtype": dtype != "auto"}
    idle |= {"--device": device != "auto", "--device-map": device_map is not None}
    _check_needs("--search or --distill", searching or distill, idle)
    config = CombineConfig(
        method,
        parse_options(option or []),
        origin,
        seed,
        search_settings(
            search_by or USUAL, coefficients, grid, precision, ties, max_dev_rows, truncate
        )
        if searching
        else None,
        distill_changes(texts, rows, steps, seed, truncate) if distill else None,
    )
    check_out(out, *terms.folders.values(), *origin_folder(None if origin == _OWN else origin))
    if not config.needs_model and origin == _OWN and backbone is not None:
        refuse_together("--origin own", {"--backbone": not terms.has_text_origin()})
    made = combine(
        terms,
        config=config,
        backbone=backbone,
        tasks=open_tasks(task or [], data),
        data=data,
        loading=loading,
    )
    check_other_prompt(out, made.prompt.provenance.task, force=force, combined=True)
    save_prompt(made.prompt, out)
    for line in made.notes:
        note(line)
    described = made.to_dict() | {"folder": str(out)}
    if json_output:
        print_json(described)
        return
    _show(expression, described, made)
    written(out)
    _hint_scores(out, made, terms, task or [], data, backbone)


def _check_needs(way: str, given: bool, others: dict[str, bool]) -> None:
    """Refuse options that do nothing without another one.

    Raises:
        PromptPortError: one of them stands without it.
    """
    idle = [name for name, is_given in others.items() if is_given]
    if idle and not given:
        raise PromptPortError(
            idle[0],
            expected=f"{way} with it",
            got="none",
            fix=f"Add {way}, or leave {idle[0]} out",
        )


def _loads(texts: list[str]) -> dict[str, Path]:
    """The folders of `NAME=FOLDER`."""
    folders: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder or name in folders:
            raise PromptPortError(
                "--load",
                expected="NAME=FOLDER with a name of the expression, each once",
                got=repr(text),
                fix="Write for instance --load sst2=runs/sst2-seed1",
            )
        folders[name] = Path(folder)
    return folders


def _show(expression: str, described: dict[str, Any], made: Combination) -> None:
    """Show what `--json` says."""
    names = ("combination", "method", "backbone", "origin", "length", "template", "vector_norms")
    facts = [[name.replace("_", " "), described[name]] for name in names]
    print_facts(expression, [fact for fact in facts if fact[1] is not None])
    if "search" in described:
        show_search(described["search"])
    if "distilled" in described:
        if tried := described["distilled"].get("tried"):
            print_facts("begun from (missed at the first look)", list(tried.items()))
        show_distillation(
            "distilled from the single prompts", described["distilled"], made.terms.added
        )


def _hint_scores(
    out: Path,
    made: Combination,
    terms: Terms,
    given: list[str],
    data: Path | None,
    backbone: str | None,
) -> None:
    """Print how the result is scored on each task that can be opened."""
    from promptport.tasks import open_task

    tasks = given or [
        recorded for name in terms.added if (recorded := terms.provenance(name).task) is not None
    ]
    commands, unknown = [], []
    for reference in dict.fromkeys(tasks):
        try:
            open_task(reference, data)
        except PromptPortError:
            unknown.append(reference)
            continue
        options = {"task": reference, "data": data, "backbone": backbone}
        commands.append(command_line("eval", out, **options))
    if commands:
        hint("Score it" if len(commands) == 1 else "Score it on each task", "\n  ".join(commands))
    if unknown:
        say(f"To score it on {' and '.join(unknown)}, give eval the file of the task (--task).")
        hint("Look at it", command_line("inspect", out))
