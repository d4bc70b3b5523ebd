"""The command line: every command parses, calls the public API and shows what came back."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from promptport.cli import (
    align,
    anchor,
    compat,
    demo,
    evaluate,
    export,
    import_portable,
    inspect,
    library,
    methods,
    models,
    move,
    tasks,
    transfer,
    tune,
    vector,
)
from promptport.errors import PromptPortError

# What typer raises for wrong usage; typer carries its own copy of click, whose name is private.
_Usage: Any = typer.BadParameter.__base__

app = typer.Typer(
    name="promptport",
    help="Carry soft prompts across language models and tasks, without labels of the target.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help answers in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)

START, MAKE, MOVE = "Start", "Make and use a prompt", "Move it to another model"
MANY, LOOK = "Many prompts", "Look"

app.command("demo", rich_help_panel=START)(demo.command)
app.command("models", rich_help_panel=START)(models.command)
app.command("tasks", rich_help_panel=START)(tasks.command)
app.command("tune", rich_help_panel=MAKE)(tune.command)
app.command("eval", rich_help_panel=MAKE)(evaluate.command)
app.command("move", rich_help_panel=MOVE)(move.command)
app.command("transfer", rich_help_panel=MOVE)(transfer.command)
app.command("anchor", rich_help_panel=MOVE)(anchor.command)
app.command("align", rich_help_panel=MOVE)(align.command)
app.command("export", rich_help_panel=MOVE)(export.command)
app.command("import", rich_help_panel=MOVE)(import_portable.command)
app.add_typer(
    library.app, name="library", rich_help_panel=MANY, help="Prompts of many tasks on one model."
)
app.add_typer(
    vector.app, name="vector", rich_help_panel=MANY, help="Task vectors: add, widen, check them."
)
app.command("inspect", rich_help_panel=LOOK)(inspect.command)
app.command("methods", rich_help_panel=LOOK)(methods.command)
app.command("compat", rich_help_panel=LOOK)(compat.command)


def _version(show: bool) -> None:
    if show:
        from promptport._version import __version__

        typer.echo(f"promptport {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 for an error of input, 2 for wrong usage."""
    # Read when torch is loaded: threads that wait by spinning slow a run down many times over as
    # soon as anything else runs on the machine (benchmarks/LOG.md, "Threads").
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(args=arguments, standalone_mode=False)
    except PromptPortError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except _Usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            typer.echo(f"error: {_usage_line(error)}", err=True)
        sys.exit(2)
    except typer.Abort:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_line(error: Any) -> str:
    """Wrong usage in one line, with the command that explains it."""
    said = " ".join(error.format_message().split()).rstrip(".")
    end = "" if said.endswith("?") else "."
    option = getattr(error, "option_name", "--")
    if error.ctx and error.ctx.info_name == "combine" and not option.startswith("--"):
        end += " An expression that begins with a minus needs parentheses: '(-a + b)'."
    return f"{said}{end} See {error.ctx.command_path if error.ctx else 'promptport'} --help."
