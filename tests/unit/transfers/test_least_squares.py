"""The closed form: optimal, exact where it can be, the same in both precisions."""

from __future__ import annotations

import pytest
import torch

from promptport.errors import PromptPortError, ShapeError
from promptport.relative import encode_relative, matching, topk_mask, unit_rows
from promptport.transfers import TransferProblem, find_method
from promptport.transfers.methods import least_squares
from promptport.transfers.methods.least_squares import factor, operator


def problem_of(source, target, vectors, seed=0):
    return TransferProblem(
        vectors,
        source.rows(range(source.trained_rows)),
        target.rows(range(target.trained_rows)),
        source.statistics,
        target.statistics,
        torch.Generator().manual_seed(seed),
    )


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def solve(problem, **options):
    return find_method("least_squares.v1")(problem, options)


def errors(found, expected):
    """(n,) distance of directions."""
    found, expected = found.double(), expected.double()
    return (unit_rows(found, "found") - unit_rows(expected, "expected")).norm(dim=1)


@pytest.mark.parametrize("k", [24, 60, 900])
def test_to_itself_the_direction_comes_back(made_space, k):
    space = made_space("a", random(k, 24) + 0.4)
    vectors = random(5, 24, seed=1)
    assert errors(solve(problem_of(space, space, vectors)), vectors).max() < 1e-5


@pytest.mark.parametrize("factor_of_length", [0.01, 30.0])
def test_a_rotated_and_scaled_copy_rotates_the_prompt(made_space, factor_of_length):
    matrix, turn = random(200, 24) + 0.4, torch.linalg.qr(random(24, 24, seed=2)).Q
    source = made_space("a", matrix)
    target = made_space("b", factor_of_length * matrix @ turn)
    vectors = random(4, 24, seed=1)
    assert errors(solve(problem_of(source, target, vectors)), vectors @ turn).max() < 1e-5


def test_fewer_anchors_than_dimensions_still_describe_fully(made_space):
    source, target = made_space("a", random(10, 24)), made_space("b", random(10, 30, seed=5))
    problem = problem_of(source, target, random(3, 24, seed=1))
    found = solve(problem)
    torch.testing.assert_close(
        matching(problem.relative, problem.anchors_tgt, found), torch.ones(3), atol=1e-5, rtol=0
    )
    shortest = torch.linalg.pinv(unit_rows(problem.anchors_tgt.double(), "a"))
    expected = problem.relative.double() @ shortest.T
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, 1e-9])
def test_rank_deficient_anchors_give_the_shortest_best_solution(made_space, ridge):
    flat = random(300, 8) @ random(8, 20, seed=3)  # rank 8 of 20, up to rounding
    source, target = made_space("a", random(300, 24)), made_space("b", flat)
    problem = problem_of(source, target, random(3, 24, seed=1))
    shortest = torch.linalg.pinv(unit_rows(problem.anchors_tgt.double(), "a"), rtol=1e-5)
    relative = encode_relative(problem.vectors.double(), problem.anchors_src.double())
    found = solve(problem, ridge=ridge).double()
    torch.testing.assert_close(found, relative @ shortest.T, atol=1e-5, rtol=1e-4)


def test_no_perturbation_does_better(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(5, 24, seed=1))
    best = solve(problem).double()
    wanted, anchors = problem.relative.double(), problem.anchors_tgt.double()
    reached = matching(wanted, anchors, best)
    generator = torch.Generator().manual_seed(7)
    for size in (1e-4, 1e-3, 1e-2, 0.1, 1.0):
        for _ in range(40):
            step = torch.randn(best.shape, generator=generator, dtype=torch.float64)
            moved = best + size * best.norm(dim=1, keepdim=True) * step / best.shape[1] ** 0.5
            assert (matching(wanted, anchors, moved) <= reached + 1e-9).all()


def test_the_objective_is_that_of_the_projection(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(5, 24, seed=1))
    unit = unit_rows(problem.anchors_tgt.double(), "a")
    basis = torch.linalg.qr(unit).Q
    wanted = problem.relative.double()
    expected = (wanted @ basis).norm(dim=1) / wanted.norm(dim=1)
    found = matching(wanted, problem.anchors_tgt.double(), solve(problem).double())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert (expected < 0.999).all()  # otherwise this test would say nothing


