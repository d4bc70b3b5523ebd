"""promptport pairs: which tasks of a library survive together, and by which way?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    LibraryArgument,
    OwnBackboneOption,
    TruncateFlag,
    VectorOriginOption,
    check_one_each,
    check_out,
    goes_on,
    note_other_task,
    origin_folder,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
)
from promptport.cli.library.loading import find_library, load_library, open_backbone, parts_of

if TYPE_CHECKING:
    from promptport.experiments import Pairs

RESULT_FILE = "pairs.json"
_USUAL = ("paper", "sum", "separate")


def command(
    library: LibraryArgument,
    way: Annotated[
        list[str] | None,
        typer.Option(
            help="paper (sum, one coefficient by the mean dev score), separate (coefficients by "
            "the smallest kept share on dev), a merge method (sum, mean, ties, dare, orthogonal, "
            "select, weighted), concatenate, or reconcile (learns without labels: minutes for a "
            "pair); repeat for several. Usually paper, sum and separate."
        ),
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="Tasks in a set, usually 2; repeat for several.")
    ] = None,
    most: Annotated[int, typer.Option(help="Sets of each size, drawn by --seed; 0: all.")] = 0,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task of each prompt, in order, if folders name none that is embedded."),
    ] = None,
    data: DataOption = None,
    origin: VectorOriginOption = None,
    backbone: OwnBackboneOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what is measured: a stopped run goes on from there."),
    ] = None,
    split: Annotated[str, typer.Option(help="Split that is scored.")] = "test",
    rows: Annotated[int, typer.Option(help="Score only so many rows of each task; 0: all.")] = 0,
    max_dev_rows: Annotated[
        int, typer.Option(help="Searches: use only so many dev rows; 0: all.")
    ] = 0,
    forecast: Annotated[
        int,
        typer.Option(
            help="Unlabelled rows of each task for a forecast of every pair (sum, mean, select), "
            "to see how often it comes true; 0: none."
        ),
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Reconcile: most updates per task, usually 600.")
    ] = None,
    seed: Annotated[int, seed_option("Of the sets that are drawn, and of methods that draw.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Combine the prompts of a library, every two of them, and score what each task keeps."""
    quiet()
    from promptport.analysis.forecast import RELIABILITY
    from promptport.distillation import INTO_MERGE
    from promptport.experiments import PairsConfig, score_pairs
    from promptport.files import json_bytes, write_atomic

    ways = tuple(way or _USUAL)
    config = PairsConfig(
        ways=ways,
        sizes=tuple(size or (2,)),
        most=most,
        split=split,
        rows=rows,
        dev_rows=max_dev_rows,
        forecast_rows=forecast,
        settle=INTO_MERGE if steps is None else replace(INTO_MERGE, steps=steps),
        seed=seed,
        truncate=truncate,
    )
    if "reconcile" not in ways:
        refuse_together("no --way reconcile", {"--steps": steps is not None})
    if not {"paper", "separate"} & set(ways):
        refuse_together("ways without a search", {"--max-dev-rows": max_dev_rows != 0})
    if not set(RELIABILITY) & set(ways) or 2 not in config.sizes:
        untold = f"no pairs by {', '.join(RELIABILITY)}"
        refuse_together(untold, {"--forecast": forecast != 0})
    places = find_library(library, origin)
    if out is not None:
        check_out(out, *library, *places.values(), *origin_folder(origin))
    check_one_each("--task", task or [], list(places))
    model = open_backbone(places, backbone, device=device, dtype=dtype, device_map=device_map)
    candidates = load_library(places, model, origin, data)
    given: list[str | None] = [*(task or [])] or [None] * len(places)
    parts = parts_of(candidates, places, [("--task", name) for name in given], data)
    for part in parts.values():
        note_other_task([part.prompt], part.task)
    with (
        goes_on(None if out is None else "what is finished"),
        progress_bar("sets", hidden=json_output) as bar,
    ):
        found = score_pairs(
            model,
            parts,
            config,
            out=out,
            progress=lambda done, total: bar(done, total, ""),
        )
    output = {"backbone": model.name, "split": split, **found.to_dict()}
    if out is not None:
        write_atomic(out / RESULT_FILE, json_bytes(output))
    if json_output:
        print_json(output)
    else:
        _show(model.name, config.ways, found)


def _show(backbone: str, ways: tuple[str, ...], found: Pairs) -> None:
    for name, why in found.left_out.items():
        typer.echo(f"note: {name} is left out: {why}", err=True)
    tasks = [kept for each in found.sets for kept in each.tasks]
    unknown = dict.fromkeys(kept.prompt for kept in tasks if kept.beyond_noise is None)
    if unknown:
        typer.echo(
            f"note: no share of rows, so nothing tells losses from noise: {', '.join(unknown)}",
            err=True,
        )
    sets: dict[tuple[str, ...], dict[str, Any]] = {}
    for each in found.sets:
        sets.setdefault(each.prompts, {})[each.way] = each
    rows = [
        [" + ".join(prompts), *(_kept(own[way]) for way in ways)]
        for prompts, own in sorted(
            sets.items(), key=lambda item: (len(item[0]), item[1][ways[0]].weakest.kept)
        )
    ]
    print_table(
        f"share of its own prompt's score that each task keeps on {backbone}, worst first",
        ["together", *ways],
        rows,
    )
    typer.echo("* lost: less than 0.8 is kept; ** also beyond the noise of the rows.")
    print_table(
        f"{len(sets)} sets",
        [
            *("way", "tasks", "sets", "kept [95%]", "weaker task", "worst"),
            *("lose a task", "beyond noise", f"weaker task against {ways[0]} [95%]"),
        ],
        [
            [
                *(r.way, r.size, r.sets, _span(r.kept, r.interval), r.weakest, r.worst, r.lost),
                *(r.beyond_noise, "-" if r.gain is None else _span(r.gain.value, r.gain, "+")),
            ]
            for r in found.ways
        ],
    )
    for verdict, (said, kept) in found.forecasts.items():
        typer.echo(f"forecast {verdict}: {said} tasks, of which {kept} were kept.")
    if any(record.lost for record in found.ways) and "reconcile" not in ways:
        typer.echo(
            "To bring lost tasks back without labels: promptport combine 'A + B' --method either "
            "--reconcile (here: --way reconcile)."
        )


def _kept(combined: Any) -> str:
    return ", ".join(
        f"{task.kept:.2f}{'**' if task.beyond_noise else '*' if task.lost else ''}"
        for task in combined.tasks
    )


def _span(value: float, interval: Any, sign: str = "") -> str:
    """`0.812 [0.790, 0.834]`; without an interval the value alone."""
    if interval is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
