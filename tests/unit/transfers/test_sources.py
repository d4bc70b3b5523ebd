"""Several sources: one closed form, whatever their order, length or anchors."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from promptport.errors import MismatchError, PromptPortError, UnknownNameError
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.relative import encode_relative, matching
from promptport.transfers import Source, transfer
from promptport.transfers.sources import fit_lengths


def prompt_in(space, seed=0, n=3, template=None):
    vectors = torch.randn(n, space.width, generator=torch.Generator().manual_seed(seed))
    provenance = Provenance(space.backbone, fingerprint=space.fingerprint, template=template)
    return SoftPrompt(vectors, provenance)


@pytest.fixture
def three(alike_pair):
    """Two sources, 24 and 20 wide, and a target 16 wide."""
    first, target = alike_pair(widths=(24, 16))
    second = replace(alike_pair(widths=(20, 16), seed=1)[0], backbone="middle")
    sources = [Source(prompt_in(first), first, 1.0), Source(prompt_in(second, 1), second, 2.0)]
    return sources, target


def joint_objective(sources, target, vectors):
    total = sum(s.weight for s in sources)
    words = [s.space.words[w] for s in sources[:1] for w in sorted(s.space.words)]
    return sum(
        s.weight
        / total
        * matching(
            encode_relative(s.prompt.vectors, s.space.rows(words)), target.rows(words), vectors
        )
        for s in sources
    )


@pytest.mark.parametrize("method", ["least_squares", "gradient"])
def test_order_does_not_matter(three, method):
    sources, target = three
    options = {"steps": 4} if method == "gradient" else {}
    found = [
        transfer(order, target=target, method=method, options=options).prompt.vectors
        for order in permutations(sources)
    ]
    assert torch.equal(*found)


def test_the_closed_form_is_the_best_for_all_sources_together(three):
    sources, target = three
    vectors = transfer(sources, target=target).prompt.vectors
    best = joint_objective(sources, target, vectors)
    noise = torch.Generator().manual_seed(3)
    for _ in range(20):
        other = vectors + 0.03 * vectors.norm(dim=1, keepdim=True) * torch.randn(
            vectors.shape, generator=noise
        )
        assert (joint_objective(sources, target, other) < best).all()
    alone = transfer(sources[0].prompt, sources[0].space, target).prompt.vectors
    assert (joint_objective(sources, target, alone) < best).all()


def test_equal_sources_are_one_source(three):
    sources, target = three
    one = sources[0]
    single = transfer(one.prompt, one.space, target)
    double = transfer([one, replace(one, weight=3.0)], target=target)
    torch.testing.assert_close(double.prompt.vectors, single.prompt.vectors, rtol=1e-5, atol=1e-6)
    assert double.report.matching == pytest.approx(single.report.matching, abs=1e-6)
    assert double.report.roundtrip == pytest.approx(single.report.roundtrip, abs=1e-5)


def test_a_heavy_source_wins(three):
    sources, target = three
    heavy = [replace(sources[0], weight=1e6), sources[1]]
    alone = transfer(sources[0].prompt, sources[0].space, target).prompt.vectors
    found = transfer(heavy, target=target).prompt.vectors
    assert cosine_similarity(alone, found, dim=1).min() > 0.9999


def test_provenance_names_every_source(three):
    sources, target = three
    result = transfer(sources, target=target)
    (entry,) = result.prompt.provenance.history
    assert {s["source"]: s["weight"] for s in entry["sources"]} == pytest.approx(
        {"left": 1 / 3, "middle": 2 / 3}
    )
    assert result.report.source == "left + middle"


def test_own_anchors_raise_the_objective_of_each_source(three):
    sources, target = three
    few = sorted(sources[1].space.words)[::3]
    narrow = replace(sources[1].space, words={w: sources[1].space.words[w] for w in few})
    prompt = replace(
        sources[1].prompt,
        provenance=replace(sources[1].prompt.provenance, fingerprint=narrow.fingerprint),
    )
    pair = [sources[0], Source(prompt, narrow, 2.0)]

    def objective(vectors):
        total = torch.zeros(3)
        for source in pair:
            ids = [source.space.words[w] for w in sorted(source.space.words)]
            wanted = encode_relative(source.prompt.vectors, source.space.rows(ids))
            total += source.weight / 3 * matching(wanted, target.rows(ids), vectors)
        return total

    common = objective(transfer(pair, target=target).prompt.vectors)
    own = objective(transfer(pair, target=target, own_anchors=True).prompt.vectors)
    assert (own > common + 1e-5).all()


def test_mixtures_are_averaged(three):
    sources, target = three
    words = tuple(sorted(target.words))
    mixed = []
    for seed, source in enumerate(sources):
        weights = torch.rand(3, len(words), generator=torch.Generator().manual_seed(seed))
        mixture = Mixture(words, normalize(weights, p=1, dim=1))
        mixed.append(
            replace(
                source,
                prompt=replace(
                    source.prompt, vectors=mixture.vectors(source.space), mixture=mixture
                ),
            )
        )
    result = transfer(mixed, target=target)
    wanted = sum(m.prompt.mixture.weights * m.weight / 3 for m in mixed)
    torch.testing.assert_close(result.prompt.mixture.weights, wanted, rtol=1e-5, atol=1e-7)
    rows = target.rows([target.words[w] for w in words])
    torch.testing.assert_close(result.prompt.vectors, wanted @ rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("cut", [[0.0, 2.0], [5.0, 6.0]]),
        ("repeat", [[0.0, 2.0, 4.0], [5.0, 6.0, 5.0]]),
        ("stretch", [[0.0, 2.0, 4.0], [5.0, 5.5, 6.0]]),
    ],
)
def test_length_rules(rule, wanted):
    given = [torch.tensor([[0.0], [2.0], [4.0]]), torch.tensor([[5.0], [6.0]])]
    found = [rows[:, 0].tolist() for rows in fit_lengths(given, rule)]
    assert found == wanted


def test_bad_input(three):
    sources, target = three
    longer = replace(sources[1], prompt=prompt_in(sources[1].space, n=5))
    with pytest.raises(MismatchError, match="one length, got 3, 5"):
        transfer([sources[0], longer], target=target)
    assert transfer([sources[0], longer], target=target, lengths="stretch").prompt.length == 5
    with pytest.raises(UnknownNameError, match="length rule"):
        transfer([sources[0], longer], target=target, lengths="strech")
    with pytest.raises(PromptPortError, match="above 0"):
        transfer([sources[0], replace(sources[1], weight=0.0)], target=target)
    with pytest.raises(MismatchError, match="one prompt or more"):
        transfer([], target=target)
    other = replace(sources[1], prompt=prompt_in(sources[1].space, template="{soft} {answer}"))
    with pytest.raises(MismatchError, match="one template"):
        transfer([sources[0], other], target=target)
    with pytest.raises(MismatchError, match="own anchors"):
        transfer(sources, target=target, method="gradient", own_anchors=True, options={"steps": 1})


def test_dimension_counts_for_several_sources_and_own_anchors(three):
    sources, target = three
    spread = target.matrix.std(0)
    assert spread.max() > 1.05 * spread.min()
    one = transfer(sources[0].prompt, sources[0].space, target, magnitude="dimension").prompt
    double = transfer([sources[0], sources[0]], target=target, magnitude="dimension").prompt
    own = transfer([sources[0]], target=target, magnitude="dimension", own_anchors=True).prompt
    token = transfer(sources[0].prompt, sources[0].space, target).prompt
    assert (cosine_similarity(one.vectors, token.vectors) < 0.9999).all()
    assert (cosine_similarity(one.vectors, double.vectors) > 0.9999).all()
    assert (cosine_similarity(one.vectors, own.vectors) > 0.99999).all()


def test_own_anchors_follow_the_rules_for_anchors(three):
    sources, target = three
    every = transfer(sources, target=target, own_anchors=True).prompt.vectors
    fewer = transfer(sources, target=target, own_anchors=True, anchors="frequent:40").prompt.vectors
    assert not torch.allclose(every, fewer, rtol=1e-3)
    with pytest.raises(MismatchError, match="least_squares, without options"):
        transfer(sources, target=target, own_anchors=True, options={"topk": 30})


def test_the_round_trip_of_mixtures_is_that_of_their_mean(three):
    sources, target = three
    words = tuple(sorted(target.words))
    mixed = []
    for seed, source in enumerate(sources):
        weights = torch.zeros(3, len(words))
        weights[:, seed] = 1.0
        mixture = Mixture(words, weights)
        vectors = mixture.vectors(source.space)
        prompt = replace(source.prompt, vectors=vectors, mixture=mixture)
        mixed.append(replace(source, prompt=prompt))
    alone = transfer(mixed[0].prompt, mixed[0].space, target).report.roundtrip
    assert alone == pytest.approx(1.0, abs=1e-5)
    both = transfer(mixed, target=target)
    wanted = sum(
        weight * cosine_similarity(both.prompt.mixture.vectors(m.space), m.prompt.vectors).mean()
        for m, weight in zip(mixed, (1 / 3, 2 / 3), strict=True)
    )
    assert both.report.roundtrip == pytest.approx(float(wanted), abs=1e-5)
    assert both.report.roundtrip < 0.95
