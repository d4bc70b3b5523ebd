"""promptport forecast: will two tasks survive the sum of their vectors?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

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
    check_one_each,
    interval,
    print_json,
    print_table,
    progress_bar,
    quiet,
    refuse_together,
    seed_option,
)
from promptport.cli.library.loading import find_library, load_library, open_backbone, parts_of
from promptport.errors import PromptPortError

_FACTS = ("P(kept)", "same answers [95%]", "mean KL")


def command(
    library: LibraryArgument,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Task of each prompt, in order, if folders name none that is embedded."),
    ] = None,
    task_a: Annotated[
        str | None, typer.Option(help="Of two prompts: task of the first, likewise.")
    ] = None,
    task_b: Annotated[str | None, typer.Option(help="Task of the second.")] = None,
    origin: VectorOriginOption = "seed:0",
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    combined: Annotated[
        Path | None,
        typer.Option(help="Of two: prompt folder to judge in place of A + B on A's origin."),
    ] = None,
    split: SplitOption = "train",
    rows: Annotated[int, typer.Option(help="Most unlabelled rows to read of each task.")] = 256,
    seed: Annotated[int, seed_option("Seed of their choice.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Forecast whether A + B keeps the tasks of both, from unlabelled text.

    Of more than two prompts every pair is judged. Labels are not read: the prompts alone and their
    sum answer the same texts, and what counts is how often they agree.
    """
    quiet()
    from promptport.analysis import forecast_pair, forecast_pairs
    from promptport.storage import load_prompt

    places = find_library(library)
    tasks = _tasks(len(places), task or [], task_a, task_b, combined)
    whole = None if combined is None else load_prompt(combined)
    model = open_backbone(places, backbone, device=device, dtype=dtype, device_map=device_map)
    candidates = load_library(places, model, origin, data)
    parts = parts_of(candidates, places, tasks, data)
    texts: dict[str, Any] = {"split": split, "rows": rows, "seed": seed, "truncate": truncate}
    if len(parts) == 2:
        found = forecast_pair(model, *parts.values(), combined=whole, **texts)
        first, second = (str(places[name]) for name in parts)
        output = {"backbone": model.name, "a": first, "b": second, **found.to_dict()}
        show, way = _show, found.way
    else:
        with progress_bar("asking", hidden=json_output) as bar:
            pairs = forecast_pairs(
                model, parts, **texts, progress=lambda done, total: bar(done, total, "")
            )
        told = [{"a": a, "b": b, **one.to_dict()} for (a, b), one in pairs.items()]
        output = {"backbone": model.name, "prompts": list(parts), "pairs": told}
        show, way = _show_pairs, "sum"
    output |= {"reliability": _reliability(way)}
    if json_output:
        print_json(output)
    else:
        show(output)
        _show_reliability(output["reliability"])


def _tasks(
    count: int, given: list[str], first: str | None, second: str | None, combined: Path | None
) -> list[tuple[str, str | None]]:
    """The option that names the task of each prompt, and what it says.

    Raises:
        PromptPortError: fewer than two prompts, or options that do not suit their number.
    """
    if count < 2:
        raise PromptPortError(
            "forecast", expected="two prompts or more", got=str(count), fix="Name another"
        )
    of_two = {"--task-a": first is not None, "--task-b": second is not None}
    if count > 2:
        refuse_together(f"{count} prompts", {**of_two, "--combined": combined is not None})
    if given:
        refuse_together("--task", of_two)
        check_one_each("--task", given, range(count))
    if given:
        return [("--task", name) for name in given]
    if count > 2:
        return [("--task", None)] * count
    return [("--task-a", first), ("--task-b", second)]


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
    print_table("the two vectors", ["", ""], facts)


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


def _show_reliability(known: dict[str, Any] | None) -> None:
    if known is None:
        typer.echo("How often forecasts of such a combination come true was not measured.")
        return
    words = {"kept": "right", "lost": "right", "at risk": "kept"}
    parts = [
        f"{name}: {r['right']:.0%} of {r['said']} {words[name]} [{r['low']:.0%}, {r['high']:.0%}]"
        for name, r in known["verdicts"].items()
    ]
    ways = {"sum": "sums", "mean": "means", "select": "selections"}
    typer.echo(
        f"On three small embedded models, {known['pairs']} {ways[known['way']]} of two tasks that "
        f"were tuned from one origin and that the formula had not seen: {', '.join(parts)}."
    )
