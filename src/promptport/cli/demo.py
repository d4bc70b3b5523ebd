"""promptport demo: the whole path on the embedded backbones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from promptport.cli.console import (
    HTML_MARK,
    JsonFlag,
    check_file,
    print_json,
    print_table,
    quiet,
    seed_option,
)


def command(
    out: Annotated[Path, typer.Option(help="HTML report to write.")] = Path("promptport-demo.html"),
    source: Annotated[str, typer.Option(help="Backbone to tune on.")] = "nano-bert",
    target: Annotated[str, typer.Option(help="Backbone to carry the prompts to.")] = "nano-roberta",
    task: Annotated[
        list[str] | None, typer.Option(help="Embedded task; repeat for several.")
    ] = None,
    seed: Annotated[int, seed_option("Seed.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of tuning.")] = 20,
    json_output: JsonFlag = False,
) -> None:
    """Tune prompts on one embedded backbone, carry them to another, compare with every baseline."""
    quiet()
    check_file(out, HTML_MARK)
    from promptport.experiments import DemoSettings, run_demo, write_report

    settings = DemoSettings(source=source, target=target, seed=seed, epochs=epochs)
    if task:
        settings = replace(settings, tasks=tuple(task))
    result = run_demo(
        settings, progress=lambda text: None if json_output else typer.echo(f"... {text}", err=True)
    )
    write_report(result, out)
    values = {**result.to_dict(), "report": str(out)}
    if json_output:
        print_json(values)
    else:
        _show(values)


def _show(values: dict[str, Any]) -> None:
    tasks = list(values["tasks"])
    rows = [
        [
            name,
            *[values["tasks"][t]["on_target"][name]["value"] for t in tasks],
            mean,
            f"{values['retention'][name]:.0%}",
        ]
        for name, mean in values["mean"].items()
    ]
    typer.echo()
    title = f"{values['metric']} on {values['target']}; prompts tuned on {values['source']}"
    print_table(title, ["prompt", *tasks, "mean", "retention"], rows)
    words = values["tasks"][tasks[0]]["words"]
    spelled = ", ".join(token[0][0] for token in words)
    typer.echo(f"The mixture prompt for {tasks[0]} reads: {spelled}")
    typer.echo(f"Report with plots and intervals: {values['report']}")
