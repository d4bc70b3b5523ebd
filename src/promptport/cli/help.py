"""promptport help: the help of a command, by its name."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    ctx: typer.Context,
    name: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A command, or group and command.")
    ] = None,
) -> None:
    """Show the help of a command.

    Without a name it shows all commands.

    Example:
        promptport help
        promptport help vector combine
    """
    here = ctx.find_root()
    for word in name or []:
        group = here.command
        if not hasattr(group, "resolve_command"):
            here.fail(f"{here.command_path!r} has no commands, so {word!r} is too much.")
        found, chosen, _ = group.resolve_command(here, [word])
        here = type(here)(chosen, info_name=found, parent=here)
    typer.echo(here.get_help())
