"""Method cards: what the registries know, joined with a hand-written card for each method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from promptport.merging import concatenate, list_merges
from promptport.transfers import MAGNITUDES, list_methods

CARDS = Path(__file__).parents[2] / "docs" / "methods" / "cards"

TRANSFER = """# Transfer methods

A transfer method turns the description of a prompt into vectors of the target.
Name one with `promptport move P --to B --method embeddings`, or with
`promptport transfer P --to B --method NAME --option OPTION=VALUE`.
The symbols are those of [encode and decode](../../concepts/encode-decode.md).
"""
MERGE = """# Merge methods

A merge method joins the task vectors $T_1, ..., T_m$ of an expression with coefficients $c_i$.
Name one with `promptport vector combine EXPRESSION --method NAME --option OPTION=VALUE`.
The symbols are those of [task vectors](../../concepts/task-vectors.md).
"""
MAGNITUDE = """# Magnitude rules

A method decides the direction of a virtual token.
A magnitude rule decides its length afterwards, and only scales: a shift would turn the vector.
Name one with `--magnitude RULE`.
"""


def card_pages() -> dict[str, str]:
    """Pages by path below `methods/`; a method without a card, or a card without one, fails."""
    transfers = {m.name.partition(".")[0]: m for m in list_methods()}
    merges = {m.name.partition(".")[0]: m for m in list_merges()}
    _check("transfer", transfers)
    _check("merge", [*merges, "concatenate"])
    _check("magnitude", MAGNITUDES)
    merged = [_card("merge", method) for method in merges.values()]
    merged.append(_plain("merge", "concatenate", concatenate))
    rules = [_plain("magnitude", name, function) for name, function in MAGNITUDES.items()]
    return {
        "transfer.md": "\n".join([TRANSFER, *(_card("transfer", m) for m in transfers.values())]),
        "merge.md": "\n".join([MERGE, *merged]),
        "magnitude.md": "\n".join([MAGNITUDE, *rules]),
    }


def _check(kind: str, names: Iterable[str]) -> None:
    there, wanted = {path.stem for path in (CARDS / kind).glob("*.md")}, set(names)
    if there != wanted:
        raise SystemExit(
            f"docs/methods/cards/{kind}: expected a card for each method, got none for "
            f"{sorted(wanted - there)} and unknown ones {sorted(there - wanted)}."
        )


def _card(kind: str, method: Any) -> str:
    short = method.name.partition(".")[0]
    documented = _arguments(method.function)
    lines = [f"## `{method.name}`", "", method.summary, "", f"**Paper**: {method.paper}.", ""]
    lines += [_prose(kind, short), ""]
    if method.options:
        lines += ["| option | default | meaning |", "|---|---|---|"]
        for name, default in method.options.items():
            lines.append(f"| `{name}` | `{default}` | {documented.get(name, '')} |")
        lines.append("")
    return "\n".join(lines)


def _plain(kind: str, name: str, function: Callable[..., Any]) -> str:
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return f"## `{name}`\n\n{summary}\n\n{_prose(kind, name)}\n"


def _prose(kind: str, name: str) -> str:
    """The hand-written card; its links count from its own folder, one level below the page's."""
    text = (CARDS / kind / f"{name}.md").read_text(encoding="utf-8").strip()
    return text.replace("](../../../", "](../../")


def _arguments(function: Callable[..., Any]) -> dict[str, str]:
    """Names and meanings of a Google docstring's `Args`."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n((?:    .*\n?)+)", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in (section.group(1) if section else "").splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start.group(1)
            found[name] = start.group(2)
        elif name:
            found[name] += " " + line.strip()
    return {key: value.replace("|", "\\|") for key, value in found.items()}
