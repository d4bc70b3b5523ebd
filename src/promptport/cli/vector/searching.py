"""promptport combine --search: coefficients by labelled dev rows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from promptport.cli.console import backbone_reference, interval, print_table
from promptport.cli.made_origin import origin_for
from promptport.cli.parsing import parse_options
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.merging import SearchConfig, SearchResult
    from promptport.tasks import Task


_ROUNDING = 1e-9  # of a number of steps
_SHOWN = 40  # characters of a grid that is refused


def search_config(
    criterion: str | None,
    coefficients: str,
    grid: str | None,
    precision: float,
    ties: str | None,
    method: str,
    options: list[str],
    seed: int,
) -> SearchConfig | None:
    """The settings of --search; checked before anything is loaded."""
    from promptport.merging import SearchConfig

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
        grid=None if grid is None else read_grid(grid),
        precision=precision,
        ties=cast(Any, ties or ("loss" if coefficients == "separate" else None)),
        method=method,
        options=parse_options(options),
        seed=seed,
    )


def read_grid(text: str) -> tuple[float, ...]:
    """`0:1.5:0.1` (both ends included, the last step may be shorter) or `-0.5,0.25,1`.

    Raises:
        PromptPortError: neither, or more than 1,000 numbers.
    """
    from promptport.merging.coefficient_search import MOST_VALUES

    numbers = _range(text, MOST_VALUES) if ":" in text else _numbers(text, ",")
    if not 1 <= len(numbers) <= MOST_VALUES:
        raise PromptPortError(
            "--grid",
            expected="START:END:STEP (START below END, STEP above 0) or numbers with commas, at "
            f"most {MOST_VALUES:,} of them",
            got=repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."),
            fix="Write for instance --grid 0:1.5:0.1 or --grid -0.5,0.25,1",
        )
    return tuple(numbers)


def _range(text: str, most: int) -> list[float]:
    """The numbers of START:END:STEP; none if it is none, or too long."""
    match _numbers(text, ":"):
        case [start, end, step] if start < end and step > 0 and (end - start) / step < most:
            count = math.ceil((end - start) / step - _ROUNDING)
            return [*(round(start + i * step, 12) for i in range(count)), end]
    return []


def _numbers(text: str, between: str) -> list[float]:
    """Finite numbers without minus zero; none if one of them is none."""
    with contextlib.suppress(ValueError):
        found = [float(part) + 0.0 for part in text.split(between)]
        return found if all(map(math.isfinite, found)) else []
    return []


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
    from promptport.merging import search_coefficients
    from promptport.storage import load_vector
    from promptport.vector import unique_labels

    vectors = unique_labels(
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
    model = Backbone.load(**backbone_reference(source, backbone), **loading)
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
        "grid": list(config.values),
        "precision": config.precision,
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
