"""The command line: every command parses, calls the public API and shows what came back."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from promptport.cli import groups, help_text
from promptport.cli.stopping import ended_by_signals, stopped_code
from promptport.errors import PromptPortError

# What typer raises for wrong usage; typer carries its own copy of click, whose name is private.
_Usage: Any = typer.BadParameter.__base__


def _version(show: bool) -> None:
    if show:
        from promptport._version import __version__

        typer.echo(f"promptport {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Carry soft prompts across language models and tasks, without labels of the target.

    'promptport COMMAND --help' shows an example and all options of a command.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(help_text.FIRST_SCREEN, nl=False)


def app() -> Any:
    """The command `promptport`, for whoever walks its commands (documentation, tests)."""
    return groups.root(_root)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, 1 for an error of input, 2 for wrong usage."""
    # Read when torch is loaded: threads that wait by spinning slow a run down many times over as
    # soon as anything else runs on the machine (benchmarks/LOG.md, "Threads").
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with ended_by_signals():
            code = _exit_code(lambda: _run(arguments))
    except KeyboardInterrupt:  # before the command began, or after its end
        typer.echo("interrupted", err=True)
        code = stopped_code()
    sys.exit(code)


def _run(arguments: list[str] | None) -> Any:
    code = app()(arguments, prog_name="promptport", standalone_mode=False)
    sys.stdout.flush()  # while what goes wrong is still an error of this command
    return code


def _exit_code(run: Callable[[], Any]) -> int:
    """Run it, and answer what it raises in one line."""
    try:
        code = run()
    except PromptPortError as error:
        typer.echo(f"error: {error}", err=True)
        return 1
    except (MemoryError, RuntimeError, OSError) as error:
        return _refused_code(error)
    except _Usage as error:
        typer.echo(f"error: {_usage_line(error)}", err=True)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return stopped_code()
    return code if isinstance(code, int) else 0


def _refused_code(error: Exception) -> int:
    """Too little memory, a closed output, or what the system refuses; all else is a fault."""
    from promptport.memory import is_out_of_memory, memory_error

    if is_out_of_memory(error):
        typer.echo(f"error: {memory_error(error)}", err=True)
    elif not isinstance(error, OSError):
        raise error
    elif not _output_is_closed(error):
        typer.echo(f"error: {_system_line(error)}", err=True)
    return 1


def _output_is_closed(error: OSError) -> bool:
    """Whether whoever read the output is gone (`| head`); output that cannot be written is dropped.

    Python would try again at its end, and print a traceback.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return error.errno == errno.EPIPE


def _system_line(error: OSError) -> str:
    """What the system refuses, where no room below has words for it: a full disk, for instance."""
    from promptport.files import storage_error

    name = error.filename
    where = os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else "this command"
    return str(storage_error(Path(where), error, "the system to do as asked"))


def _usage_line(error: Any) -> str:
    """Wrong usage in one line, with the command that explains it."""
    said = " ".join(error.format_message().split()).rstrip(".")
    end = "" if said.endswith("?") else "."
    return f"{said}{end} See {error.ctx.command_path if error.ctx else 'promptport'} --help."
