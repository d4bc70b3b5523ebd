"""promptport run: the cells of a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    JsonFlag,
    command_line,
    goes_on,
    print_json,
    print_table,
    say,
    written,
)
from promptport.cli.console.progress import duration
from promptport.cli.panels import OUTPUT_PANEL, RUN_PANEL
from promptport.errors import PromptPortError, RecipeError

if TYPE_CHECKING:
    from promptport.recipes.cells import Cell
    from promptport.recipes.recipe import Recipe
    from promptport.recipes.running import RunResult

_SHOWN = 5  # failed cells, and reasons, that are listed


def command(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe (.yaml), or with --list a folder of them.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. Usual: runs/ and the recipe's name.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with lama/ and nlu/, for tasks of these names.")
    ] = None,
    backbones: Annotated[
        list[str] | None,
        typer.Option(help="Backbone in place of the recipe's list `backbones`; repeat."),
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Folder of pretrained models by name.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE in place of the recipe's, like settings.steps=16; repeat."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE[,VALUE]: only such cells, like task=sentiment; repeat."),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of another run: cells that are the same are copied; repeat."),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local: processes here. ray, slurm: a cluster.", rich_help_panel=RUN_PANEL
        ),
    ] = "local",
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            help="Cells at once. 0: as cores and memory allow.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = 0,
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster. Usual: this machine.", rich_help_panel=RUN_PANEL),
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(min=0, help="GPUs of each worker of a cluster.", rich_help_panel=RUN_PANEL),
    ] = 0.0,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE for sbatch, like partition=gpu or time=60 (minutes); repeat.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    track: Annotated[
        str,
        typer.Option(
            help="mlflow or trackio: tell it of every finished cell.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = "",
    listing: Annotated[
        bool,
        typer.Option(
            "--list", help="List recipes and what they ask.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate", help="Check the recipe; no weights needed.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="List the cells that are missing, and the time they take.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    status: Annotated[
        bool,
        typer.Option("--status", help="Say how far the run is.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report", help="Write the report.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = True,
    json_output: JsonFlag = False,
) -> None:
    """Run a recipe: an experiment in a file, cell by cell.

    A run that was stopped or killed goes on with the same command. Cells that are there already are
    not measured again, unless weights, rows or settings have changed.

    Example:
        promptport run recipes/smoke.yaml
        promptport run recipes/smoke.yaml --dry-run
        promptport run recipes/smoke.yaml --status
    """
    if listing:
        _list(recipe, json_output)
        return
    from promptport.recipes.recipe import read_recipe

    overrides = _overrides(settings or [], backbones or [])
    opened = read_recipe(recipe, overrides)
    folder = out or Path("runs") / opened.name
    given = {
        "out": out,
        "data": data,
        "models": models,
        "backbones": backbones,
        "set": settings,
        "engine": None if engine == "local" else engine,
        "workers": workers or None,
        "address": address,
        "gpus": gpus or None,
        "slurm": slurm,
    }
    if validate:
        _validated(opened, command_line("run", recipe, dry_run=True, **given), json_output)
        return
    places: dict[str, Any] = {"data": data, "models": _models(models), "only": _only(only or [])}
    if status or dry_run:
        _look(opened, folder, places, reuse or [], status, json_output)
        return
    from promptport.recipes.running import RunConfig, run_recipe

    config = RunConfig(
        engine,
        workers,
        address=address,
        gpus=gpus,
        slurm=_sbatch(slurm or []),
        reuse=tuple(reuse or ()),
        track=track,
        **places,
    )
    # Of all cells, whichever this run measures (--only).
    line = command_line("run", recipe, **given)
    with goes_on("the last finished cell", lambda: (folder / "cells").is_dir()):
        result = run_recipe(opened, folder, config, source=line)
    page = _report(result, json_output) if report else None
    _show(opened, result, page, json_output, track)
    if result.failed:
        raise typer.Exit(1)


def _models(given: Path | None) -> Path:
    from promptport.experiments.pretrained import models_folder

    return given or models_folder()


def _overrides(settings: list[str], backbones: list[str]) -> dict[str, Any]:
    import yaml

    from promptport.recipes.schema import plain_yaml

    found: dict[str, Any] = {"lists.backbones": backbones} if backbones else {}
    for text in settings:
        name, equals, value = text.partition("=")
        try:
            found[name] = plain_yaml(value) if equals and name else None
        except yaml.YAMLError:
            equals = ""
        if not equals or not name:
            raise PromptPortError(
                "--set",
                expected="NAME=VALUE",
                got=repr(text),
                fix="Write for instance settings.steps=16",
            )
    return found


def _sbatch(texts: list[str]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for text in texts:
        name, value = _pair("--slurm", "KEY=VALUE", text, "partition=short")
        found[name] = int(value) if value.isdecimal() else value
    return found


def _only(texts: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, values = _pair("--only", "KEY=VALUE[,VALUE]", text, "task=topic")
        parts = values.split(",")
        found.setdefault(name, []).extend([*parts, *(int(p) for p in parts if p.isdecimal())])
    return found


def _pair(option: str, form: str, text: str, example: str) -> tuple[str, str]:
    """Both sides of an equals sign."""
    name, _, value = text.partition("=")
    if not name or not value:
        fix = f"Write for instance {example}"
        raise PromptPortError(option, expected=form, got=repr(text), fix=fix)
    return name, value


def _list(folder: Path, json_output: bool) -> None:
    from promptport.recipes.recipe import read_recipe

    files = sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder]
    if not files:
        raise RecipeError(
            str(folder), expected="a folder of recipes", got="no .yaml", fix="Correct the path"
        )
    opened = {str(file): read_recipe(file) for file in files}
    rows = [
        {"recipe": file, "cells": len(r.cells()), "time": r.time, "question": r.question}
        for file, r in opened.items()
    ]
    if json_output:
        print_json({"recipes": rows})
        return
    print_table("Recipes", list(rows[0]), [list(row.values()) for row in rows])


def _validated(recipe: Recipe, following: str, json_output: bool) -> None:
    cells = recipe.cells()
    more = len(recipe.with_needs(cells)) - len(cells)
    if json_output:
        print_json({"recipe": recipe.name, "valid": True, "cells": len(cells), "needed": more})
        return
    needed = f", and {more} whose prompts they read" if more else ""
    say(f"{recipe.name} is valid: {len(cells)} cells{needed}")
    say(f"Next: {following}")


def _look(
    recipe: Recipe,
    out: Path,
    places: Mapping[str, Any],
    reuse: Sequence[Path],
    status: bool,
    json_output: bool,
) -> None:
    from promptport.recipes.planning import make_plan, reusable
    from promptport.recipes.run_folder import RunFolder
    from promptport.recipes.running import estimate_seconds

    folder = RunFolder(out)
    plan = make_plan(recipe, folder, **places)
    for other in reuse:
        plan.finished |= {cell.id for cell in reusable(plan, RunFolder(other))}
    missing = plan.missing
    seconds = estimate_seconds(recipe, folder, missing)
    failed = {cell.id: known["error"] for cell in missing if (known := folder.failure(cell.id))}
    counts = Counter(cell.kind for cell in plan.cells)
    done = Counter(cell.kind for cell in plan.cells if cell.id in plan.finished)
    if json_output:
        print_json(
            {
                "recipe": recipe.name,
                "folder": str(out),
                "cells": len(plan.cells),
                "finished": len(plan.finished),
                "failed": failed,
                "left_out": plan.left_out,
                "missing": [cell.to_dict() for cell in missing],
                "processor_seconds": seconds,
            }
        )
        return
    if status:
        rows = [[kind, done[kind], count] for kind, count in counts.items()]
        print_table(f"{recipe.name} in {out}", ["kind", "finished", "cells"], rows)
    else:
        rows = [[cell.id, cell.kind, _place(cell)] for cell in missing]
        if rows:
            print_table(f"{recipe.name}: cells to measure", ["cell", "kind", "place"], rows)
    took = f"about {duration(seconds)} of processor time" if seconds is not None else recipe.time
    say(f"{len(missing)} of {len(plan.cells)} cells are missing: {took}")
    _tell_reasons("failed", failed)
    _tell_reasons("left out", plan.left_out)


def _place(cell: Cell) -> str:
    return str(cell).removeprefix(f"{cell.kind} ")


def _tell_reasons(what: str, reasons: Mapping[str, str]) -> None:
    """How many cells share a reason, the most frequent first."""
    for reason, count in Counter(reasons.values()).most_common(_SHOWN):
        say(f"{count} {what}: {reason}")


def _report(result: RunResult, json_output: bool) -> Path:
    """Write the report of a run, beside its cells, and show its tables."""
    from promptport.cli.report import show_report
    from promptport.progress import stage
    from promptport.recipes.reports import read_run, write_report

    out = result.folder / "report"
    with stage("writing the report"):
        made = write_report(read_run(result.folder), out)
    if not json_output:
        show_report(made)
    return out / "index.html"


def _show(
    recipe: Recipe, result: RunResult, page: Path | None, json_output: bool, track: str
) -> None:
    if json_output:
        print_json(
            {
                "recipe": recipe.name,
                "folder": str(result.folder),
                "cells": result.cells,
                "measured": result.measured,
                "finished": result.finished,
                "failed": dict(result.failed),
                "waiting": result.waiting,
                "left_out": dict(result.left_out),
                "seconds": result.seconds,
                "report": None if page is None else str(page),
                "tracked": result.tracked,
                "track_error": result.track_error,
            }
        )
        return
    say(
        f"{result.finished} of {result.cells} cells are finished, {result.measured} of them now, "
        f"in {duration(result.seconds)}"
    )
    _tell_reasons("failed", result.failed)
    if result.waiting:
        say(f"{result.waiting} wait for the prompts of failed cells")
    _tell_reasons("left out", result.left_out)
    if track:
        say(f"{track} was told of {result.tracked} cells")
    if result.track_error:
        say(f"note: it took no more ({result.track_error}); the same command tells it the rest")
    if page is not None:
        written(page)
    else:
        written(result.folder, "Write its report", command_line("report", "write", result.folder))
