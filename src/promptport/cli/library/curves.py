"""promptport library curves: which start for a new task does best with how many labelled rows?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    HTML_MARK,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    LibraryArgument,
    OwnBackboneOption,
    TruncateFlag,
    VectorOriginOption,
    check_file,
    check_out,
    command_line,
    goes_on,
    hint,
    interval,
    note,
    open_tasks,
    origin_folder,
    print_json,
    print_table,
    quiet,
    seed_option,
    tell,
    written,
)
from promptport.cli.library.shared import open_library, sentence
from promptport.cli.panels import METHOD_PANEL, OUTPUT_PANEL, TASK_PANEL
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.library import Library


def command(
    library: LibraryArgument,
    task: Annotated[str, typer.Option(help="The new task.", rich_help_panel=TASK_PANEL)],
    rows: Annotated[
        list[int] | None,
        typer.Option(
            help="Labelled training rows; 0 is scored as it starts. Repeat for several; usually 0, "
            "5, 10, 25, 50, 100.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="random (words), single (every prompt of the library), picked (ranks first by "
            "unlabelled text), ranked (by text and the few labels), mean, sum (of vectors), "
            "attention (ATTEMPT), adapt, or a prompt folder. Repeat for several; usually random, "
            "picked, ranked, mean, sum, adapt.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            help="The start that the others are compared with.", rich_help_panel=METHOD_PANEL
        ),
    ] = "random",
    steps: Annotated[
        int,
        typer.Option(
            help="Updates of a run, but at least one pass over its rows.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = 32,
    seed: Annotated[
        list[int] | None,
        seed_option("Seed of the few rows and of what is random; repeat for several. Default 0."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for curves.json and curves.html; it keeps what is finished, so that an "
            "interrupted run goes on.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    max_train_rows: Annotated[
        int,
        typer.Option(help="Use only so many training rows; 0: all.", rich_help_panel=TASK_PANEL),
    ] = 0,
    origin: VectorOriginOption = None,
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Score ways to start on a new task with few labelled rows.

    All starts are tuned on the same rows in the same batches; nothing else is labelled.

    Example:
        promptport library curves prompts --task sentiment --rows 0 --rows 20 --out curves
    """
    quiet()
    from promptport.experiments import CurvesConfig, few_shot_curves, write_curves
    from promptport.experiments.few_shot import CURVES_PAGE
    from promptport.storage import load_prompt

    usual = CurvesConfig()
    ways, folders = _starts(start or list(usual.starts))
    names = {place: name for name, place in folders.items()}
    config = CurvesConfig(
        rows=usual.rows if rows is None else tuple(rows),
        starts=ways,
        seeds=tuple(seed or usual.seeds),
        reference=reference if reference in ways else names.get(Path(reference), reference),
        steps=steps,
        max_train_rows=max_train_rows,
        truncate=truncate,
    )
    opened = open_library(library, backbone=backbone, origin=origin, data=data)
    if out is not None:
        places = [*library, *opened.folders.values(), *folders.values(), *origin_folder(origin)]
        check_out(out, *places)
        check_file(out / CURVES_PAGE, HTML_MARK)
    prompts = {name: load_prompt(place) for name, place in folders.items()}
    (new,) = open_tasks([task], data)
    model = opened.load_backbone(device=device, dtype=dtype, device_map=device_map)
    with goes_on(None if out is None else "what is finished"):
        curves = few_shot_curves(model, new, opened, config, prompts=prompts, out=out)
    if out is not None:
        write_curves(curves, out)
    for line in curves.notes:
        note(line)
    folder = None if out is None else str(out)
    output = {"backbone": model.name, **curves.to_dict(), "folder": folder}
    if json_output:
        print_json(output)
        return
    _show(output)
    if "dev" in new.splits:  # tuning chooses its epoch there
        _say_next(opened, output, folders, task, library, data)


