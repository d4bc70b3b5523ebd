"""What stands in a library of prompts: facts read without torch, found again by an index."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptport.catalog.catalog import Catalog
    from promptport.catalog.entry import CatalogEntry

__all__ = ["Catalog", "CatalogEntry"]
_HOMES = {"Catalog": "catalog", "CatalogEntry": "entry"}


def __getattr__(name: str) -> Any:
    # Late: the names of files (`layout`) are read by whoever opens a prompt, an index by few.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
