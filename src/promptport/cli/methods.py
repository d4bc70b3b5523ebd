"""promptport methods: what --method, --magnitude and --option can name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import JsonFlag, print_json, print_table

if TYPE_CHECKING:
    from promptport.registry import Method


def command(
    name: Annotated[
        str | None, typer.Argument(help="Show only these: transfer, magnitude, merge or a method.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """List the methods of move, transfer and combine.

    With their options (--option NAME=VALUE) and the papers that they come from.

    Example:
        promptport methods
        promptport methods least_squares
    """
    from promptport.merging import concatenate, list_merges
    from promptport.registry import unknown_name
    from promptport.transfers import MAGNITUDES, list_methods

    shown: dict[str, list[dict[str, Any]]] = {
        "transfer": [_described(method) for method in list_methods()],
        "magnitude": [_plain(rule, function) for rule, function in MAGNITUDES.items()],
        "merge": [
            *[_described(method) for method in list_merges()],
            _plain("concatenate", concatenate),
        ],
    }
    if name is not None:
        chosen = {kind: [e for e in all_ if _means(name, kind, e)] for kind, all_ in shown.items()}
        if not any(chosen.values()):
            known = [e["name"].partition(".")[0] for entries in shown.values() for e in entries]
            raise unknown_name("method", name, [*shown, *known])
        shown = {kind: entries for kind, entries in chosen.items() if entries}
    if json_output:
        print_json(shown)
        return
    titles = {
        "transfer": "promptport transfer --method (also import)",
        "magnitude": "promptport transfer --magnitude: the norm of moved virtual tokens",
        "merge": "promptport vector combine --method",
    }
    for kind, entries in shown.items():
        rows = [
            [e["name"], e["summary"], _settings(e["options"]), e["paper"] or ""] for e in entries
        ]
        print_table(titles[kind], ["name", "what it does", "options", "from"], rows)


def _described(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "summary": method.summary,
        "options": dict(method.options),
        "paper": method.paper,
    }


def _plain(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """What has no options that can be named."""
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return {"name": name, "summary": summary, "options": {}, "paper": None}


def _means(asked: str, kind: str, entry: Mapping[str, Any]) -> bool:
    return asked in (kind, entry["name"], entry["name"].partition(".")[0])


def _settings(options: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())
