"""promptport library pairs: which tasks of a library survive together, and by which way?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    check_out,
    goes_on,
    hint,
    note,
    origin_folder,
    print_json,
    print_table,
    quiet,
    refuse_together,
    seed_option,
    tell,
)
from promptport.cli.library.shared import TasksOption, combining, open_library, sentence
from promptport.cli.panels import METHOD_PANEL, OUTPUT_PANEL, TASK_PANEL

if TYPE_CHECKING:
    from promptport.analysis import Interval
    from promptport.experiments import Combined, Pairs, PairsConfig
    from promptport.library import Library

RESULT_FILE = "pairs.json"
_USUAL = ("paper", "sum", "separate")
_LEGEND = (
    "A retention of 1 is the whole score. * lost: less than 0.8 is kept; ** also beyond the noise "
    "of the rows."
)


def command(
    library: LibraryArgument,
    way: Annotated[
        list[str] | None,
        typer.Option(
            help="paper (sum, one coefficient by the mean dev score), separate (coefficients by "
            "the smallest retention on dev), a merge method (sum, mean, ties, dare, orthogonal, "
            "select, weighted), concatenate, or distill (learns from the single prompts' answers, "
            "without labels: minutes for a pair); repeat for several. Usually paper, sum and "
            "separate.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="Tasks in a set, usually 2; repeat for several.")
    ] = None,
    most: Annotated[int, typer.Option(help="Sets of each size, drawn by --seed; 0: all.")] = 0,
    task: TasksOption = None,
    data: DataOption = None,
    origin: VectorOriginOption = None,
    backbone: OwnBackboneOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what is measured: a stopped run goes on from there.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split that is scored.", rich_help_panel=TASK_PANEL)
    ] = "test",
    rows: Annotated[
        int,
        typer.Option(
            help="Score only so many rows of each task; 0: all.", rich_help_panel=TASK_PANEL
        ),
    ] = 0,
    max_dev_rows: Annotated[
        int,
        typer.Option(
            help="Searches: use only so many dev rows; 0: all.", rich_help_panel=TASK_PANEL
        ),
    ] = 0,
    forecast: Annotated[
        int,
        typer.Option(
            help="Unlabelled rows of each task for a forecast of every pair (sum, mean, select), "
            "to see how often it comes true; 0: none.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Distill: most updates per task, usually 600.",
            rich_help_panel=METHOD_PANEL,
        ),
    ] = None,
    seed: Annotated[int, seed_option("Of the sets that are drawn, and of methods that draw.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Score every sum of two task vectors on both tasks.

    All prompts of the library are combined, every two of them (or larger sets), in each of the
    ways; each task's score is compared with that of its own prompt.

    Example:
        promptport library pairs prompts --way sum --way separate --out pairs
    """
    quiet()
    from promptport.experiments import PairsConfig, score_pairs
    from promptport.files import json_bytes, write_atomic

    config = PairsConfig(
        ways=tuple(way or _USUAL),
        sizes=tuple(size or (2,)),
        most=most,
        split=split,
        rows=rows,
        dev_rows=max_dev_rows,
        forecast_rows=forecast,
        distill=None if steps is None else {"steps": steps},
        seed=seed,
        truncate=truncate,
    )
    _refuse_unread(config, steps=steps is not None)
    opened = open_library(library, backbone=backbone, origin=origin, data=data, tasks=task)
    if out is not None:
        check_out(out, *library, *opened.folders.values(), *origin_folder(origin))
    model = opened.load_backbone(device=device, dtype=dtype, device_map=device_map)
    with goes_on(None if out is None else "what is finished"):
        pairs = score_pairs(model, opened, config, out=out)
    output = {"backbone": model.name, "split": split, **pairs.to_dict()}
    if out is not None:
        write_atomic(out / RESULT_FILE, json_bytes(output))
    if json_output:
        print_json(output)
        return
    _show(model.name, config.ways, pairs)
    _say_next(opened, pairs, config, task or [], data)


def _refuse_unread(config: PairsConfig, *, steps: bool) -> None:
    """Refuse options that none of the ways reads."""
    from promptport.analysis.forecast import RELIABILITY
    from promptport.experiments.ways import DISTILL, SEARCHED

    ways = set(config.ways)
    if DISTILL not in ways:
        refuse_together(f"no --way {DISTILL}", {"--steps": steps})
    if not set(SEARCHED) & ways:
        refuse_together("ways without a search", {"--max-dev-rows": config.dev_rows != 0})
    if not set(RELIABILITY) & ways or 2 not in config.sizes:
        untold = f"no pairs by {', '.join(RELIABILITY)}"
        refuse_together(untold, {"--forecast": config.forecast_rows != 0})


def _say_next(
    library: Library,
    pairs: Pairs,
    config: PairsConfig,
    tasks: list[str],
    data: Path | None,
) -> None:
    """How to keep the tasks of the set that loses most."""
    from promptport.experiments.ways import DISTILL

    if DISTILL in config.ways:
        return
    worst = min(pairs.sets, key=lambda each: each.weakest.retention)
    names = worst.prompts
    whole = all(library.entry(name).kind != "vector" for name in names)  # a vector has no answers
    if worst.weakest.lost and whole:
        what = f"Bring the tasks of {' + '.join(names)} back, without labels"
        hint(what, combining(library, names, distill=True, tasks=tasks, data=data))


def _show(backbone: str, ways: tuple[str, ...], pairs: Pairs) -> None:
    for name, why in pairs.left_out.items():
        note(f"{name} is left out: {why}")
    tasks = [task for each in pairs.sets for task in each.tasks]
    unknown = dict.fromkeys(task.prompt for task in tasks if task.beyond_noise is None)
    if unknown:
        note(f"no share of rows, so nothing tells losses from noise: {', '.join(unknown)}")
    sets: dict[tuple[str, ...], dict[str, Combined]] = {}
    for each in pairs.sets:
        sets.setdefault(each.prompts, {})[each.way] = each
    worst_first = sorted(
        sets.items(), key=lambda item: (len(item[0]), item[1][ways[0]].weakest.retention)
    )
    rows = [
        [" + ".join(prompts), *(_retentions(own[way]) for way in ways)]
        for prompts, own in worst_first
    ]
    title = f"retention: share of its own prompt's score that each task keeps on {backbone}"
    print_table(f"{title}, worst first", ["together", *ways], rows)
    tell(_LEGEND)
    print_table(
        f"{len(sets)} sets",
        [
            *("way", "tasks", "sets", "retention [95%]", "weaker task", "worst"),
            *("lose a task", "beyond noise", f"weaker task against {ways[0]} [95%]"),
        ],
        [
            [
                *(r.way, r.size, r.sets, _span(r.retention, r.interval), r.weakest, r.worst),
                *(r.lost, r.beyond_noise),
                "-" if r.gain is None else _span(r.gain.value, r.gain, "+"),
            ]
            for r in pairs.ways
        ],
    )
    for verdict, (given, kept) in pairs.forecasts.items():
        tell(f"forecast {verdict}: {given} tasks, of which {kept} were kept.")
    tell(sentence(pairs.verdict))


def _retentions(combined: Combined) -> str:
    return ", ".join(
        f"{task.retention:.2f}{'**' if task.beyond_noise else '*' if task.lost else ''}"
        for task in combined.tasks
    )


def _span(value: float, interval: Interval | None, sign: str = "") -> str:
    """`0.812 [0.790, 0.834]`; without an interval the value alone."""
    if interval is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
