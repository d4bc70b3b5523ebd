"""Names in Markdown are shown as they are."""

from __future__ import annotations

import ast

import pytest

from promptport.pages.markdown import code, prose, python_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nano-bert", "nano-bert"),
        ("<script>", "&lt;script&gt;"),
        ("[x](y)", r"\[x\](y)"),
        ("a\n# b", r"a\\n# b"),
        ("`a` | b", r"\`a\` \| b"),
    ],
)
def test_prose_has_no_markup(text, shown) -> None:
    assert prose(text) == shown.replace(r"a\\n", "a\\\\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{soft} {text}", "`{soft} {text}`"),
        ("a`b", "``a`b``"),
        ("`<b>`", "`` `<b>` ``"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_code_is_one_span(text, shown) -> None:
    assert code(text) == shown


@pytest.mark.parametrize("text", ["user/name", 'x"); import os #', "a\nb", "\\", "🙂", "'"])
def test_a_text_in_python_is_itself(text) -> None:
    assert ast.literal_eval(python_text(text)) == text
    assert "\n" not in python_text(text)
