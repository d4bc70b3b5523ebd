"""The door of merging: checks, provenance, registry, concatenation."""

from __future__ import annotations

import pytest
import torch

from promptport.errors import MismatchError, PromptPortError, ShapeError, UnknownNameError
from promptport.merging import concatenate, find_merge, list_merges, merge, merge_method, registry
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.vector import TaskPromptVector


def vector(rows, task, backbone="m"):
    return TaskPromptVector(torch.tensor(rows), Provenance(backbone, task=task), {task: 1})


def test_the_record_says_what_was_done():
    parts = [vector([[1.0]], "a"), vector([[2.0]], "b")]
    found = merge(parts, [1, -0.5], method="ties", seed=4, options={"density": 1})
    step = found.provenance.history[-1]
    assert step["method"] == "ties.v1"
    assert step["source"] == "a - 0.5*b"
    assert step["options"] == {"density": 1, "scale": 1.0}
    assert step["seed"] == 4
    assert found.provenance.task == "a - 0.5*b"
    assert merge(parts, method="mean").label == "0.5*a + 0.5*b"


def test_vectors_of_combinations_are_merged_with_their_coefficients():
    a, b = vector([[1.0]], "a"), vector([[2.0]], "b")
    found = merge([a + b, a], [2, 3])
    assert found.delta.tolist() == [[9.0]]
    assert found.coefficients == {"a": 5, "b": 2}


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(MismatchError, match="expected m, got other"):
        merge([vector([[1.0]], "a"), vector([[1.0]], "b", "other")], method="ties")
    with pytest.raises(ShapeError, match="same number of virtual tokens"):
        merge([vector([[1.0]], "a"), vector([[1.0], [2.0]], "b")], method="select")
    with pytest.raises(PromptPortError, match="got 1 vectors, 2 coefficients"):
        merge([vector([[1.0]], "a")], [1, 2])
    with pytest.raises(PromptPortError, match="expected one vector or more"):
        merge([])
    with pytest.raises(PromptPortError, match="expected a finite number"):
        merge([vector([[1.0]], "a")], [float("nan")])


def test_names_and_options_are_checked():
    with pytest.raises(UnknownNameError, match="Did you mean 'ties'"):
        merge([vector([[1.0]], "a")], method="tie")
    with pytest.raises(UnknownNameError, match="option of ties.v1"):
        merge([vector([[1.0]], "a")], method="ties", options={"densities": 1})
    with pytest.raises(PromptPortError, match="option density of ties.v1"):
        merge([vector([[1.0]], "a")], method="ties", options={"density": "all"})


def test_the_registry(monkeypatch):
    names = [m.name for m in list_merges()]
    assert names == [
        f"{n}.v1" for n in ("dare", "mean", "orthogonal", "select", "sum", "ties", "weighted")
    ]
    assert all(m.paper and m.summary for m in list_merges())
    monkeypatch.setattr(registry.METHODS, "_methods", dict(registry.METHODS._methods))

    @merge_method("sum.v2", paper="none")
    def double(problem):
        """Twice."""
        return 2 * problem.terms.sum(0)

    assert find_merge("sum").name == "sum.v2"
    assert merge([vector([[1.0]], "a")]).delta.tolist() == [[2.0]]
    assert merge([vector([[1.0]], "a")], method="sum.v1").delta.tolist() == [[1.0]]
    for bad in ("sum", "Sum.v1"):
        with pytest.raises(PromptPortError, match="expected a name like ties.v1"):
            merge_method(bad, paper="none")
    with pytest.raises(PromptPortError, match=r"got sum\.v2, which is taken"):
        merge_method("sum.v2", paper="none")(double)


def prompt(rows, origin=None, **provenance):
    start = None if origin is None else torch.tensor(origin)
    return SoftPrompt(torch.tensor(rows), Provenance("m", **provenance), start)


def test_concatenation_puts_prompts_one_behind_the_other():
    found = concatenate(
        [
            prompt([[1.0, 2.0]], [[0.0, 1.0]], task="a", template="{soft} x"),
            prompt([[3.0, 4.0], [5.0, 6.0]], [[7.0, 7.0], [8.0, 8.0]], task="b"),
        ]
    )
    assert found.vectors.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert found.origin.tolist() == [[0.0, 1.0], [7.0, 7.0], [8.0, 8.0]]
    assert (found.provenance.task, found.provenance.template) == ("a + b", None)
    assert found.provenance.history[-1]["method"] == "concatenate.v1"
    assert found.mixture is None


def test_concatenation_keeps_words_that_all_have():
    words = Mixture(("x", "y"), torch.tensor([[0.25, 0.75]]))
    one = SoftPrompt(torch.ones(1, 2), Provenance("m"), mixture=words)
    both = concatenate([one, one])
    assert both.mixture.weights.tolist() == [[0.25, 0.75], [0.25, 0.75]]
    assert both.origin is None
    assert concatenate([one, prompt([[1.0, 1.0]])]).mixture is None
    assert concatenate([one]).provenance == one.provenance
    told = prompt([[1.0, 1.0]], origin=None).with_provenance(origin={"kind": "text", "text": "x"})
    assert concatenate([told]).provenance == told.provenance
    assert concatenate([told, told]).provenance.origin is None, "of each part, not of the whole"


def test_concatenation_refuses_what_does_not_belong_together():
    with pytest.raises(PromptPortError, match="expected one prompt or more"):
        concatenate([])
    with pytest.raises(ShapeError, match="expected virtual tokens 1 wide, got 2"):
        concatenate([prompt([[1.0]]), prompt([[1.0, 2.0]])])
    with pytest.raises(MismatchError, match="expected m, got other"):
        concatenate([prompt([[1.0]]), SoftPrompt(torch.ones(1, 1), Provenance("other"))])


def test_the_task_of_concatenated_prompts_is_written_like_that_of_a_sum():
    one, two = (SoftPrompt(torch.ones(1, 2), Provenance("m", task=task)) for task in "ab")
    assert concatenate([one, two]).provenance.task == "a + b"
    assert concatenate([one, one]).provenance.task == "a"
