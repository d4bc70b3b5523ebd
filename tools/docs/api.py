"""The API reference: every public name of the package and of its rooms, by autodoc."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

# Rooms whose own `__all__` is public as well, in the order of the pages.
ROOMS = {
    "backbone": "Frozen language models behind one door.",
    "tasks": "Tasks, templates, data and metrics.",
    "tuning": "Tuning of one or many prompts; starting points; baselines.",
    "transfers": "Moving prompts by embedding tables.",
    "moving": "The front door: move by the road that works.",
    "distillation": "Moving and mending prompts by their answers.",
    "merging": "Combining task vectors.",
    "library": "Prompts of many tasks on one backbone.",
    "analysis": "Similarity, forecasts, robustness to origins, statistics.",
    "recipes": "Experiments in files: read and run.",
    "experiments": "Whole comparisons: pairs, few-shot curves, the demo.",
    "storage": "Reading and writing folders and files.",
    "pages": "HTML pages that stand alone.",
    "parameters": "Origins: where tuning starts.",
}

INTRODUCTION = """# Python API

`import promptport` imports nothing heavy: a name is loaded when it is first used.
Functions return new values and never change their arguments.
Input that cannot be used raises a {py:exc}`promptport.errors.PromptPortError` with one line.

The names on [the first page](promptport.md) are the ones to start from.
The other pages list the rest of each room.
"""


def api_pages() -> dict[str, str]:
    """Pages by path below `api/`."""
    package = import_module("promptport")
    public = [name for name in package.__all__ if not name.startswith("__")]
    where = {name: _where(getattr(package, name), name) for name in public}
    listed = set(where.values())
    pages = {"promptport.md": _page("promptport", "Names of the package itself.", where)}
    for room, what in ROOMS.items():
        module = import_module(f"promptport.{room}")
        names = {name: _where(getattr(module, name), name) for name in module.__all__}
        rest = {n: w for n, w in names.items() if w not in listed and _documentable(module, n)}
        listed |= set(rest.values())
        if rest:
            pages[f"{room}.md"] = _page(f"promptport.{room}", what, rest)
    values = _referenced(listed)
    pages["values.md"] = _page("Values", "What the functions above take and give.", values)
    toctree = ["```{toctree}", ":hidden:", "", *(page[:-3] for page in pages), "```", ""]
    rooms = [
        f"| [`promptport.{room}`]({room}.md) | {what} |"
        for room, what in ROOMS.items()
        if f"{room}.md" in pages
    ]
    rooms.append("| [values](values.md) | classes that other names take and give |")
    table = ["| room | what is in it |", "|---|---|", *rooms, ""]
    pages["index.md"] = "\n".join([INTRODUCTION, *table, *toctree])
    return pages


def _referenced(listed: set[str]) -> dict[str, str]:
    """Our classes that signatures and attributes name without being listed themselves."""
    known: dict[str, set[str]] = {}
    for value in _classes():
        known.setdefault(value.__name__, set()).add(f"{value.__module__}.{value.__name__}")
    found: set[str] = set()
    todo = set(listed)
    while todo:
        named = {name for where in todo for name in _names_in(where)}
        reached = {where for name in named for where in known.get(name, ())}
        todo = reached - found - listed
        found |= todo
    return {where.removeprefix("promptport."): where for where in sorted(found)}


def _classes() -> Iterator[type]:
    package = import_module("promptport")
    for info in pkgutil.walk_packages(package.__path__, "promptport."):
        if ".cli" in info.name or info.name.endswith("__main__"):
            continue
        try:
            module = import_module(info.name)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("promptport"):
                raise
            continue  # what an extra is for, which is not installed
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == info.name and name[0] != "_":
                yield value


def _names_in(where: str) -> Iterable[str]:
    """The words of all annotations of a class or function."""
    room, _, name = where.rpartition(".")
    value = getattr(import_module(room), name)
    annotated = [value]
    if inspect.isclass(value):
        members = vars(value).items()
        public = [m for key, m in members if key == "__init__" or not key.startswith("_")]
        annotated += [_function(member) for member in public]
    text = " ".join(
        str(hint) for each in annotated for hint in getattr(each, "__annotations__", {}).values()
    )
    return set(re.findall(r"\w+", text))


def _function(member: Any) -> Any:
    """What stands behind a property, a cached property or a class method."""
    for name in ("fget", "func", "__func__"):
        member = getattr(member, name, member)
    return member


def _where(value: Any, name: str) -> str:
    """The full name of a value where it is defined, so that references meet."""
    module = getattr(value, "__module__", None)
    if module and getattr(value, "__qualname__", None) == name:
        return f"{module}.{name}"
    return name


def _documentable(module: Any, name: str) -> bool:
    value = getattr(module, name)
    return inspect.isclass(value) or inspect.isfunction(value)


def _page(title: str, what: str, names: dict[str, str]) -> str:
    lines = [f"# `{title}`", "", what, ""]
    for name, where in sorted(names.items(), key=lambda item: item[0].lower()):
        room, _, own = where.rpartition(".")
        value = getattr(import_module(room), own)
        kind = "autofunction" if inspect.isfunction(value) else "autoclass"
        options = ["   :members:"] if kind == "autoclass" else []
        if inspect.isclass(value) and issubclass(value, Exception):
            kind, options = "autoexception", []
        lines += [f"## {name}", "", "```{eval-rst}", f".. {kind}:: {where}", *options, "```", ""]
    return "\n".join(lines)
