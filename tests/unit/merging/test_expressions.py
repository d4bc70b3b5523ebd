"""The grammar of combinations."""

from __future__ import annotations

import pytest

from promptport.errors import PromptPortError
from promptport.merging.expressions import parse_expression


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("sst2", {"sst2": 1}),
        ("sst2 + 0.5*mnli - (a + b)/2", {"sst2": 1, "mnli": 0.5, "a": -0.5, "b": -0.5}),
        ("sst2 + 0.5*mnli - toxicity", {"sst2": 1, "mnli": 0.5, "toxicity": -1}),
        ("a - b - c", {"a": 1, "b": -1, "c": -1}),
        ("a - (b - c)", {"a": 1, "b": -1, "c": 1}),
        ("8*a/2/2", {"a": 2}),
        ("a*2*3", {"a": 6}),
        ("(1 + 2)*a", {"a": 3}),
        ("a/(1 + 3)", {"a": 0.25}),
        ("-a", {"a": -1}),
        ("--a + +b", {"a": 1, "b": 1}),
        ("2*-a", {"a": -2}),
        ("-(a + b)*.5", {"a": -0.5, "b": -0.5}),
        ("a + a", {"a": 2}),
        ("a - a + b", {"a": 0, "b": 1}),
        ("0*a + b", {"a": 0, "b": 1}),
        ("1e-3*a + 2.*b + 1E2*c", {"a": 1e-3, "b": 2, "c": 100}),
        ("1 + a - 1", {"a": 1}),
        ("country-capital - x.y_1-seed2", {"country-capital": 1, "x.y_1-seed2": -1}),
        ("2-a", None),
        ("a -b", {"a": 1, "b": -1}),
        ("(a)-(b)", {"a": 1, "b": -1}),
        ("  größe\t+\nb ", {"größe": 1, "b": 1}),
        ("library/x + library/y", {"library/x": 1, "library/y": 1}),
        ("0.5*library/x-1/seed-2.prompt", {"library/x-1/seed-2.prompt": 0.5}),
        ("(./a - ../b/c)/2", {"./a": 0.5, "../b/c": -0.5}),
        ("-/abs/a + ~/b", {"/abs/a": -1, "~/b": 1}),
        ("a/b/ + c", {"a/b": 1, "c": 1}),
        ("a/b/(1 + 3)", {"a/b": 0.25}),
        ("a/2 + b/.5/1e1", {"a": 0.5, "b": 0.2}),
        ("a /2", {"a": 0.5}),
        ("lib/a/2 + ./b/4", {"lib/a": 0.5, "./b": 0.25}),
        ("runs/2024/x", {"runs/2024/x": 1}),
        ('"runs/2" + 2*"my prompts/a+b"', {"runs/2": 1, "my prompts/a+b": 2}),
        ("'a - b'/2", {"a - b": 0.5}),
    ],
)
def test_weights_of_names(text, terms):
    if terms is None:
        with pytest.raises(PromptPortError, match="a number that is added"):
            parse_expression(text)
        return
    found = parse_expression(text)
    assert found == terms
    assert list(found) == list(terms), "in the order of their first use"


def test_a_folder_that_reads_like_a_division():
    assert parse_expression("runs/2", {"runs/2"}.__contains__) == {"runs/2": 1}
    assert parse_expression("runs/2", {"runs"}.__contains__) == {"runs": 0.5}
    both = {"runs", "runs/2"}.__contains__
    with pytest.raises(
        PromptPortError, match="one meaning of 'runs/2', got two: the folder runs/2"
    ):
        parse_expression("a + runs/2", both)
    assert parse_expression("runs / 2", both) == {"runs": 0.5}
    assert parse_expression('"runs/2" / 2', both) == {"runs/2": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected a name, a number or '\(' at character 1, got the end"),
        ("a +", r"at character 4, got the end"),
        ("a b", r"expected an operator or the end at character 3, got 'b'"),
        ("2a", r"at character 2, got 'a'"),
        ("(a", r"expected '\)' at character 3, got the end"),
        ("a)", r"at character 2, got '\)'"),
        ("a * * b", r"at character 5, got '\*'"),
        ("a*b", "one factor, and every divisor, to be a number, got .*at character 3"),
        ("2/a", "every divisor"),
        ("(a + 1)*b", "every divisor"),
        ("a/0", "expected a divisor other than 0, got 0 at character 3"),
        ("a/(1 - 1)", "divisor other than 0"),
        ("3", "a number that is added"),
        ("0", "expected at least one name, got none"),
        ("a + 1", "a number that is added"),
        ("1e999*a", "expected finite coefficients"),
        ("a/1e999", "expected finite coefficients"),
        ("1e300*1e300*a", "expected finite coefficients"),
        ("a ^ b", r"got '\^' at character 3.*in quotes, for instance"),
        ("a / b", "one factor, and every divisor, to be a number, got .*at character 5"),
        ("../a/(b)", "every divisor"),
        ("/", "expected a name, a number"),
        ('""', "expected numbers, names"),
        ("'a", "expected numbers, names"),
        ("__import__('os')", r"an operator or the end at character 11, got '\('"),
        ("f(a)", r"expected an operator or the end at character 2, got '\('"),
        ("(" * 200 + "a" + ")" * 200, "at most 50 nested parentheses"),
        ("a" * 20_000, "at most 10000 characters"),
    ],
)
def test_anything_else_is_refused_in_one_line(text, message):
    with pytest.raises(PromptPortError, match=message) as error:
        parse_expression(text)
    assert str(error.value).startswith("expression: expected")
    assert "\n" not in str(error.value)


def test_long_chains_of_signs_and_terms_are_read():
    assert parse_expression("-" * 5001 + "a") == {"a": -1}
    assert parse_expression("+".join(["a"] * 3000)) == {"a": 3000}
