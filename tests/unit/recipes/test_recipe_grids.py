"""Grids: products, lists, sets, exceptions, and what is refused."""

import pytest

from promptport.errors import RecipeError
from promptport.recipes.grid import expand, matches

LISTS = {"models": ["a", "b", "c"], "tasks": ["x", "y"]}


def test_lists_are_products_in_order() -> None:
    places = expand({"kind": "k", "m": ["a", "b"], "n": 1, "t": "$tasks"}, LISTS, "r")
    assert places == [
        {"m": "a", "n": 1, "t": "x"},
        {"m": "a", "n": 1, "t": "y"},
        {"m": "b", "n": 1, "t": "x"},
        {"m": "b", "n": 1, "t": "y"},
    ]


def test_named_lists_can_stand_among_values() -> None:
    places = expand({"m": ["z", "$models"]}, LISTS, "r")
    assert [place["m"] for place in places] == ["z", "a", "b", "c"]


def test_range_and_choose() -> None:
    assert [p["s"] for p in expand({"s": {"range": 3}}, {}, "r")] == [0, 1, 2]
    chosen = expand({"t": {"choose": 2, "of": "$models"}}, LISTS, "r")
    assert [p["t"] for p in chosen] == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_a_list_in_a_list_is_one_value() -> None:
    assert expand({"t": [["x", "y"]]}, LISTS, "r") == [{"t": ["x", "y"]}]


def test_with_multiplies_all_else() -> None:
    grid = {"n": [1, 2], "with": [{"t": "x", "s": 5}, {"t": "$tasks", "s": 6}]}
    places = expand(grid, LISTS, "r")
    assert len(places) == 2 * (1 + 2)
    assert {(p["t"], p["s"]) for p in places} == {("x", 5), ("x", 6), ("y", 6)}


@pytest.mark.parametrize(
    ("exception", "left"),
    [
        ({"s": "=t"}, 6),
        ({"s": "!=t"}, 3),
        ({"s": "a"}, 6),
        ({"s": ["a", "b"]}, 3),
        ({"s": "a", "t": "b"}, 8),
    ],
)
def test_exceptions(exception: dict[str, object], left: int) -> None:
    grid = {"s": "$models", "t": "$models", "except": [exception]}
    assert len(expand(grid, LISTS, "r")) == left


def test_same_as_a_key_looks_into_lists() -> None:
    assert matches({"s": ["a", "b"], "t": "b"}, {"s": "=t"})
    assert not matches({"s": ["a", "b"], "t": "c"}, {"s": "=t"})


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"m": "$modles"}, "Did you mean 'models'?"),
        ({"m": {"rnge": 3}}, "Did you mean 'range'?"),
        ({"m": {"range": 0}}, "range: COUNT"),
        ({"m": {"choose": 4, "of": "$models"}}, "as many at least"),
        ({"m": []}, "one value or more"),
        ({"m": {"range": 10**12}}, "at most 100,000 cells, got 1,000,000,000,000"),
        ({k: {"range": 1000} for k in "abcd"}, "at most 100,000 cells, got 1,000,000,000,000"),
        ({"m": {"choose": 30, "of": list(range(60))}}, "at most 100,000 cells"),
        ({"m": 1, "except": {"m": 1}}, "a list of mappings"),
        ({"m": 1, "with": ["m"]}, "a list of mappings"),
        ({"m": 1, "except": [{"mm": 1}]}, "Did you mean 'm'?"),
        ({"m": 1, "except": [{"m": "=q"}]}, "one of m"),
    ],
)
def test_what_is_refused(grid: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match="r[,:] ") as caught:
        expand(grid, LISTS, "r")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_same_as_a_key_that_is_a_list_looks_into_it() -> None:
    found = expand(
        {"task": ["a", "b"], "sources": [["a", "c"]], "except": [{"task": "=sources"}]}, {}, "here"
    )
    assert [place["task"] for place in found] == ["b"]
