"""operator: least squares as a matrix, kept per pair."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.transfers import TransferProblem, find_method, transfer
from promptport.transfers.methods import operator as module


@pytest.fixture(autouse=True)
def empty_cache():
    module._cache.clear()


@pytest.fixture
def problem(alike_pair):
    source, target = alike_pair(k=300)
    vectors = torch.randn(7, 24, generator=torch.Generator().manual_seed(1)) * 5
    rows = source.rows(range(300)), target.rows(range(300))
    return TransferProblem(
        vectors, *rows, source.statistics, target.statistics, torch.Generator(), pair=("a", "b")
    )


@pytest.mark.parametrize("ridge", [1e-9, 0.3])
def test_equals_least_squares(problem, ridge):
    expected = find_method("least_squares")(problem, {"ridge": ridge})
    found = find_method("operator")(problem, {"ridge": ridge})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_matrix_is_made_once_per_pair_and_ridge(problem, monkeypatch):
    made = []
    original = module.operator
    monkeypatch.setattr(
        module, "operator", lambda *a, **o: made.append(o["ridge"]) or original(*a, **o)
    )
    method = find_method("operator")
    first = method(problem)
    assert torch.equal(method(problem), first)
    method(problem, {"ridge": 0.1})
    method(replace(problem, pair=None))
    method(replace(problem, pair=None))
    assert made == [1e-9, 0.1, 1e-9, 1e-9]
    for i in range(9):
        method(replace(problem, pair=(str(i),)))
    assert len(module._cache) == 4


def test_through_transfer(alike_pair):
    source, target = alike_pair()
    provenance = Provenance(source.backbone, fingerprint=source.fingerprint)
    prompt = SoftPrompt(torch.randn(3, 24), provenance)
    one, two = (transfer(prompt, source, target, method=m) for m in ("operator", "least_squares"))
    assert cosine_similarity(one.prompt.vectors, two.prompt.vectors, dim=1).min() > 1 - 1e-6
    assert one.report.roundtrip == pytest.approx(two.report.roundtrip, abs=1e-5)
    # One matrix for the way there, another for the way back.
    assert len(module._cache) == 2
