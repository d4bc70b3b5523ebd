"""promptport library forecast: will two tasks survive the sum of their vectors?"""

from __future__ import annotations

from dataclasses import asdict
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
    SplitOption,
    TruncateFlag,
    VectorOriginOption,
    hint,
    interval,
    print_json,
    print_table,
    quiet,
    refuse_together,
    seed_option,
    tell,
)
from promptport.cli.library.shared import TasksOption, combining, open_library
from promptport.cli.panels import TASK_PANEL

if TYPE_CHECKING:
    from promptport.library import Library

_FACTS = ("P(kept)", "same answers [95%]", "mean KL")
_LEGEND = (
    "P(kept) near 1 is good: the task answers as before. From 0.75 on it counts as kept, up to "
    "0.25 as lost."
)


def command(
    library: LibraryArgument,
    task: TasksOption = None,
    origin: VectorOriginOption = None,
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    combined: Annotated[
        Path | None,
        typer.Option(help="Of two: prompt folder to judge in place of A + B on A's origin."),
    ] = None,
    split: SplitOption = "train",
    rows: Annotated[
        int,
        typer.Option(help="Most unlabelled rows to read of each task.", rich_help_panel=TASK_PANEL),
    ] = 256,
    seed: Annotated[int, seed_option("Seed of their choice.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Forecast which pairs of prompts harm each other when added.

    Labels are not read: the prompts alone and their sum answer the same unlabelled texts, and what
    counts is how often they agree.

    Example:
        promptport library forecast prompts
    """
    quiet()
    from promptport.analysis import forecast_pair, forecast_pairs
    from promptport.storage import load_prompt

    opened = open_library(library, backbone=backbone, origin=origin, data=data, tasks=task)
    if len(opened) > 2:
        refuse_together(f"{len(opened)} prompts", {"--combined": combined is not None})
    whole = None if combined is None else load_prompt(combined)
    model = opened.load_backbone(device=device, dtype=dtype, device_map=device_map)
    placed = opened.on(model)
    texts: dict[str, Any] = {"split": split, "rows": rows, "seed": seed, "truncate": truncate}
    if len(placed) == 2:
        pair = forecast_pair(model, *placed.task_prompts().values(), combined=whole, **texts)
        first, second = (str(placed.entry(name).folder) for name in placed)
        output = {"backbone": model.name, "a": first, "b": second, **pair.to_dict()}
        show, way = _show, pair.way
    else:
        pairs = forecast_pairs(model, placed, **texts)
        told = [{"a": a, "b": b, **one.to_dict()} for (a, b), one in pairs.items()]
        output = {"backbone": model.name, "prompts": list(placed), "pairs": told}
        show, way = _show_pairs, "sum"
    output |= {"reliability": _reliability(way)}
    if json_output:
        print_json(output)
        return
    show(output)
    tell(_LEGEND)
    _show_reliability(output["reliability"])
    if combined is None:
        _say_next(placed, output, task, data)


def _reliability(way: str | None) -> dict[str, Any] | None:
    from promptport.analysis.forecast import PAIRS, RELIABILITY

    if way is None:
        return None
    verdicts = {name: asdict(record) for name, record in RELIABILITY[way].items()}
    return {"way": way, "pairs": PAIRS, "verdicts": verdicts}


def _show(output: dict[str, Any]) -> None:
    print_table(
        f"{output['a']} + {output['b']} on {output['backbone']}: {output['verdict']}",
        ["task", "verdict", *_FACTS, "rows"],
        [[task["task"], *_facts(task), task["rows"]] for task in output["tasks"]],
    )
    facts = [[name.replace("_", " "), value] for name, value in output["similarity"].items()]
    facts.append(["label overlap", output["label_overlap"]])
    print_table("the two vectors", ["measure", "value"], facts)


def _show_pairs(output: dict[str, Any]) -> None:
    rows = []
    for pair in output["pairs"]:
        weak, strong = sorted(pair["tasks"], key=lambda task: task["probability"])
        label = f"{pair['a']} + {pair['b']}"
        rows.append([label, *_facts(weak), weak["task"], strong["verdict"]])
    print_table(
        f"{len(rows)} pairs on {output['backbone']}, in greatest danger first",
        ["pair", "verdict", *_FACTS, "weakest task", "other task"],
        rows,
    )


def _facts(task: dict[str, Any]) -> list[Any]:
    return [task["verdict"], task["probability"], interval(task["agreement"]), task["kl"]]


def _say_next(
    library: Library, output: dict[str, Any], tasks: list[str] | None, data: Path | None
) -> None:
    """Combine the pair in greatest danger so that it is kept; of two safe ones, add them."""
    worst = output["pairs"][0] if "pairs" in output else output
    names = [worst["a"], worst["b"]] if "pairs" in output else list(library)
    kept = worst["verdict"] == "kept"
    what = f"Add {' and '.join(names)}" if kept else f"Keep both tasks of {' and '.join(names)}"
    if kept or all(library.entry(name).kind != "vector" for name in names):
        hint(what, combining(library, names, distill=not kept, tasks=tasks or (), data=data))


def _show_reliability(known: dict[str, Any] | None) -> None:
    if known is None:
        tell("How often forecasts of such a combination come true was not measured.")
        return
    words = {"kept": "right", "lost": "right", "at risk": "kept"}
    parts = [
        f"{name}: {r['right']:.0%} of {r['said']} {words[name]} [{r['low']:.0%}, {r['high']:.0%}]"
        for name, r in known["verdicts"].items()
    ]
    ways = {"sum": "sums", "mean": "means", "select": "selections"}
    tell(
        f"On three small embedded models, {known['pairs']} {ways[known['way']]} of two tasks that "
        f"were tuned from one origin and that the formula had not seen: {', '.join(parts)}."
    )