def test_topk_solves_each_token_on_its_own_anchors(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(3, 24, seed=1))
    found = solve(problem, topk=50)
    mask = topk_mask(problem.relative, 50)
    for i in range(3):
        kept = mask[i]
        alone = TransferProblem(
            problem.vectors[i : i + 1],
            problem.anchors_src[kept],
            problem.anchors_tgt[kept],
            problem.stats_src,
            problem.stats_tgt,
            problem.generator,
        )
        torch.testing.assert_close(found[i : i + 1], solve(alone), atol=1e-5, rtol=1e-4)
    assert errors(found, solve(problem)).min() > 1e-3
    assert torch.equal(solve(problem, topk=600), solve(problem))
    assert errors(found, solve(problem, topk=50, absolute=True)).max() > 1e-3


def test_progress_counts_the_masked_tokens(alike_pair):
    seen = []
    source, target = alike_pair()
    problem = problem_of(source, target, random(3, 24, seed=1))
    solve(TransferProblem(**{**vars(problem), "progress": lambda *at: seen.append(at)}), topk=9)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_large_ridge_turns_towards_the_right_hand_side(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(3, 24, seed=1))
    right = problem.relative.double() @ unit_rows(problem.anchors_tgt.double(), "a")
    assert errors(solve(problem, ridge=1e8), right).max() < 1e-5
    reached = [
        matching(problem.relative, problem.anchors_tgt, solve(problem, ridge=ridge)).mean()
        for ridge in (0.0, 0.1, 10.0)
    ]
    assert reached[0] > reached[1] > reached[2]


def test_float32_factor_agrees_with_float64(monkeypatch, alike_pair):
    source, target = alike_pair(k=4000, widths=(40, 200), noise=0.05)
    problem = problem_of(source, target, random(5, 40, seed=1))
    exact = solve(problem)
    monkeypatch.setattr(least_squares, "EXACT_WORK", 0)
    assert errors(solve(problem), exact).max() < 1e-5
    anchors = problem.anchors_tgt
    assert factor(anchors).anchors.dtype == torch.float32
    assert factor(anchors.double()).anchors.dtype == torch.float64


def test_float32_gives_way_to_float64_where_it_cannot_hold(monkeypatch, made_space):
    # One direction 3,000 x weaker than the others: gone in a float32 Gram matrix.
    matrix = random(500, 12)
    matrix[:, 0] *= 3e-4
    source, target = made_space("a", random(500, 16, seed=4)), made_space("b", matrix)
    problem = problem_of(source, target, random(4, 16, seed=1))
    exact = solve(problem, ridge=0.0)
    monkeypatch.setattr(least_squares, "EXACT_WORK", 0)
    assert errors(solve(problem, ridge=0.0), exact).max() < 1e-5


def test_operator_is_the_whole_transfer(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(5, 24, seed=1))
    matrix = operator(problem.anchors_src, problem.anchors_tgt)
    assert matrix.shape == (16, 24)
    assert matrix.dtype == torch.float32
    torch.testing.assert_close(
        unit_rows(problem.vectors, "v") @ matrix.T, solve(problem), atol=1e-5, rtol=1e-4
    )


def test_wrong_values_are_refused(alike_pair):
    source, target = alike_pair()
    problem = problem_of(source, target, random(3, 24, seed=1))
    for ridge in (-1.0, float("nan")):
        with pytest.raises(PromptPortError, match="ridge: expected 0 or more"):
            solve(problem, ridge=ridge)
    with pytest.raises(ShapeError, match=r"anchors_tgt: expected \(600, d_t\).*got \(5, 16\)"):
        TransferProblem(**{**vars(problem), "anchors_tgt": torch.ones(5, 16)})
    with pytest.raises(ShapeError, match="vectors: expected .* as wide as the anchors"):
        TransferProblem(**{**vars(problem), "vectors": torch.ones(5, 16)})
