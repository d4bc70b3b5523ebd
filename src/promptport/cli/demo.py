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
    refuse_together,
    say,
    seed_option,
    written,
)
from promptport.errors import PromptPortError

REAL_PANEL = "Real models (--real)"


def command(
    out: Annotated[
        Path | None,
        typer.Option(
            help="HTML report to write. Usual: promptport-demo.html; with --real report.html in "
            "--work."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Model to tune on. Usual: nano-bert; real: smollm2-135m.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Model to move the prompts to. Usual: nano-roberta; real: gemma3-270m."),
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Task; repeat for several.")] = None,
    seed: Annotated[int, seed_option("Seed.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of tuning. Usual: 20.")] = None,
    real: Annotated[
        bool,
        typer.Option(
            "--real",
            help="Get two pretrained models (350 MB) and move a prompt for reviews: about 20 "
            "minutes on two cores. The same command goes on after an interruption.",
            rich_help_panel=REAL_PANEL,
        ),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps steps and prompts. Usual: promptport-demo-real.",
            rich_help_panel=REAL_PANEL,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Updates of tuning, of moving, and of tuning on the target. Usual: 96.",
            rich_help_panel=REAL_PANEL,
        ),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Tune, move and score prompts on the embedded models.

    Prompts of four tasks are tuned on one model, moved to another in every way that there is, and
    scored there beside all baselines. It takes about a minute, and writes a page with plots. With
    --real it does the same with one task on two pretrained models.

    Example:
        promptport demo
        promptport demo --task opposite --epochs 5
    """
    quiet()
    if real:
        from promptport.cli.demo_real import run

        refuse_together("--real", {"--task": bool(task), "--epochs": epochs is not None})
        chosen = {"seed": seed, "source": source, "target": target, "steps": steps}
        run(work, out, {k: v for k, v in chosen.items() if v is not None}, json_output)
        return
    _refuse_without_real({"--work": work is not None, "--steps": steps is not None})
    out = out or Path("promptport-demo.html")
    check_file(out, HTML_MARK)
    from promptport.experiments import DemoSettings, run_demo, write_report

    usual: dict[str, Any] = {"source": source, "target": target, "epochs": epochs}
    settings = DemoSettings(seed=seed, **{k: v for k, v in usual.items() if v is not None})
    if task:
        settings = replace(settings, tasks=tuple(task))
    result = run_demo(settings, progress=lambda text: None if json_output else say(f"... {text}"))
    write_report(result, out)
    values = {**result.to_dict(), "report": str(out)}
    if json_output:
        print_json(values)
    else:
        _show(values)


def _refuse_without_real(options: dict[str, bool]) -> None:
    """Refuse options that do nothing on the embedded models.

    Raises:
        PromptPortError: one was given.
    """
    for name, is_given in options.items():
        if is_given:
            raise PromptPortError(
                name, expected="--real with it", got="none", fix=f"Add --real, or leave {name} out"
            )


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
