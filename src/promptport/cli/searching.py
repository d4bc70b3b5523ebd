"""promptport combine --search: coefficients by labelled dev rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from promptport.cli.console import home, interval, print_table
from promptport.cli.made_origin import origin_for
from promptport.cli.transfer import parse_options
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.tasks import Task
    from promptport.tuning import SearchConfig, SearchResult


def search_config(
    criterion: str | None, coefficients: str, method: str, options: list[str], seed: int
) -> SearchConfig | None:
    """The settings of --search; checked before anything is loaded."""
    from promptport.tuning import SearchConfig

    if criterion is None:
        if coefficients != "one":
            raise PromptPortError(
                "--coefficients",
                expected="--search with it",
                got="none",
                fix="Add for instance --search min --task A --task B",
            )
        return None
    return SearchConfig(
        cast(Any, criterion),
        cast(Any, coefficients),
        ties="loss" if coefficients == "separate" else "smallest",
        method=method,
        options=parse_options(options),
        seed=seed,
    )


def searched(
    terms: dict[str, float],
    places: dict[str, Path],
    origin: str,
    config: SearchConfig,
    backbone: str | None,
    loading: Mapping[str, Any],
    tasks: list[Task],
) -> SearchResult:
    from promptport.backbone import Backbone
    from promptport.interop import load_vector
    from promptport.tuning import search_coefficients
    from promptport.vector import told_apart

    vectors = told_apart(
        {name: load_vector(place, name, backbone) for name, place in places.items()}
    )
    first = vectors[0]
    start, made = origin_for(
        origin,
        next(iter(places.values())),
        first.provenance,
        first.length,
        backbone=backbone,
        seed=config.seed,
    )
    source = first.provenance
    model = Backbone.load(**home(source, backbone), **loading)
    found = search_coefficients(
        model, vectors, tasks, start, config, terms=list(terms.values()), made=made
    )
    idle = [name for name, value in zip(terms, found.coefficients, strict=True) if not value]
    if 0 < len(idle) < len(terms):
        typer.echo(f"note: with coefficient 0, {', '.join(idle)} adds nothing", err=True)
    return found


def describe_search(
    found: SearchResult, config: SearchConfig, terms: dict[str, float]
) -> dict[str, Any]:
    return {
        "criterion": config.criterion,
        "value": found.value,
        "coefficients": dict(zip(terms, found.coefficients, strict=True)),
        "tried": len(found.trials),
        "split": config.split,
        "tasks": {
            name: {**score.to_dict(), "alone": found.alone[name], "kept": found.kept[name]}
            for name, score in found.scores.items()
        },
    }


def show_search(search: dict[str, Any]) -> None:
    chosen = ", ".join(f"{name} {value:g}" for name, value in search["coefficients"].items())
    print_table(
        f"{search['criterion']} {search['value']:.3f}, best of {search['tried']}: {chosen}",
        ["task", f"{search['split']} score [95%]", "best single vector", "kept", "rows"],
        [
            [name, interval(s), s["alone"], s["kept"], s["rows"]]
            for name, s in search["tasks"].items()
        ],
    )
    typer.echo(f"Chosen by labels of the {search['split']} split.")