def _starts(given: list[str]) -> tuple[tuple[str, ...], dict[str, Path]]:
    """Ways to start, and prompt folders by name.

    Raises:
        PromptPortError: neither.
    """
    from promptport.library.starts import WAYS

    folders: dict[str, Path] = {}
    for text in given:
        place = Path(text)
        if text in WAYS:
            continue
        if not place.is_dir():
            raise PromptPortError(
                "--start",
                expected=f"{', '.join(WAYS)} or a prompt folder",
                got=repr(text),
                fix="Choose one of them, or check the path",
            )
        short = place.resolve().name
        folders[text if short in (*WAYS, *folders) else short] = place
    return tuple(text for text in given if text in WAYS), folders


def _show(output: dict[str, Any]) -> None:
    curves, reference, seeds = output["curves"], output["reference"], len(output["seeds"])
    columns = ["start", *map(str, output["rows"]), "area", f"area over {reference} [95%]"]
    columns.append("p (Holm)")
    lines = [[c["start"], *c["means"].values(), c["area"], *_against(c)] for c in curves]
    if seeds > 1:
        columns.append("ahead")
        ahead = ["" if c["gain"] is None else f"{c['ahead']} of {seeds} seeds" for c in curves]
        lines = [[*line, often] for line, often in zip(lines, ahead, strict=True)]
    print_table(
        f"{output['task']} on {output['backbone']}: {output['metric']} on {output['test_rows']} "
        "test rows, by labelled rows",
        columns,
        lines,
    )
    print_table(
        "what was read of the task to start; tuning then reads the labels of the few rows",
        ["start", "read", "prompt of the library"],
        [[c["start"], c["touched"], _chosen(c["chosen"])] for c in curves],
    )
    majority = interval(output["majority"])
    tell(f"Majority answer of all training rows: {majority}. A good start is above it.")
    tell(f"The area is the mean over the row counts. {sentence(output['verdict'])}")
    if output["folder"] is not None:
        written(f"{output['folder']}: curves.json, curves.html")


def _against(curve: dict[str, Any]) -> tuple[str, str]:
    """Gain over the reference with its interval, and p."""
    gain, comparison = curve["gain"], curve["comparison"]
    if gain is None or comparison is None:
        return "" if gain is None else f"{gain:+.3f}", ""
    ends, p = comparison["difference"], comparison["adjusted"]
    least = "<0.001" if p < 0.001 else f"{p:.3f}"
    return f"{gain:+.3f} [{ends['low']:+.3f}, {ends['high']:+.3f}]", least


def _chosen(chosen: dict[int, list[str]]) -> str:
    """Prompts of the library, with the row counts where it was not the same for all."""
    counts_of: dict[str, list[int]] = {}
    for count, names in chosen.items():
        counts_of.setdefault(" / ".join(dict.fromkeys(names)), []).append(count)
    if len(counts_of) == 1:
        return next(iter(counts_of))
    parts = (f"{name} ({', '.join(map(str, counts))})" for name, counts in counts_of.items())
    return ", ".join(parts)


def _say_next(
    library: Library,
    output: dict[str, Any],
    folders: dict[str, Path],
    task: str,
    given: list[Path],
    data: Path | None,
) -> None:
    """The command that starts as the start with the greatest area did."""
    best = max(output["curves"], key=lambda curve: curve["area"])["start"]
    if best == "adapt":
        most = max(output["rows"])
        words = {"task": task, "data": data, "labelled": most, "out": "adapted"}
        hint(f"Go on with {best}", command_line("library", "adapt", *given, **words))
        return
    single = best.removeprefix("single ")
    ways = {"picked": "text", "ranked": "labels", "mean": "mean", "sum": "sum"}
    entry = library.entry(single) if single in library else library.entries[0]
    start: dict[str, Any] = {}
    if best in folders:
        start = {"origin": folders[best]}
    elif best in ways or best == "attention":
        start = {"start": ways.get(best, best), "library": given}
    elif best != "random" and entry.kind == "vector":
        start = {"start": "text", "library": entry.folder}
    elif best != "random":
        start = {"origin": entry.folder}
    tune = {"backbone": output["backbone"], "task": task, "data": data, **start}
    hint(f"Go on with {best}", command_line("tune", **tune, length=entry.length, out="tuned"))
