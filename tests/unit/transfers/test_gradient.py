"""Paper A's search: to the letter, reproducible, never better than the closed form."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_embedding_loss

from promptport.errors import PromptPortError
from promptport.relative import matching, topk_mask
from promptport.transfers import TransferProblem, find_method


@pytest.fixture
def small(alike_pair):
    """Factory: a problem with k = 200, d 24 -> 16; every call with its own generator."""

    def make(seed=0, progress=None, n=3, width=16):
        source, target = alike_pair(k=200, widths=(24, width))
        vectors = torch.randn(n, 24, generator=torch.Generator().manual_seed(1))
        return TransferProblem(
            vectors,
            source.rows(range(200)),
            target.rows(range(200)),
            source.statistics,
            target.statistics,
            torch.Generator().manual_seed(seed),
            progress=progress,
        )

    return make


def search(problem, **options):
    return find_method("gradient.v1")(problem, options)


def objective(problem, vectors):
    return float(1 - matching(problem.relative, problem.anchors_tgt, vectors).mean())


@pytest.mark.long
def test_reaches_the_closed_form_and_not_more(small):
    problem = small()
    best = objective(problem, find_method("least_squares")(problem))
    found = objective(problem, search(problem, steps=600, learning_rate=2e-2))
    assert best - 1e-6 <= found < best + 1e-3
    assert best > 1e-3


def test_the_candidate_has_the_target_statistics(small):
    found = search(small(), steps=5)
    stats = small().stats_tgt
    assert float(found.mean()) == pytest.approx(stats.mean, abs=1e-6)
    assert float(found.std(correction=0)) == pytest.approx(stats.std, rel=1e-5)


def released_code(problem, steps, rate, mask=None):
    """The loop as papers.md tells it, with torch's own cosine loss; all candidates and losses."""
    start = torch.empty(len(problem.vectors), problem.anchors_tgt.shape[1])
    torch.nn.init.xavier_normal_(start, generator=problem.generator)
    start.requires_grad_()
    adam = torch.optim.Adam([start], lr=rate)
    kept = torch.ones_like(problem.relative) if mask is None else mask.float()
    candidates, losses = [], []
    for _ in range(steps + 1):
        standard = (start - start.mean()) / start.std(correction=0)
        candidate = standard * problem.stats_tgt.std + problem.stats_tgt.mean
        found = torch.cosine_similarity(candidate[:, None], problem.anchors_tgt[None], dim=2)
        loss = cosine_embedding_loss(problem.relative * kept, found * kept, torch.ones(1))
        candidates.append(candidate.detach())
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    return candidates, losses


@pytest.mark.parametrize("topk", [None, 40])
def test_same_path_as_the_released_code(small, topk):
    mask = topk_mask(small().relative, topk)
    candidates, losses = released_code(small(), 30, 5e-3, mask)
    expected = candidates[losses.index(min(losses))]
    torch.testing.assert_close(search(small(), steps=30, topk=topk), expected, atol=1e-5, rtol=1e-4)


def test_the_best_candidate_seen_is_returned_not_the_last(small):
    narrow = {"n": 1, "width": 3}  # few dimensions and a large step: Adam runs past the optimum
    _, losses = released_code(small(**narrow), 8, 1.0)
    assert min(losses) < losses[-1] - 1e-3
    found = search(small(**narrow), steps=8, learning_rate=1.0)
    assert objective(small(**narrow), found) == pytest.approx(min(losses), abs=1e-5)


def test_seeds(small):
    assert torch.equal(search(small(3), steps=4), search(small(3), steps=4))
    assert not torch.allclose(search(small(3), steps=4), search(small(4), steps=4))


def test_arguments_stay_as_they_were(small):
    problem = small()
    before = [t.clone() for t in (problem.vectors, problem.anchors_src, problem.anchors_tgt)]
    found = search(problem, steps=3)
    after = (problem.vectors, problem.anchors_src, problem.anchors_tgt)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not found.requires_grad


def test_progress(small):
    seen = []
    search(small(progress=lambda *at: seen.append(at)), steps=3)
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("options", [{"steps": 0}, {"learning_rate": 0.0}])
def test_wrong_values_are_refused(small, options):
    with pytest.raises(
        PromptPortError, match="gradient: expected steps >= 1 and learning_rate > 0"
    ):
        search(small(), **options)
