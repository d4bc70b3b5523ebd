"""Results on standard output (tables, JSON), messages on standard error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from promptport.shell import joined
from promptport.token_text import harmless


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that JSON has not become null."""
    plain = _plain(value)
    text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
    if harmless(text) != text:  # what a terminal acts on, and names of files that are no text
        text = json.dumps(plain, indent=2, allow_nan=False)
    elif not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # names of files may be no text
            text = json.dumps(plain, indent=2, allow_nan=False)
    typer.echo(text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if (isinstance(value, float) and value in (float("inf"), float("-inf"))) or value != value:
        return None
    return value


def shown(text: str) -> str:
    """A text that others wrote, for a terminal: what it cannot show becomes an escape.

    Args:
        text: a name, a task; of several lines or with commands to the terminal, if somebody wills.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(text: str) -> None:
    """A message for people, on standard error."""
    typer.echo(harmless(text), err=True)


def tell(text: str) -> None:
    """A line of a result for people, on standard output."""
    typer.echo(harmless(text))


def note(text: str) -> None:
    """Something that a user may not expect, on standard error."""
    say(f"note: {text}")


def written(place: object, purpose: str = "", following: str = "") -> None:
    """Say where a result was written, and which command goes on from there.

    Args:
        place: the file or folder.
        purpose: what the next command does, for instance `Score it`.
        following: the command, as `command_line` makes it.
    """
    say(f"Written to {shown(str(place))}.")
    if following:
        hint(purpose, following)


def hint(purpose: str, following: str) -> None:
    """A command to run next, on a line of its own, so that it can be copied.

    Args:
        purpose: what it does, for instance `Score it`.
        following: the command, as `command_line` makes it.
    """
    say(f"{purpose}:\n  {following}")


def command_line(*words: object, **options: object) -> str:
    """A command that runs as it stands, quoted for a shell.

    Args:
        words: command and arguments, without `promptport`.
        options: by name with `_` for `-`, and a `_` at the end where the name is a word of Python
            (`with_`); None and False leave one out, True is a flag, a list repeats it.
    """
    typed = [str(word) for word in words]
    # Behind the options and `--`, a name that begins like an option is none.
    split = next((i for i, word in enumerate(typed) if word.startswith("-")), len(typed))
    parts = ["promptport", *typed[:split]]
    for name, value in options.items():
        option = f"--{name.rstrip('_').replace('_', '-')}"
        values = value if isinstance(value, list | tuple) else [value]
        for one in values:
            if one is True:
                parts.append(option)
            elif one is not None and one is not False:
                parts += [option, str(one)] if not str(one).startswith("-") else [f"{option}={one}"]
    return joined([*parts, "--", *typed[split:]] if split < len(typed) else parts)


def print_facts(title: str, facts: Sequence[Sequence[Any]]) -> None:
    """Names and their values as a table without a heading line.

    Args:
        title: over the table.
        facts: (name, value) each.
    """
    print_table(title, ["", ""], facts)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output; numbers to the right, no name cut within a word.

    A table that is too wide for the terminal becomes several, each with the first column.

    Args:
        title: over the table.
        columns: headings; if all are empty there is no heading line.
        rows: values, one per column.
    """
    from promptport.cli.console.tables import show_table

    show_table(title, columns, rows)


def interval(score: Mapping[str, Any]) -> str:
    """`0.812 [0.790, 0.834]` from the dictionary of a score."""
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
