"""The kinds of cells that recipes know, as a page."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from promptport.recipes.kinds import KINDS, Kind
from promptport.recipes.kinds.base import REQUIRED

HEAD = """# Kinds of cells

A recipe names kinds of cells in its grid ([Run an experiment](../../howto/recipes.md)).
`methods` in a recipe gives a kind more methods, each with the options that the kind has.
"""


def kind_pages() -> dict[str, str]:
    """The page by its path below `recipes/`."""
    return {"kinds.md": "\n".join([HEAD, *(line for k in KINDS.values() for line in _kind(k))])}


def _kind(kind: Kind) -> Iterator[str]:
    yield from (f"## `{kind.name}`", "", inspect.cleandoc(type(kind).__doc__ or ""), "")
    yield from ("| key | what | usual |", "|---|---|---|")
    for name, key in kind.keys.items():
        usual = "" if key.usual is REQUIRED else f"`{key.usual}`"
        yield f"| `{name}` | {key.of} | {usual} |"
    yield ""
    if kind.methods:
        yield from (f"Methods: {', '.join(f'`{name}`' for name in kind.methods)}.", "")
    yield from (f"Settings that it depends on: {', '.join(f'`{s}`' for s in kind.reads)}.", "")
    if kind.options:
        yield from ("| option of a method | meaning |", "|---|---|")
        yield from (f"| `{name}` | {meaning} |" for name, meaning in kind.options.items())
        yield ""
