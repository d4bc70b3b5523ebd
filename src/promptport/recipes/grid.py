"""Grids: products of values with exceptions, as a recipe writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import comb, prod
from typing import Any

from promptport.errors import RecipeError
from promptport.recipes.matching import is_one_of
from promptport.recipes.settings import unknown

RESERVED = ("kind", "with", "except")
_MOST = 100_000  # places of a grid
_FORMS = ("choose", "of", "range")
Place = dict[str, Any]


def expand(grid: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], where: str) -> list[Place]:
    """All places of one grid, without its exceptions.

    A list is a product; `$name` stands for a list of the recipe; `{choose: 2, of: $name}` for all
    sets of so many of its values; `{range: 5}` for 0 to 4. A list in a list is one value. `with` is
    a list of mappings: each is combined with the product of all else.

    Args:
        grid: key -> value, as YAML gives it.
        lists: lists of the recipe by name.
        where: the file and the grid, for errors.

    Raises:
        RecipeError: a list that is not there, or a form that is none.
    """
    keys = {key: value for key, value in grid.items() if key not in RESERVED}
    choices = {key: _values(value, lists, f"{where}, {key!r}") for key, value in keys.items()}
    overlays = grid.get("with", [{}])
    exceptions = grid.get("except", [])
    for name, value in (("with", overlays), ("except", exceptions)):
        if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
            raise _bad(f"{where}, {name!r}", "a list of mappings", value)
    places = []
    for overlay in overlays:
        more = {k: _values(v, lists, f"{where}, 'with', {k!r}") for k, v in overlay.items()}
        _refuse_many(prod(map(len, {**choices, **more}.values())), where)
        for values in _product({**choices, **more}):
            if not any(matches(values, e, where) for e in exceptions):
                places.append(values)
    return places


def matches(place: Mapping[str, Any], pattern: Mapping[str, Any], where: str = "") -> bool:
    """Whether a place has all values of a pattern.

    Args:
        place: of a cell.
        pattern: key -> value, several values (any of them), `=KEY` (as that key) or `!=KEY`.
        where: the file and the grid, for errors.

    Raises:
        RecipeError: a key that the place has not.
    """
    for key in pattern:
        if key not in place:
            raise unknown(f"{where}, pattern", key, sorted(place))
    return all(_fits(place, key, wanted, where) for key, wanted in pattern.items())


def _fits(place: Mapping[str, Any], key: str, wanted: Any, where: str) -> bool:
    value = place[key]
    if isinstance(wanted, str) and wanted.startswith(("=", "!=")):
        other = wanted.lstrip("!=")
        if other not in place:
            raise unknown(f"{where}, pattern, {key!r}", other, sorted(place))
        same = value == place[other] or _has(value, place[other]) or _has(place[other], value)
        return same is wanted.startswith("=")
    return is_one_of(value, wanted)


def _has(values: Any, value: Any) -> bool:
    return isinstance(values, list) and value in values


def _product(choices: Mapping[str, Sequence[Any]]) -> Iterator[Place]:
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def _values(value: Any, lists: Mapping[str, Sequence[Any]], where: str) -> list[Any]:
    """The values that a key takes."""
    if isinstance(value, str) and value.startswith("$"):
        return list(_named(value, lists, where))
    if isinstance(value, list):
        found: list[Any] = []
        for each in value:
            whole = isinstance(each, str) and each.startswith("$")
            found += _named(each, lists, where) if whole else [each]
        if not found:
            raise _bad(where, "one value or more", value)
        return found
    if isinstance(value, Mapping):
        return _form(value, lists, where)
    return [value]


def _form(value: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], where: str) -> list[Any]:
    for key in value:
        if key not in _FORMS:
            raise unknown(where, str(key), list(_FORMS))
    if set(value) == {"range"} and isinstance(value["range"], int) and value["range"] > 0:
        _refuse_many(value["range"], where)
        return list(range(value["range"]))
    if set(value) == {"choose", "of"} and isinstance(value["choose"], int):
        items = _values(value["of"], lists, where)
        if 1 <= value["choose"] <= len(items):
            _refuse_many(comb(len(items), value["choose"]), where)
            return [list(chosen) for chosen in combinations(items, value["choose"])]
    raise _bad(where, "{range: COUNT}, or {choose: COUNT, of: [values, as many at least]}", value)


def _named(value: str, lists: Mapping[str, Sequence[Any]], where: str) -> Sequence[Any]:
    name = value[1:]
    if name not in lists:
        raise unknown(f"{where}, list", name, sorted(lists))
    return lists[name]


def _refuse_many(count: int, where: str) -> None:
    if count > _MOST:
        raise RecipeError(
            where,
            expected=f"at most {_MOST:,} cells",
            got=f"{count:,}",
            fix="Name fewer values, or divide the recipe",
        )


def _bad(where: str, expected: str, value: Any) -> RecipeError:
    return RecipeError(where, expected=expected, got=repr(value)[:80], fix="Correct the value")
