"""Errors travel between processes with their line."""

from __future__ import annotations

import pickle
from copy import copy

import pytest

from promptport import errors
from promptport.errors import PromptPortError

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PromptPortError)
]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_the_same_after_a_copy_and_in_another_process(kind) -> None:
    error = kind("--port", expected="a free port", got="8000", fix="Choose another")
    for again in (copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind
        assert str(again) == "--port: expected a free port, got 8000. Choose another."
        assert again.name == "--port"


def test_a_message_is_one_line_whatever_the_names_hold() -> None:
    error = PromptPortError(
        "a\nb\x1b[31m", expected="\u202eé", got="\x00 🙂\xa0x", fix="Do\r\nthis"
    )
    assert str(error) == ("a b\\x1b[31m: expected \\u202eé, got \\x00 🙂\xa0x. Do\\r this.")
