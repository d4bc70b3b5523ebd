"""Task prompt vectors on another backbone: the operator on a difference is the difference."""

from __future__ import annotations

import pytest
import torch

from promptport.analysis import compare
from promptport.errors import MismatchError
from promptport.mixture import Mixture
from promptport.parameters.mixtures import mixture_words, starting_logits, starting_mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.transfers import transfer
from promptport.transfers.methods.least_squares import operator
from promptport.transfers.vectors import transfer_vector, transfer_word_vector
from promptport.vector import TaskPromptVector


def made(space, seed=0, n=4):
    generator = torch.Generator().manual_seed(seed)
    origin, tuned = (torch.randn(n, space.width, generator=generator) for _ in range(2))
    provenance = Provenance(space.backbone, space.kind, fingerprint=space.fingerprint, task="a")
    return SoftPrompt(tuned, provenance, origin)


@pytest.mark.parametrize("options", [{}, {"ridge": 0.1}, {"centre": True}])
def test_moving_the_vector_is_moving_both_ends(alike_pair, options) -> None:
    source, target = alike_pair()
    prompt = made(source)
    ends = [
        transfer(
            SoftPrompt(rows, prompt.provenance),
            source,
            target,
            method="linear_map",
            magnitude="keep",
            options=options,
        ).prompt.vectors
        for rows in (prompt.vectors, prompt.origin)
    ]
    moved = transfer_vector(TaskPromptVector.of(prompt), source, target, options=options)
    assert (moved.delta - (ends[0] - ends[1])).abs().max() < 1e-5
    start = torch.randn(4, target.width)
    assert torch.equal(moved.apply(start).vectors, start + moved.delta)


@pytest.mark.parametrize("method", ["least_squares", "operator"])
def test_the_operator_of_a_pair_moves_the_vector(alike_pair, method) -> None:
    source, target = alike_pair()
    vector = TaskPromptVector.of(made(source))
    words = sorted(set(source.words) & set(target.words))
    rows = [space.rows([space.words[word] for word in words]) for space in (source, target)]
    matrix = operator(*rows)
    ratio = target.statistics.mean_norm / source.statistics.mean_norm
    moved = transfer_vector(vector, source, target, method=method)
    wanted = vector.delta @ matrix.T * ratio
    assert (moved.delta - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_it_is_linear_and_keeps_coefficients(alike_pair) -> None:
    source, target = alike_pair()
    a, b = (TaskPromptVector.of(made(source, seed)) for seed in (1, 2))
    for method in ("linear_map", "least_squares"):
        both = transfer_vector(a - 2 * b, source, target, method=method)
        apart = [transfer_vector(v, source, target, method=method).delta for v in (a, b)]
        torch.testing.assert_close(both.delta, apart[0] - 2 * apart[1], rtol=1e-3, atol=1e-4)
    assert both.coefficients == (a - 2 * b).coefficients
    assert both.provenance.fingerprint == target.fingerprint
    nothing = transfer_vector(a * 0.0, source, target, method="least_squares")
    assert not nothing.delta.any()


def test_the_origin_stays_on_the_source(alike_pair) -> None:
    source, target = alike_pair()
    origin = {"kind": "vocabulary", "seed": 0}
    vector = TaskPromptVector.of(made(source).with_provenance(origin=origin))
    moved = transfer_vector(vector, source, target)
    assert moved.provenance.origin is None
    assert moved.provenance.history[-1]["origin"] == origin
    native = TaskPromptVector.of(made(target, 3).with_provenance(origin=origin))
    assert compare({"moved": moved, "native": native}).groups() == {}


def test_words_with_signs(alike_pair) -> None:
    source, target = alike_pair()
    words = mixture_words(source)
    start = Mixture(words, starting_logits(len(words), 3, 5).softmax(1))
    end = Mixture(words, (3 * starting_logits(len(words), 3, 6)).softmax(1))
    provenance = Provenance(
        source.backbone,
        source.kind,
        fingerprint=source.fingerprint,
        origin={"kind": "mixture", "seed": 5},
    )
    prompt = SoftPrompt(end.vectors(source), provenance, start.vectors(source), end)
    torch.testing.assert_close(starting_mixture(prompt, source).weights, start.weights)
    moved = transfer_word_vector(prompt, start, target)
    assert moved.provenance.origin is None
    assert moved.provenance.history[-1]["origin"] == provenance.origin
    ends = [
        transfer(SoftPrompt(m.vectors(source), provenance, mixture=m), source, target).prompt
        for m in (end, start)
    ]
    assert (moved.delta - (ends[0].vectors - ends[1].vectors)).abs().max() < 1e-5


def test_bad_input(alike_pair) -> None:
    source, target = alike_pair()
    vector = TaskPromptVector.of(made(source))
    with pytest.raises(MismatchError, match="a linear method"):
        transfer_vector(vector, source, target, method="procrustes")
    with pytest.raises(MismatchError, match="a linear method"):
        transfer_vector(vector, source, target, method="least_squares", options={"topk": 8})
    with pytest.raises(MismatchError, match="task prompt vector: expected virtual tokens 16 wide"):
        transfer_vector(vector, target, source)
    with pytest.raises(MismatchError, match="a mixture prompt"):
        transfer_word_vector(made(source), Mixture(("a",), torch.ones(4, 1)), target)
    with pytest.raises(MismatchError, match="none that its record makes again"):
        starting_mixture(made(source), source)
