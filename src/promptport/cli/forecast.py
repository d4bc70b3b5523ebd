"""promptport forecast: will two tasks survive the sum of their vectors?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    OwnBackboneOption,
    SplitOption,
    TruncateFlag,
    home,
    print_json,
    print_table,
    quiet,
    seed_option,
    task_of,
)


def command(
    a: Annotated[Path, typer.Argument(help="Prompt folder with its origin.")],
    b: Annotated[Path, typer.Argument(help="Another of the same backbone.")],
    task_a: Annotated[
        str | None, typer.Option(help="Task of A, if its folder names none that is embedded.")
    ] = None,
    task_b: Annotated[str | None, typer.Option(help="Task of B, likewise.")] = None,
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    combined: Annotated[
        Path | None, typer.Option(help="Prompt folder to judge in place of A + B on A's origin.")
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

    Labels are not read: the prompts alone and their sum answer the same texts, and what counts is
    how often they agree.
    """
    quiet()
    from promptport.analysis import Part, forecast_pair
    from promptport.analysis.forecast import RELIABILITY
    from promptport.backbone import Backbone
    from promptport.interop import load_prompt
    from promptport.vector import check_same_backbone

    first, second = load_prompt(a), load_prompt(b)
    check_same_backbone(first.provenance, second.provenance)
    parts = (
        Part(first, task_of(first, task_a, data, "--task-a")),
        Part(second, task_of(second, task_b, data, "--task-b")),
    )
    whole = None if combined is None else load_prompt(combined)
    place = home(first.provenance, backbone)
    model = Backbone.load(**place, device=device, dtype=dtype, device_map=device_map)
    found = forecast_pair(
        model,
        *parts,
        combined=whole,
        split=split,
        rows=rows,
        seed=seed,
        truncate=truncate,
    )
    measured = {name: {"said": n, "right": share} for name, (n, share) in RELIABILITY.items()}
    output = {"backbone": model.name, "a": str(a), "b": str(b), **found.to_dict()}
    output |= {"reliability": measured}
    if json_output:
        print_json(output)
    else:
        _show(output)


def _show(output: dict[str, Any]) -> None:
    rows = [
        [
            f["task"],
            f["verdict"],
            f["confidence"],
            f"{f['agreement']['value']:.3f} "
            f"[{f['agreement']['low']:.3f}, {f['agreement']['high']:.3f}]",
            f["kl"],
            f["rows"],
        ]
        for f in output["tasks"]
    ]
    columns = ["task", "verdict", "confidence", "same answers [95%]", "mean KL", "rows"]
    print_table(f"{output['a']} + {output['b']} on {output['backbone']}", columns, rows)
    facts = [[name.replace("_", " "), value] for name, value in output["similarity"].items()]
    facts.append(["label overlap", output["label_overlap"]])
    print_table("the two vectors", ["", ""], facts)
    if output["reliability"]:
        words = {"kept": "right", "lost": "right", "at risk": "kept"}
        parts = [
            f"{name}: {found['right']:.0%} of {found['said']} {words[name]}"
            for name, found in output["reliability"].items()
        ]
        typer.echo(f"On pairs that the formula had not seen: {', '.join(parts)}.")
