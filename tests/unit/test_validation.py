"""The adapter from pydantic to our error line."""

from __future__ import annotations

import pytest
from pydantic import Field

from promptport.errors import FileFormatError, TaskError
from promptport.validation import FileModel, FileText, FileWord, FileWords, validated


class Inner(FileModel):
    """A mapping in a file."""

    size: int = Field(description="a whole number")


class Outer(FileModel):
    """A file."""

    name: FileText
    words: FileWords = Field(default=[])
    inner: Inner | None = Field(None, description="a mapping with a size")
    weights: dict[FileWord, float] | None = Field(None, description="numbers by name")


def read(values):
    return validated(Outer, values, "f.yaml", TaskError)


def test_values_are_taken_as_they_are() -> None:
    found = read({"name": " a ", "words": 1.5, "inner": {"size": 3}, "weights": {1: 0.5}})
    assert (found.name, found.words, found.inner.size) == ("a", ["1.5"], 3)
    assert found.weights == {"1": 0.5}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nam": "a"}, "f.yaml: expected the keys name, words, inner, weights, got 'nam'. Did you"),
        ({1: 2, "name": "a"}, "got '1'. Remove the key"),
        ({}, "f.yaml: expected the keys name, got no 'name'. Add 'name'."),
        ({"name": 3}, "f.yaml, key 'name': expected a text, got int 3. Correct the value."),
        ({"name": "a", "words": [True]}, "key 'words': expected a text, got bool True. Put quotes"),
        ({"name": "a", "inner": 3}, "key 'inner': expected a mapping with a size, got int 3."),
        ({"name": "a", "inner": {}}, "key 'inner': expected the keys size, got no 'size'."),
        ({"name": "a", "inner": {"size": "3"}}, "key 'size': expected a whole number, got str '3'"),
        (
            {"name": "a", "inner": {"size": 1, "s": 2}},
            "key 'inner': expected the keys size, got",
        ),
        ({"name": "a", "weights": {"x": "y"}}, "key 'weights': expected numbers by name, got str"),
    ],
)
def test_one_line_for_the_first_thing_that_is_wrong(values, message) -> None:
    with pytest.raises(TaskError) as caught:
        read(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_error_has_the_class_that_is_asked_for() -> None:
    with pytest.raises(FileFormatError):
        validated(Outer, {}, "f.json", FileFormatError)
