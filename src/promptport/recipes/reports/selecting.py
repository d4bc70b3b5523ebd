"""Choosing cells by their places, and naming what they have in common."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from promptport.recipes.matching import is_one_of
from promptport.recipes.reports.run_record import MeasuredCell, Value

SEED = "seed"  # cells that differ in it alone repeat one thing
KIND = "kind"
JOINED = " · "  # between labels of several keys
Labels = tuple[str, ...]


def label(value: Any) -> str:
    """A value of a place as readers see it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return " + ".join(map(label, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def place_text(kind: str, place: Mapping[str, Value]) -> str:
    """A place in words: `transfer: source nano-bert, target nano-gpt2`."""
    keys = ", ".join(f"{key} {label(value)}" for key, value in place.items())
    return f"{kind}: {keys}" if kind and keys else kind or keys


def fits(kind: str | None, place: Mapping[str, Value], wanted: Mapping[str, Any]) -> bool:
    """Whether a place is one that a filter names.

    Args:
        kind: of the cell; None where it is not known, which fits every kind.
        place: of the cell.
        wanted: place key, or `kind` -> a value, or a list of values.
    """
    for key, value in wanted.items():
        if key == KIND and kind is None:
            continue
        if key != KIND and key not in place:
            return False
        own = kind if key == KIND else place[key]
        if not is_one_of(own, value):
            return False
    return True


def labels_of(place: Mapping[str, Value], keys: Sequence[str]) -> Labels:
    """The labels of a place for some of its keys; a key that it lacks is a dash."""
    return tuple(label(place[key]) if key in place else "–" for key in keys)


def rest_of(cell: MeasuredCell, but: Iterable[str]) -> tuple[tuple[str, Hashable], ...]:
    """A place without some of its keys, to find its partners by."""
    left_out = set(but)
    return tuple(sorted((k, v) for k, v in cell.place.items() if k not in left_out))


def varying(cells: Sequence[MeasuredCell], but: Iterable[str]) -> list[str]:
    """The keys, without some, that are not the same in all places, in the order of the places."""
    left_out = set(but)
    keys = dict.fromkeys(key for cell in cells for key in cell.place if key not in left_out)
    absent = object()
    return [key for key in keys if len({cell.place.get(key, absent) for cell in cells}) > 1]
