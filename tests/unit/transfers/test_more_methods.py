"""The other methods: exact where they can be, plain baselines, one clear line otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from promptport.errors import AnchorError, MismatchError, PromptPortError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.relative import unit_rows
from promptport.transfers import TransferProblem, find_method, list_methods, transfer

NEW = (
    "copy.v1",
    "discretize.v1",
    "linear_map.v1",
    "omp.v1",
    "procrustes.v1",
    "projector.v1",
    "random.v1",
    "weighted_sum.v1",
)
K, D = 300, 24


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def turn(inner=D, outer=D):
    """(inner, outer) with orthonormal rows or columns, whichever are fewer."""
    square = torch.linalg.qr(random(max(inner, outer), max(inner, outer), seed=2).double()).Q
    return square[:inner, :outer].float()


@pytest.fixture
def problem_of(made_space):
    """Factory: two anchor matrices of the same words, and a prompt."""

    def make(source, target, vectors, seed=0):
        return TransferProblem(
            vectors,
            source,
            target,
            made_space("a", source).statistics,
            made_space("b", target).statistics,
            torch.Generator().manual_seed(seed),
        )

    return make


@pytest.fixture
def turned(problem_of):
    """Factory: the target is the source times an orthogonal matrix, and 3 x as long."""

    def make(outer=D, k=K, n=4, seed=0):
        source = random(k, D) + 0.4
        return problem_of(source, 3 * source @ turn(outer=outer), random(n, D, seed=1), seed)

    return make


@pytest.fixture
def unlike(problem_of):
    """Factory: two spaces that have nothing in common, of widths 24 and 16."""
    return lambda seed=0: problem_of(
        random(K, D), random(K, 16, seed=5), random(3, D, seed=1), seed
    )


def run(name, problem, **options):
    return find_method(name)(problem, options)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected.float(), atol=tolerance, rtol=tolerance)


def test_all_are_registered_with_paper_and_summary():
    methods = {m.name: m for m in list_methods()}
    assert set(NEW) <= methods.keys()
    assert all(methods[name].paper and methods[name].summary for name in NEW)


EXACT = (
    ("linear_map", {}),
    ("linear_map", {"centre": True}),
    ("procrustes", {}),
    ("procrustes", {"centre": True}),
    ("omp", {}),
)


@pytest.mark.parametrize("outer", [D, 40])
@pytest.mark.parametrize(("name", "options"), EXACT)
def test_a_turned_and_scaled_space_gives_the_exact_image(turned, name, options, outer):
    problem = turned(outer)
    close(run(name, problem, **options), 3 * problem.vectors @ turn(outer=outer))


def test_least_squares_gives_its_direction(turned):
    problem = turned()
    found, expected = run("least_squares", problem), problem.vectors @ turn()
    close(unit_rows(found, "found"), unit_rows(expected, "expected"))


@pytest.mark.parametrize("name", ["linear_map", "procrustes"])
def test_centring_follows_a_shift(problem_of, name):
    source = random(K, D) + 0.4
    shift, vectors = random(1, D, seed=8), random(4, D, seed=1)
    problem = problem_of(source, source @ turn() + shift, vectors)
    close(run(name, problem, centre=True), vectors @ turn() + shift)
    assert (run(name, problem) - (vectors @ turn() + shift)).abs().max() > 0.1


def test_linear_map_is_the_ridge_regression(unlike):
    problem = unlike()
    source, target = problem.anchors_src.double(), problem.anchors_tgt.double()
    for ridge in (0.0, 0.3):
        weight = ridge * source.square().sum() / D
        normal = source.T @ source + weight * torch.eye(D, dtype=torch.float64)
        expected = problem.vectors.double() @ torch.linalg.solve(normal, source.T @ target)
        close(run("linear_map", problem, ridge=ridge), expected)


@pytest.mark.parametrize("ridge", [0.0, 1e-9])
@pytest.mark.parametrize(
    "source", [random(10, D), random(K, 8) @ random(8, D, seed=3)], ids=["few", "flat"]
)
def test_linear_map_without_full_rank_is_the_pseudo_inverse(problem_of, source, ridge):
    target = random(len(source), 16, seed=5)
    problem = problem_of(source, target, random(3, D, seed=1))
    inverse = torch.linalg.pinv(source.double(), rtol=1e-5)
    expected = problem.vectors.double() @ inverse @ target.double()
    close(run("linear_map", problem, ridge=ridge), expected, 1e-4)


def test_linear_map_in_float32_stays_near(turned, monkeypatch):
    monkeypatch.setattr("promptport.transfers.methods.linear_map.EXACT_WORK", 0)
    problem = turned()
    close(run("linear_map", problem), 3 * problem.vectors @ turn(), 1e-3)
    close(run("omp", problem), 3 * problem.vectors @ turn(), 1e-3)


def test_procrustes_is_the_best_rotation(unlike):
    """No small turn of the found map, and no other scale, fits the anchors better."""
    problem = unlike()
    source, target = problem.anchors_src.double(), problem.anchors_tgt.double()
    matrix = run("procrustes", replace(problem, vectors=torch.eye(D))).double()  # (d_s, d_t)
    scale = matrix.norm(dim=0).mean()
    close((matrix.T @ matrix).float(), scale.square() * torch.eye(16))
    reached = (source @ matrix * target).sum()
    for seed in range(40):
        skew = 0.05 * random(D, D, seed=seed).double()
        moved = torch.matrix_exp(skew - skew.T) @ matrix
        assert (source @ moved * target).sum() < reached
    loss = (source @ matrix - target).norm()
    for factor in (0.9, 1.1):
        assert (factor * source @ matrix - target).norm() > loss


def test_omp_finds_the_words_of_a_sparse_mixture(problem_of):
    source, target = random(K, D), random(K, 16, seed=5)
    weights = torch.zeros(3, K)
    weights[0, 7], weights[1, [3, 90]], weights[2, [5, 41]] = 2.0, torch.tensor([4.0, -3.0]), 1.0
    problem = problem_of(source, target, weights @ source)
    close(run("omp", problem, k=12), weights @ target, 1e-4)  # more than needed does no harm


def test_omp_is_greedy_with_a_refit(unlike):
    problem = unlike()
    source, target = problem.anchors_src.double(), problem.anchors_tgt.double()
    unit = unit_rows(source, "source")
    expected = []
    for vector in problem.vectors.double():
        chosen, rest = [], vector
        for _ in range(6):
            chosen.append(int((unit @ rest).abs().argmax()))
            fit = torch.linalg.lstsq(source[chosen].T, vector[:, None]).solution[:, 0]
            rest = vector - fit @ source[chosen]
        assert len(set(chosen)) == 6
        expected.append(fit @ target[chosen])
    close(run("omp", problem, k=6), torch.stack(expected))


def test_omp_uses_no_more_anchors_than_there_are(problem_of):
    source, target = random(5, D), random(5, 16, seed=5)
    source[4] = 2 * source[3]  # and not the same direction twice
    problem = problem_of(source, target, torch.cat([random(2, D, seed=1), torch.zeros(1, D)]))
    found = run("omp", problem)
    assert found.isfinite().all()
    assert torch.equal(found[2], torch.zeros(16))
    rest = problem.vectors - problem.vectors @ torch.linalg.pinv(source) @ source
    same = replace(problem, anchors_tgt=source)
    close(problem.vectors - run("omp", same), rest)


@pytest.mark.slow
def test_projector_brings_held_back_words_home(problem_of):
    source = random(700, D) + 0.4
    target = 3 * source @ turn(outer=16)
    problem = problem_of(source[:600], target[:600], source[600:])
    found = run("projector", problem)
    assert cosine_similarity(found, target[600:]).mean() > 0.95
    assert cosine_similarity(found, target[600:]).min() > 0.9
    assert not found.requires_grad
    ratio = found.norm(dim=1).mean() / target.norm(dim=1).mean()
    assert float(ratio) == pytest.approx(1, abs=0.1)


def test_projector_looks_at_directions_alone(unlike):
    long = replace(unlike(), vectors=100 * unlike().vectors)
    close(run("projector", long, steps=20), run("projector", unlike(), steps=20))


@pytest.mark.slow
def test_projector_stops_early_and_keeps_the_best(unlike):
    seen = []
    problem = replace(unlike(), progress=lambda *at: seen.append(at))
    found = run("projector", problem, steps=1000)  # nothing to learn here: held-back loss rises
    assert seen[0] == (1, 1000)  # counts towards the most that it may take
    assert len(seen) < 600
    last = run("projector", unlike(), steps=len(seen))
    assert torch.equal(found, last)


def test_discretize_gives_exact_rows(unlike):
    problem = unlike()
    found = run("discretize", problem)
    for vector, row in zip(problem.vectors, found, strict=True):
        nearest = cosine_similarity(vector[None], problem.anchors_src).argmax()
        assert torch.equal(row, problem.anchors_tgt[nearest])
    own = replace(problem, vectors=7 * problem.anchors_src[:3])
    assert torch.equal(run("discretize", own), problem.anchors_tgt[:3])


def test_weighted_sum_of_one_word_is_discretize(unlike):
    problem = unlike()
    expected = run("discretize", problem)
    assert torch.equal(run("weighted_sum", problem, k=1), expected)
    close(run("weighted_sum", problem, k=None, temperature=1e-4), expected)


def test_weighted_sum_is_a_softmax_over_the_nearest(unlike):
    problem = unlike()
    cosines, ids = problem.relative.topk(4, dim=1)
    weights = (cosines / 0.2).exp()
    weights = weights / weights.sum(1, keepdim=True)
    expected = torch.einsum("nk,nkd->nd", weights, problem.anchors_tgt[ids])
    close(run("weighted_sum", problem, k=4, temperature=0.2), expected)
    flat = run("weighted_sum", problem, k=None, temperature=1e6)
    close(flat, problem.anchors_tgt.mean(0).expand(3, -1))


def test_copy_keeps_the_numbers(turned):
    problem = turned()
    found = run("copy", problem)
    assert torch.equal(found, problem.vectors)
    assert found.data_ptr() != problem.vectors.data_ptr()


def test_copy_refuses_another_width(unlike):
    with pytest.raises(
        MismatchError, match=r"^method copy: expected spaces of one width, got 24 and 16\. Choose"
    ):
        run("copy", unlike())


def test_random_rows_are_rows_of_the_target(unlike):
    problem = unlike()
    for row in run("random", problem):
        assert (problem.anchors_tgt == row).all(dim=1).any()


@pytest.mark.parametrize(("name", "options"), [("random", {}), ("projector", {"steps": 3})])
def test_seeds(unlike, name, options):
    found = run(name, unlike(3), **options)
    assert torch.equal(found, run(name, unlike(3), **options))
    assert not torch.allclose(found, run(name, unlike(4), **options))


@pytest.mark.parametrize("name", NEW)
def test_arguments_stay_as_they_were(turned, name):
    problem = turned()
    before = [t.clone() for t in (problem.vectors, problem.anchors_src, problem.anchors_tgt)]
    found = run(name, problem, **({"steps": 2} if name.startswith("projector") else {}))
    after = (problem.vectors, problem.anchors_src, problem.anchors_tgt)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert found.shape == (4, D)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in NEW if name != "copy.v1"])
def test_whole_transfers_and_their_round_trip(alike_pair, name):
    source, target = alike_pair(k=200)
    provenance = Provenance(source.backbone, fingerprint=source.fingerprint)
    prompt = SoftPrompt(source.rows(range(4)) + 0.1, provenance)
    options = {"steps": 40} if name.startswith("projector") else {}
    result = transfer(prompt, source, target, method=name, options=options)
    assert result.prompt.vectors.shape == (4, 16)
    assert result.report.method == name
    assert -1 <= result.report.roundtrip <= 1


def test_projector_says_when_it_never_learned(unlike):
    with pytest.raises(PromptPortError, match="expected a finite loss, got none. Lower learning"):
        run("projector", unlike(), learning_rate=1e30, steps=60)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        (
            "linear_map",
            {"ridge": -1.0},
            r"linear_map: expected ridge >= 0, and finite, got ridge=-1\.0",
        ),
        ("omp", {"k": 0}, "omp: expected k >= 1, got k=0"),
        ("linear_map", {"ridge": math.inf}, "linear_map: expected ridge >= 0, and finite, got rid"),
        ("least_squares", {"ridge": math.inf}, "ridge: expected 0 or more, and finite, got inf"),
        ("weighted_sum", {"k": 0}, "weighted_sum: expected k >= 1 and temperature >= 1e-06, got"),
        ("weighted_sum", {"temperature": 1e-40}, "temperature >= 1e-06, got k=10, temperature=1e"),
        ("weighted_sum", {"temperature": 0.0}, r"got k=10, temperature=0\.0"),
        ("projector", {"steps": 0}, "projector: expected steps, batch and hidden >= 1"),
        ("projector", {"batch": 0}, "batch=0"),
        ("projector", {"hidden": 0}, "hidden=0"),
        ("projector", {"learning_rate": 0.0}, r"learning_rate=0\.0\. Leave them out"),
        ("discretize", {"k": 2}, r"option of discretize\.v1: expected none, got 'k'"),
    ],
)
def test_wrong_options_give_one_line(unlike, name, options, line):
    with pytest.raises(PromptPortError, match=line) as error:
        run(name, unlike(), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [("linear_map", {"centre": True}), ("procrustes", {"centre": True}), ("projector", {})],
)
def test_one_anchor_is_too_few(turned, name, options):
    with pytest.raises(AnchorError, match="expected two anchors or more, got 1"):
        run(name, turned(k=1), **options)
