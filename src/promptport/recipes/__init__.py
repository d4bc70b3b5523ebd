"""Recipes: an experiment in a file, run as cells on one machine or a cluster, and reported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptport.recipes.recipe import Recipe, read_recipe, recipe_of
    from promptport.recipes.running import RunConfig, RunResult, run_recipe

_HOMES = {
    "Recipe": "recipe",
    "RunConfig": "running",
    "RunResult": "running",
    "read_recipe": "recipe",
    "recipe_of": "recipe",
    "run_recipe": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["Recipe", "RunConfig", "RunResult", "read_recipe", "recipe_of", "run_recipe"]
