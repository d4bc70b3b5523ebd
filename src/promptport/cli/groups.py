"""Groups that import a command when it is used, and one look for the help of all commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from promptport.cli.help_text import Section, render, root_sections
from promptport.cli.panels import COMMANDS, OTHER_NAMES, Command
from promptport.cli.parsing import expression_last
from promptport.cli.stopping import stopped_code

_HELP = {"help_option_names": ["-h", "--help"]}


class LeafCommand(TyperCommand):
    """A command whose help has its example and its options in panels."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; an expression (`-a + b`) may begin with a minus.

        Raises:
            UsageError: an option stands where another one needs its value.
        """
        takes_value = {
            name: not getattr(parameter, "is_flag", False)
            for parameter in self.get_params(ctx)
            if parameter.param_type_name == "option"
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        words = args[: args.index("--")] if "--" in args else args
        for word, following in pairwise(words):
            if takes_value.get(word) and following in takes_value:
                ctx.fail(f"Option {word!r} needs a value, got the option {following!r}.")
        if any(parameter.name == "expression" for parameter in self.params):
            args = expression_last(args, takes_value)
        return list(super().parse_args(ctx, args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(render(self.get_usage(ctx), self.help or "", _parameters(self, ctx)))

    def invoke(self, ctx: Any) -> Any:
        """Run it, and show its progress.

        An interruption that the command itself did not answer gets its line here.
        """
        from promptport.cli.console import say_interrupted, showing

        try:
            with showing(hidden=bool(ctx.params.get("json_output"))):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say_interrupted()
            raise typer.Exit(stopped_code()) from None


class LazyGroup(TyperGroup):
    """A group that knows its commands by a table, and imports one when it is asked for."""

    table: Mapping[str, Command] = {}
    prefix = ""  # in front of its commands' names: 'library '
    only_names = False  # while a shell asks how a word may go on

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of its commands."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; None if there is none of this name."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        if self.only_names:
            return TyperCommand(cmd_name, help=entry.summary)
        return build(cmd_name, entry, self.prefix)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names.

        Raises:
            UsageError: none; it says what may have been meant.
        """
        name = args[0]
        if name not in self.table and not name.startswith("-") and not ctx.resilient_parsing:
            meant = suggestions(name, self.prefix)
            end = f" Did you mean {' or '.join(meant)}?" if meant else ""
            ctx.fail(f"No such command {name!r}.{end}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Names of commands with their summaries, and options; no command is imported for them."""
        self.only_names = True
        return super().shell_complete(ctx, incomplete)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help: at the root all commands in panels, of other groups their own."""
        commands = [
            Section("Commands", tuple((name, entry.summary) for name, entry in self.table.items()))
        ]
        sections = [*(commands if self.prefix else root_sections()), *_parameters(self, ctx)]
        formatter.write(render(self.get_usage(ctx), self.help or "", sections))


def build(name: str, entry: Command, prefix: str = "") -> Any:
    """The click command of an entry; imports its module.

    Args:
        name: as it is typed.
        entry: what the table says.
        prefix: names of the groups around it, each with a space behind.
    """
    function = None
    if entry.module is not None:
        function = getattr(import_module(entry.module), entry.function)
    text = _help_of(entry, function)
    if not entry.commands:
        assert function is not None, f"{name} has neither a module nor commands"
        single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_HELP)
        single.command(name, cls=LeafCommand, help=text)(function)
        return typer.main.get_command(single)
    return typer.main.get_command(
        _group(name, text, entry.commands, f"{prefix}{name} ", function or _show_group)
    )


def root(callback: Callable[..., Any]) -> Any:
    """The command `promptport`.

    Args:
        callback: takes the options of the root.
    """
    text = inspect.cleandoc(callback.__doc__ or "")
    return typer.main.get_command(_group("promptport", text, COMMANDS, "", callback))


def _group(
    name: str,
    text: str,
    table: Mapping[str, Command],
    prefix: str,
    callback: Callable[..., Any],
) -> typer.Typer:
    kind = type("Group", (LazyGroup,), {"table": table, "prefix": prefix})
    app = typer.Typer(
        name=name,
        cls=kind,
        help=text,
        add_completion=not prefix,
        rich_markup_mode=None,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
    )
    app.callback()(callback)
    return app


def _show_group(ctx: typer.Context) -> None:
    """A group without a command of its own shows its help."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _help_of(entry: Command, function: Callable[..., Any] | None) -> str:
    """The summary of the table, and what the docstring says behind its own first line."""
    rest = inspect.getdoc(function) if function is not None else None
    return f"{entry.summary}.\n\n{(rest or '').partition(chr(10) * 2)[2]}".strip()


def _parameters(command: Any, ctx: Any) -> list[Section]:
    """Arguments and options by panel, those without one first."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panel = getattr(parameter, "rich_help_panel", None) or usual
        panels.setdefault(panel, []).append(record)
    first = [name for name in ("Arguments", "Options") if name in panels]
    order = [*first, *(name for name in panels if name not in first)]
    return [Section(name, tuple(panels[name])) for name in order]


def suggestions(name: str, prefix: str = "") -> list[str]:
    """Commands that somebody may have meant, each as it is typed and quoted.

    Args:
        name: what was typed behind `prefix`.
        prefix: names of the groups, each with a space behind.
    """
    known = {**_names(COMMANDS), **{old: new for old, new in OTHER_NAMES.items()}}
    typed = f"{prefix}{name}".lower()
    exact = [known[key] for key in (typed, name.lower()) if key in known]
    close = get_close_matches(typed, known, n=1, cutoff=0.85) or get_close_matches(typed, known)
    near = [known[key] for key in close]
    return [f"'promptport {meant}'" for meant in dict.fromkeys(exact[:1] or near)]


def _names(table: Mapping[str, Command], prefix: str = "") -> dict[str, str]:
    """Every command by its last name and by its whole name."""
    names: dict[str, str] = {}
    for name, entry in table.items():
        whole = f"{prefix}{name}"
        names |= {name: whole, whole: whole} if prefix else {whole: whole}
        names = {**_names(entry.commands, f"{whole} "), **names}
    return names
