"""The command reference: one page per command, made by walking the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

INTRODUCTION = """# Commands

Every command has `--help` with an example, and `--json` for one JSON object.
Results go to standard output; messages, progress and hints go to standard error.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the input cannot be used; one line that begins with `error:` says what to do |
| 2 | wrong usage of the command line |
| 130 | interrupted |
"""


def command_pages() -> dict[str, str]:
    """Pages by path below `commands/`: an index and one page for each top-level command."""
    from promptport.cli.panels import COMMANDS

    root = root_command()
    context = typer.Context(root, info_name="promptport")
    pages = {}
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, command in _children(root, context):
        panels.setdefault(COMMANDS[name].panel, []).append((name, command))
        pages[f"{name}.md"] = _page(f"promptport {name}", command, context)
    pages["index.md"] = _index(panels)
    return pages


def root_command() -> Any:
    """The command `promptport` with all of its commands."""
    from promptport.cli import app

    return app()


def _children(group: Any, context: Any) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield name, command


def _is_group(command: Any) -> bool:
    return hasattr(command, "list_commands")


def _index(panels: dict[str, list[tuple[str, Any]]]) -> str:
    lines = [INTRODUCTION]
    names = []
    for panel, commands in panels.items():
        lines += [f"## {panel}", "", "| command | what it does |", "|---|---|"]
        for name, command in commands:
            names.append(name)
            lines.append(f"| [`{name}`]({name}.md) | {_cell(_summary(command))} |")
        lines.append("")
    lines += ["```{toctree}", ":hidden:", "", *names, "```", ""]
    return "\n".join(lines)


def _page(path: str, command: Any, parent: Any, depth: int = 1) -> str:
    context = type(parent)(command, info_name=path.rpartition(" ")[2], parent=parent)
    lines = [f"{'#' * depth} `{path}`", "", *_text(command.help or "")]
    if command.callback is not None and (command.params or not _is_group(command)):
        lines += ["", "```text", _usage(path, command), "```", ""]
    for panel, parameters in _panels(command).items():
        lines += [f"**{panel}**", "", "| name | meaning | default |", "|---|---|---|"]
        lines += [_row(parameter) for parameter in parameters]
        lines.append("")
    if _is_group(command):
        for name, child in _children(command, context):
            lines += ["", _page(f"{path} {name}", child, context, depth + 1)]
    return "\n".join(lines) + "\n"


def _usage(path: str, command: Any) -> str:
    arguments = [_placeholder(p) for p in command.params if _is_argument(p)]
    needed = [f"{p.opts[0]} {_kind(p)}" for p in command.params if _needed(p)]
    return " ".join([path, *arguments, *needed, "[OPTIONS]"])


def _panels(command: Any) -> dict[str, list[Any]]:
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        usual = "Arguments" if _is_argument(parameter) else "Options"
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(
            parameter
        )
    return panels


def _row(parameter: Any) -> str:
    if _is_argument(parameter):
        name = f"`{_placeholder(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        name = names if parameter.is_flag else f"{names} {_kind(parameter)}"
    more = " Repeat for several." if parameter.multiple and not _says_repeat(parameter) else ""
    return f"| {name} | {_cell((parameter.help or '') + more)} | {_default(parameter)} |"


def _says_repeat(parameter: Any) -> bool:
    return any(word in (parameter.help or "").lower() for word in ("repeat", "several", "again"))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value in (None, False, [], ()) or parameter.show_default is False:
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts or not parameter.opts[0].startswith("-")


def _needed(parameter: Any) -> bool:
    return parameter.required and not _is_argument(parameter)


def _placeholder(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    name = name if name.startswith("[") or parameter.required else f"[{name}]"
    return f"{name}..." if parameter.nargs == -1 and "..." not in name else name


def _kind(parameter: Any) -> str:
    if parameter.metavar:
        return parameter.metavar
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    return {"int": "NUMBER", "float": "NUMBER", "Path": "PATH"}.get(
        getattr(annotation, "__name__", ""), "TEXT"
    )


def _summary(command: Any) -> str:
    return (command.short_help or command.help or "").strip().partition("\n")[0]


def _text(text: str) -> list[str]:
    """Help text as Markdown; what stands below `Example:` is code."""
    prose: list[str] = []
    examples: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip() in ("Example:", "Examples:"):
            inside = True
        elif inside and (not line.strip() or line.startswith("  ")):
            examples.append(line.strip())
        else:
            inside = False
            prose.append(_escape(line.rstrip()))
    shown = [line for line in examples if line]
    return [*prose, "", "```sh", *shown, "```"] if shown else prose


def _escape(text: str) -> str:
    """Help text may hold characters that Markdown would read."""
    for sign in ("*", "_", "<", "{", "["):
        text = text.replace(sign, "\\" + sign)
    return text


def _cell(text: str) -> str:
    return _escape(" ".join(text.split())).replace("|", "\\|")
