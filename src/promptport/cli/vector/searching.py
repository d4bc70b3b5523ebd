"""promptport vector combine --search: coefficients by labelled dev rows."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, cast

from promptport.cli.console import (
    interval,
    print_table,
    tell,
)
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.merging import SearchConfig

USUAL = "min"  # criterion: a mean cannot see that one task is kept and the other wiped out
_ROUNDING = 1e-9  # of a number of steps
_SHOWN = 40  # characters of a grid that is refused


def search_settings(
    criterion: str,
    coefficients: str,
    grid: str | None,
    precision: float,
    ties: str | None,
    rows: int,
    truncate: bool,
) -> SearchConfig:
    """The settings of --search; checked before anything is loaded."""
    from promptport.merging import SearchConfig

    return SearchConfig(
        cast(Any, criterion),
        cast(Any, coefficients),
        grid=None if grid is None else read_grid(grid),
        precision=precision,
        ties=cast(Any, ties or ("loss" if coefficients == "separate" else None)),
        rows=rows,
        truncate=truncate,
    )


def read_grid(text: str) -> tuple[float, ...]:
    """`0:1.5:0.1` (both ends included, the last step may be shorter) or `-0.5,0.25,1`.

    Raises:
        PromptPortError: neither, or more than 1,000 numbers.
    """
    from promptport.merging.search_settings import MOST_VALUES

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
        numbers = [float(part) + 0.0 for part in text.split(between)]
        return numbers if all(map(math.isfinite, numbers)) else []
    return []


def show_search(search: dict[str, Any]) -> None:
    """A table of what was chosen, from `SearchResult.to_dict`."""
    chosen = ", ".join(f"{name} {value:g}" for name, value in search["coefficients"].items())
    print_table(
        f"{search['criterion']} {search['value']:.3f}, best of {search['tried']}: {chosen}",
        ["task", f"{search['split']} score [95%]", "best single vector", "kept", "rows"],
        [
            [name, interval(s), s["alone"], s["kept"], s["rows"]]
            for name, s in search["tasks"].items()
        ],
    )
    tell(
        f"Chosen by labels of the {search['split']} split. kept: the score as a share of the best "
        "single vector's; 1 is all of it."
    )
