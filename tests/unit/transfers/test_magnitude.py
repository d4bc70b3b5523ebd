"""Length rules scale and never turn."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from promptport.errors import UnknownNameError
from promptport.transfers import MAGNITUDES, TransferProblem, find_magnitude


@pytest.fixture
def problem(alike_pair):
    source, target = alike_pair(k=100)
    vectors = torch.randn(4, 24, generator=torch.Generator().manual_seed(1))
    vectors = vectors * torch.tensor([[0.1], [1.0], [5.0], [100.0]])
    return TransferProblem(
        vectors,
        source.rows(range(100)),
        target.rows(range(100)),
        source.statistics,
        target.statistics,
        torch.Generator(),
    )


@pytest.fixture
def found():
    return torch.randn(4, 16, generator=torch.Generator().manual_seed(2)) + 0.3


@pytest.mark.parametrize("rule", sorted(set(MAGNITUDES) - {"dimension"}))
def test_directions_stay(problem, found, rule):
    before = found.clone()
    scaled = find_magnitude(rule)(found, problem)
    torch.testing.assert_close(cosine_similarity(scaled, found), torch.ones(4))
    assert torch.equal(found, before)


def test_token_keeps_relative_lengths(problem, found):
    scaled = find_magnitude("token")(found, problem)
    before = problem.vectors.norm(dim=1) / problem.stats_src.mean_norm
    torch.testing.assert_close(scaled.norm(dim=1) / problem.stats_tgt.mean_norm, before)


def test_paper_scales_all_tokens_alike_to_the_target_deviation(problem, found):
    scaled = find_magnitude("paper")(found, problem)
    assert float(scaled.std(correction=0)) == pytest.approx(problem.stats_tgt.std, rel=1e-5)
    ratios = scaled.norm(dim=1) / found.norm(dim=1)
    torch.testing.assert_close(ratios, ratios[:1].expand(4))


@pytest.mark.parametrize("rule", sorted(MAGNITUDES))
def test_nothing_found_stays_finite(problem, rule):
    assert torch.equal(find_magnitude(rule)(torch.zeros(4, 16), problem), torch.zeros(4, 16))


def test_unknown_rule():
    with pytest.raises(UnknownNameError, match="magnitude rule: .*Did you mean 'token'"):
        find_magnitude("tokens")


def test_dimension_shrinks_what_words_hardly_vary_in(problem, found):
    scaled = find_magnitude("dimension")(found, problem)
    by_token = find_magnitude("token")(found, problem)
    torch.testing.assert_close(scaled.norm(dim=1), by_token.norm(dim=1))
    ratio = scaled / found
    spread = problem.stats_tgt.dimension_std
    expected = spread / spread[0]
    torch.testing.assert_close(ratio / ratio[:, :1], expected.expand(4, -1), rtol=1e-4, atol=1e-5)
