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
    command_line,
    hint,
    print_json,
    print_table,
    quiet,
    say,
    seed_option,
    written,
)


def command(
    out: Annotated[Path, typer.Option(help="HTML report to write.")] = Path("promptport-demo.html"),
    source: Annotated[str, typer.Option(help="Model to tune on.")] = "nano-bert",
    target: Annotated[str, typer.Option(help="Model to move the prompts to.")] = "nano-roberta",
    task: Annotated[list[str] | None, typer.Option(help="Task; repeat for several.")] = None,
    seed: Annotated[int, seed_option("Seed.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of tuning.")] = 20,
    json_output: JsonFlag = False,
) -> None:
    """Tune, move and score prompts on the embedded models.

    Prompts of four tasks are tuned on one model, moved to another in every way that there is, and
    scored there beside all baselines. It takes about a minute, and writes a page with plots.

    Example:
        promptport demo
        promptport demo --task opposite --epochs 5
    """
    quiet()
    check_file(out, HTML_MARK)
    from promptport.experiments import DemoSettings, run_demo, write_report

    settings = DemoSettings(source=source, target=target, seed=seed, epochs=epochs)
    if task:
        settings = replace(settings, tasks=tuple(task))
    result = run_demo(settings, progress=lambda text: None if json_output else say(f"... {text}"))
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
    title = f"{values['metric']} on {values['target']}; prompts tuned on {values['source']}"
    print_table(title, ["prompt", *tasks, "mean", "retention"], rows)
    words = values["tasks"][tasks[0]]["words"]
    spelled = ", ".join(token[0][0] for token in words)
    say(
        "retention: the mean over that of prompts tuned on the target itself. majority and tuned "
        "here are what to compare with."
    )
    say(f"The mixture prompt for {tasks[0]} reads: {spelled}")
    written(f"{values['report']}, a page with plots and intervals")
    hint(
        "Next, a prompt of your own",
        command_line("tune", backbone=values["source"], task=tasks[0], out="my-prompt"),
    )
