"""Every merge method against numbers computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from promptport.errors import MismatchError, PromptPortError
from promptport.merging import merge
from promptport.provenance import Provenance
from promptport.vector import TaskPromptVector

A = [[1.0, 2.0], [3.0, 4.0]]
B = [[10.0, 0.0], [0.0, -10.0]]


def vectors(*rows):
    return [
        TaskPromptVector(torch.tensor(r), Provenance("m"), {name: 1})
        for name, r in zip("abc", rows, strict=False)
    ]


def merged(rows, coefficients=None, **options):
    return merge(vectors(*rows), coefficients, **options)


def close(found, rows):
    torch.testing.assert_close(found.delta, torch.tensor(rows))


def test_sum():
    found = merged([A, B], [1, 0.5])
    close(found, [[6.0, 2.0], [3.0, -1.0]])
    assert found.coefficients == {"a": 1, "b": 0.5}
    close(merged([A, B], [1, -1]), [[-9.0, 2.0], [3.0, 14.0]])


def test_mean():
    found = merged([A, B], [1, 0.5], method="mean")
    close(found, [[3.0, 1.0], [1.5, -0.5]])
    assert found.coefficients == {"a": 0.5, "b": 0.25}


def test_weighted():
    found = merged([A, B], [3, -1], method="weighted")
    close(found, [[-1.75, 1.5], [2.25, 5.5]])
    assert found.coefficients == {"a": 0.75, "b": -0.25}
    with pytest.raises(PromptPortError, match="expected a coefficient other than 0"):
        merged([A, B], [0, 0], method="weighted")


FIRST, SECOND, THIRD = [[4.0, 1.0, -3.0, 0.5]], [[-1.0, 2.0, -5.0, 0.1]], [[2.0, -6.0, 1.0, 3.0]]


def test_ties_trims_elects_and_averages():
    # Half of each: 4 . -3 . / . 2 -5 . / . -6 . 3, so the signs are + - - +.
    rows = [FIRST, SECOND, THIRD]
    found = merged(rows, method="ties", options={"density": 0.5})
    close(found, [[4.0, -6.0, -4.0, 3.0]])
    assert found.coefficients == {"a": 1, "b": 1, "c": 1}
    close(
        merged(rows, method="ties", options={"density": 0.5, "scale": 0.5}),
        [[2.0, -3.0, -2.0, 1.5]],
    )
    # The third times -2 is . 12 . -6: the signs are + + - -.
    close(
        merged(rows, [1, 1, -2], method="ties", options={"density": 0.5}),
        [[4.0, 7.0, -4.0, -6.0]],
    )


def test_ties_of_a_draw_is_zero_and_keeps_at_least_one_entry():
    close(merged([[[1.0]], [[-1.0]]], method="ties", options={"density": 1}), [[0.0]])
    close(merged([FIRST], method="ties", options={"density": 0.01}), [[4.0, 0.0, 0.0, 0.0]])
    for density in (0, 1.5):
        with pytest.raises(PromptPortError, match=r"expected a share in \(0, 1\]"):
            merged([FIRST], method="ties", options={"density": density})


def test_dare_keeps_entries_rescaled_or_drops_them():
    found = merged([A, B], [1, 0.5], method="dare", seed=3, options={"drop": 0.75})
    kept = torch.rand(2, 2, 2, generator=torch.Generator().manual_seed(3)) >= 0.75
    terms = torch.tensor([A, [[5.0, 0.0], [0.0, -5.0]]])
    torch.testing.assert_close(found.delta, 4 * (terms * kept).sum(0))
    again = merged([A, B], [1, 0.5], method="dare", seed=3, options={"drop": 0.75})
    assert torch.equal(found.delta, again.delta)


@pytest.mark.slow
def test_dare_is_the_sum_on_average():
    close(merged([A, B], method="dare", options={"drop": 0}), [[11.0, 2.0], [3.0, -6.0]])
    runs = torch.stack([merged([A, B], method="dare", seed=i).delta for i in range(2000)])
    torch.testing.assert_close(
        runs.mean(0), torch.tensor([[11.0, 2.0], [3.0, -6.0]]), rtol=0.1, atol=0.1
    )
    with pytest.raises(PromptPortError, match=r"expected a probability in \[0, 1\)"):
        merged([A], method="dare", options={"drop": 1.0})


def test_orthogonal_turns_both_vectors_away_from_each_other_alike():
    # 60 degrees apart: each turns by 15; lengths 2 and 3 stay.
    def at(degrees, length):
        angle = math.radians(degrees)
        return [length * math.cos(angle), length * math.sin(angle)]

    rows = [[at(0, 2)], [at(60, 3)]]
    one, other = at(-15, 2), at(75, 3)
    close(merged(rows, method="orthogonal"), [[one[0] + other[0], one[1] + other[1]]])
    close(
        merged(rows, [1, -0.5], method="orthogonal"),
        [[one[0] - other[0] / 2, one[1] - other[1] / 2]],
    )
    close(merged(rows[::-1], method="orthogonal"), [[one[0] + other[0], one[1] + other[1]]])


def test_orthogonal_leaves_vectors_at_right_angles_and_zeros_alone():
    close(merged([[[2.0, 0.0]], [[0.0, 5.0]]], method="orthogonal"), [[2.0, 5.0]])
    close(merged([[[2.0, 0.0]], [[0.0, 0.0]]], method="orthogonal"), [[2.0, 0.0]])
    close(merged([[[0.0, 0.0]]], method="orthogonal"), [[0.0, 0.0]])


@pytest.mark.parametrize(
    "rows", [[[[1.0, 2.0]], [[-2.0, -4.0]]], [[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 1.0]]]]
)
def test_orthogonal_refuses_dependent_vectors(rows):
    with pytest.raises(MismatchError, match="expected independent vectors.*use the method sum"):
        merged(rows, method="orthogonal")


def test_select_takes_each_token_from_the_task_that_moved_it_most():
    close(merged([A, B], method="select"), [[10.0, 0.0], [0.0, -10.0]])
    close(merged([A, B], [1, 0.25], method="select"), [[2.5, 0.0], [3.0, 4.0]])
    close(merged([[[3.0, 4.0]], [[5.0, 0.0]]], method="select"), [[3.0, 4.0]])


@pytest.mark.parametrize(
    "method", ["sum", "mean", "weighted", "ties", "dare", "orthogonal", "select"]
)
def test_one_vector_stays_as_it_is(method):
    options = {"ties": {"density": 1.0}, "dare": {"drop": 0.0}}.get(method)
    close(merged([A], method=method, options=options), A)
