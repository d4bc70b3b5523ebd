"""Task prompt vectors: numbers by hand, coefficients, origins, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from promptport.errors import MismatchError, PromptPortError, ShapeError
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.vector import TaskPromptVector, unique_labels

HERE = Provenance("model", "masked", fingerprint="f" * 64, template="{soft} {text} {answer}")


def vector(rows, task="sst2", provenance=HERE):
    return TaskPromptVector(torch.tensor(rows), provenance, {task: 1})


def prompt(rows, origin=None, task=None, provenance=HERE, **changes):
    start = None if origin is None else torch.tensor(origin)
    made = SoftPrompt(torch.tensor(rows), provenance, start)
    return made.with_provenance(task=task, **changes)


def test_the_vector_of_a_prompt_is_what_tuning_added():
    tuned = prompt([[3.0, 1.0]], [[1.0, 4.0]], "sst2", template="{soft} {text}")
    found = TaskPromptVector.of(tuned, "another name")
    assert found.delta.tolist() == [[2.0, -3.0]]
    assert found.coefficients == {"sst2": 1}
    assert (found.length, found.width, found.label) == (1, 2, "sst2")
    assert found.provenance == tuned.provenance
    nameless = prompt([[3.0]], [[1.0]])
    assert TaskPromptVector.of(nameless).label == "prompt"
    assert TaskPromptVector.of(nameless, "mine").coefficients == {"mine": 1}


def test_the_coefficients_of_the_issue():
    sst2, mnli = vector([[2.0, 4.0]]), vector([[10.0, 0.0]], "mnli")
    toxicity = vector([[1.0, 1.0]], "toxicity")
    found = sst2 + 0.5 * mnli - toxicity
    assert found.delta.tolist() == [[6.0, 3.0]]
    assert found.coefficients == {"sst2": 1, "mnli": 0.5, "toxicity": -1}
    assert found.label == found.provenance.task == "sst2 + 0.5*mnli - toxicity"
    assert sst2.coefficients == {"sst2": 1}, "the parts stay as they are"


@pytest.mark.parametrize(
    ("make", "rows", "coefficients", "label"),
    [
        (lambda a, b: -a, [[-2.0, -4.0]], {"a": -1}, "-a"),
        (lambda a, b: a / 4, [[0.5, 1.0]], {"a": 0.25}, "0.25*a"),
        (lambda a, b: 2 * (a - b) + b, [[3.0, 0.0]], {"a": 2, "b": -1}, "2*a - b"),
        (lambda a, b: -2 * a + b, [[-3.0, 0.0]], {"a": -2, "b": 1}, "-2*a + b"),
        (lambda a, b: a + b - a, [[1.0, 8.0]], {"a": 0, "b": 1}, "b"),
        (lambda a, b: a - a, [[0.0, 0.0]], {"a": 0}, "0"),
    ],
)
def test_arithmetic(make, rows, coefficients, label):
    found = make(vector([[2.0, 4.0]], "a"), vector([[1.0, 8.0]], "b"))
    assert found.delta.tolist() == rows
    assert found.coefficients == coefficients
    assert found.label == label


def test_different_vectors_of_one_task_are_counted_apart():
    one, other = vector([[2.0, 4.0]], "a"), vector([[1.0, 8.0]], "a")
    difference = one - other
    assert list(difference.coefficients.values()) == [1, -1]
    assert all(name.startswith("a#") and len(name) == 10 for name in difference.coefficients)
    assert difference.label == difference.provenance.task != "0"
    assert set((other + one).coefficients) == set(difference.coefficients), "in any order"
    assert (difference + other).label == next(iter(difference.coefficients))
    assert (one + other - other - one).label == "0"
    again = TaskPromptVector(one.delta, HERE, {"a": 1})
    assert (one - again).coefficients == {"a": 0}
    third = vector([[0.0, 1.0]], "a")
    left, right = (one + other) + third, one + (other + third)
    assert left.coefficients == right.coefficients
    assert len(left.coefficients) == 3


def test_the_mean_of_vectors_of_one_task_answers_this_task():
    one, other = vector([[2.0, 4.0]], "a"), vector([[1.0, 8.0]], "a")
    mean = (one + other) / 2
    assert (mean.task, mean.provenance.task) == ("a", "a")
    assert mean.apply(torch.zeros(1, 2)).provenance.task == "a"
    assert (0.5 * one).task == "a"
    for found in (one - other, -one, one + vector([[1.0, 1.0]], "b"), one - one):
        assert found.task == found.label


def test_names_of_the_user_tell_vectors_of_one_task_apart():
    one, other, third = vector([[2.0]], "a"), vector([[1.0]], "a"), vector([[5.0]], "b")
    found = unique_labels({"x": one, "y": other, "z": third})
    assert [list(v.coefficients) for v in found] == [["x"], ["y"], ["b"]]
    assert (found[0] - found[1]).label == "x - y"
    assert (found[0] + found[1]).task == "a"
    same = unique_labels({"x": one, "copy": one})
    assert (same[0] - same[1]).label == "0"


def test_other_values_under_the_same_coefficients_are_another_vector():
    one, other = vector([[2.0]], "a"), vector([[1.0]], "b")
    made = (one + other).with_values(torch.tensor([[9.0]]))
    assert (made.coefficients, made.label) == ({"a": 1, "b": 1}, "a + b")
    left = made - one - other
    assert left.delta.tolist() == [[6.0]]
    assert sorted(left.coefficients.values()) == [-1, -1, 1, 1]


def test_a_combination_keeps_what_its_parts_share():
    left = Provenance("m", "masked", "r1", None, "{soft} a", "x", {"seed": 1}, {"steps": 2})
    right = Provenance("m", None, None, "f", "{soft} b", "y", {"seed": 1}, None, ({"step": "t"},))
    found = (vector([[1.0]], "x", left) + vector([[1.0]], "y", right)).provenance
    templates = {"x": "{soft} a", "y": "{soft} b"}
    assert found == Provenance(
        *("m", "masked", "r1", "f", None, "x + y", {"seed": 1}, None, ({"step": "t"},)),
        templates=templates,
    )
    assert list(found.templates) == ["x", "y"]


def test_a_vector_on_its_own_origin_is_the_prompt():
    tuned = prompt(torch.randn(4, 6).tolist(), torch.randn(4, 6).tolist(), "sst2")
    again = TaskPromptVector.of(tuned).apply(tuned.origin, {"kind": "normal", "seed": 2})
    torch.testing.assert_close(again.vectors, tuned.vectors, rtol=0, atol=1e-6)
    assert torch.equal(again.origin, tuned.origin)
    assert again.provenance.origin == {"kind": "normal", "seed": 2}
    assert again.provenance.task == "sst2"


def test_a_vector_on_another_origin():
    added = 0.5 * TaskPromptVector.of(
        prompt([[5.0, 1.0]], [[1.0, 1.0]], "sst2", tuning={"steps": 9})
    )
    start = prompt([[10.0, 20.0]], task="mnli")
    found = added.apply(start)
    assert found.vectors.tolist() == [[12.0, 20.0]]
    assert found.origin.tolist() == [[10.0, 20.0]]
    assert found.provenance.origin == {"kind": "prompt", "task": "mnli", "tuned_from": None}
    assert found.provenance.tuning is None, "its scores are not those of the tuned prompt"
    step = found.provenance.history[-1]
    assert (step["source"], step["coefficients"]) == ("0.5*sst2", {"sst2": 0.5})
    assert step["tuning"] == {"steps": 9}
    bare = added.apply(torch.zeros(1, 2))
    assert bare.vectors.tolist() == [[2.0, 0.0]]
    assert bare.provenance.origin is None


def test_a_prompt_without_origin_is_refused():
    with pytest.raises(
        MismatchError, match=r"^prompt of sst2: expected an origin.*promptport vector make --origin"
    ):
        TaskPromptVector.of(prompt([[1.0]], task="sst2"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Provenance("model", fingerprint="e" * 64),
            r"matrix ffffffffffff of model, got eeeeeeeeeeee \(model\)",
        ),
        (Provenance("other"), r"expected model, got other\. Task prompt vectors do not mix"),
    ],
)
def test_other_backbones_are_refused(other, message):
    with pytest.raises(MismatchError, match=message):
        vector([[1.0]]) + vector([[1.0]], provenance=other)
    with pytest.raises(MismatchError, match=message):
        vector([[1.0]]).apply(prompt([[1.0]], provenance=other))


def test_the_same_matrix_under_another_name_is_the_same_backbone():
    moved = Provenance("./copy", "masked", fingerprint="f" * 64)
    assert (vector([[1.0]]) + vector([[2.0]], provenance=moved)).delta.tolist() == [[3.0]]
    old, new = Provenance("m", revision="v1"), Provenance("m", revision="v2")
    with pytest.raises(MismatchError, match=r"expected m \(revision v1\), got m \(revision v2\)"):
        vector([[1.0]], provenance=old) + vector([[1.0]], provenance=new)


def test_other_lengths_are_refused():
    with pytest.raises(
        ShapeError, match=r"expected \(virtual tokens, width\) \(1, 2\), got \(2, 2\).*--length"
    ):
        vector([[1.0, 2.0]]) + vector([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(ShapeError, match=r"^origin: expected .*\(1, 2\), got \(1, 3\)"):
        vector([[1.0, 2.0]]).apply(torch.zeros(1, 3))


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(0, 2), torch.ones(1, 2).long()])
def test_odd_tensors_are_refused(bad):
    with pytest.raises(ShapeError, match="expected a finite floating-point tensor"):
        TaskPromptVector(bad, HERE)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ShapeError, match="not finite"):
        vector([[float("nan")]])
    with pytest.raises(ShapeError, match="smaller coefficients"):
        1e300 * vector([[1.0]])
    for make in (lambda v: v / 0, lambda v: v * float("inf"), lambda v: float("nan") * v):
        with pytest.raises(PromptPortError, match="expected a finite number, not 0 as a divisor"):
            make(vector([[1.0]]))


def test_only_vectors_are_added_and_only_numbers_multiply():
    for make in (
        lambda v: v + 1,
        lambda v: v - torch.ones(1, 1),
        lambda v: v * v,
        lambda v: v / "2",
    ):
        with pytest.raises(TypeError):
            make(vector([[1.0]]))


def test_sums_and_numbers_of_other_libraries():
    one, other = vector([[2.0, 4.0]], "a"), vector([[1.0, 8.0]], "b")
    assert sum([one, other]) == one + other
    half = one * 0.5
    for number in (torch.tensor(0.5), np.float32(0.5), np.float64(0.5)):
        assert one * number == number * one == one / (1 / number) == half
    assert (one * np.int64(2)).coefficients == {"a": 2}
    with pytest.raises(TypeError):
        one * torch.tensor([0.5])
    with pytest.raises(TypeError):
        1 + one
    assert str((one * -0.0).coefficients["a"]) == "0.0"


def test_equal_means_the_same_values_and_record():
    one = vector([[2.0, 0.0]], "a")
    assert one == vector([[2.0, 0.0]], "a")
    assert one != vector([[2.0, 1.0]], "a")
    assert one != vector([[2.0, 0.0]], "b")
    assert one != "a"
    assert len({one, vector([[2.0, 0.0]], "a"), vector([[2.0, 1.0]], "a")}) == 2
    tuned = prompt([[3.0, 1.0]], [[1.0, 4.0]], "a")
    assert tuned == prompt([[3.0, 1.0]], [[1.0, 4.0]], "a")
    others = [
        prompt([[3.0, 1.0]], task="a"),
        prompt([[3.0, 1.0]], [[1.0, 5.0]], "a"),
        prompt([[3.0, 1.5]], [[1.0, 4.0]], "a"),
        prompt([[3.0, 1.0]], [[1.0, 4.0]], "b"),
        *(
            replace(tuned, mixture=Mixture(("x", "y"), torch.tensor([[w, 1 - w]])))
            for w in (0.25, 0.5)
        ),
    ]
    assert tuned not in others
    assert len({tuned, *others}) == 7


def test_values_do_not_change_with_what_they_were_made_of():
    rows, counted = torch.ones(1, 2), {"a": 1.0}
    found = TaskPromptVector(rows, HERE, counted)
    rows.zero_()
    counted["a"] = 5
    assert found.delta.tolist() == [[1.0, 1.0]]
    assert found.coefficients == {"a": 1}
