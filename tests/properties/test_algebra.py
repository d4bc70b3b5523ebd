"""Laws of the arithmetic on task prompt vectors."""

from __future__ import annotations

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptport.errors import PromptPortError
from promptport.merging import merge
from promptport.merging.expressions import parse_expression
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.vector import TaskPromptVector

seeds = st.integers(0, 2**31 - 1)
numbers = st.floats(-8, 8, allow_subnormal=False).map(lambda x: round(x, 3))
law = settings(max_examples=40, deadline=None, derandomize=True)


def random_rows(seed):
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))


def three(seed):
    return [
        TaskPromptVector(random_rows(seed + i), Provenance("m"), {name: 1})
        for i, name in enumerate("abc")
    ]


def same(left, right):
    torch.testing.assert_close(left.delta, right.delta, rtol=1e-4, atol=1e-4)
    for task in left.coefficients.keys() | right.coefficients.keys():
        one, other = left.coefficients.get(task, 0), right.coefficients.get(task, 0)
        assert abs(one - other) < 1e-9


@pytest.mark.long
@law
@given(seeds, numbers, numbers)
def test_vectors_form_a_vector_space(seed, x, y):
    a, b, c = three(seed)
    same(a + b, b + a)
    same((a + b) + c, a + (b + c))
    same(x * (a + b), x * a + x * b)
    same((x + y) * a, x * a + y * a)
    same(x * (y * a), (x * y) * a)
    same(-(a - b), b - a)
    same(a + b - b, a)
    if x:
        same((x * a) / x, a)


@pytest.mark.long
@law
@given(seeds, numbers, numbers)
def test_applying_is_linear(seed, x, y):
    a, b, c = three(seed)
    origin = c.delta
    together = (x * a + y * b).apply(origin)
    one_by_one = (y * b).apply((x * a).apply(origin))
    torch.testing.assert_close(together.vectors, one_by_one.vectors, rtol=1e-4, atol=1e-4)


@law
@given(seeds)
def test_origin_plus_vector_is_the_prompt(seed):
    prompt = SoftPrompt(random_rows(seed), Provenance("m"), random_rows(seed + 1))
    again = TaskPromptVector.of(prompt).apply(prompt.origin)
    torch.testing.assert_close(again.vectors, prompt.vectors, rtol=0, atol=2e-6)


@pytest.mark.long
@law
@given(seeds, st.permutations([0, 1, 2]), st.tuples(numbers, numbers, numbers))
def test_merging_does_not_depend_on_the_order(seed, order, coefficients):
    parts = three(seed)
    for method in ("sum", "mean", "ties", "orthogonal", "select"):
        straight = merge(parts, coefficients, method=method)
        turned = merge([parts[i] for i in order], [coefficients[i] for i in order], method=method)
        same(straight, turned)


@law
@given(numbers, numbers, numbers)
def test_expressions_mean_what_python_means(x, y, z):
    text = f"{x}*a - ({y}*b - c*{z})/4 - -a"
    a, b, c = three(0)
    meant = x * a - (y * b - c * z) / 4 - -a
    found = parse_expression(text)
    assert list(found) == ["a", "b", "c"]
    same(merge([a, b, c], list(found.values())), meant)


@law
@given(st.text("ab12.+-*/() e", max_size=30))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(PromptPortError):
        found = parse_expression(text)
        assert found
        assert all(isinstance(value, float) for value in found.values())
