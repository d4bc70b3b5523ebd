"""transfer(): the prompt, its provenance, the report and the refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from promptport._version import __version__
from promptport.errors import AnchorError, MismatchError, ShapeError, UnknownNameError
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.relative import encode_relative, matching
from promptport.transfers import encode_prompt, transfer
from promptport.transfers.report import FREE_PROMPT


def made_prompt(space, n=4, scale=1.0, **facts):
    vectors = space.rows(range(n)) + 0.2 * torch.randn(
        n, space.width, generator=torch.Generator().manual_seed(1)
    )
    provenance = Provenance(space.backbone, fingerprint=space.fingerprint, **facts)
    return SoftPrompt(scale * vectors, provenance, origin=torch.zeros(n, space.width))


def test_to_itself_every_number_comes_back(alike_pair):
    space, _ = alike_pair()
    prompt = made_prompt(space)
    result = transfer(prompt, space, space)
    torch.testing.assert_close(result.prompt.vectors, prompt.vectors, atol=1e-5, rtol=1e-5)
    assert result.report.matching == pytest.approx(1, abs=1e-6)
    assert result.report.roundtrip == pytest.approx(1, abs=1e-6)
    assert result.report.norm_ratio == pytest.approx(result.report.norm_ratio_source, rel=1e-5)
    assert result.report.warnings == ()
    assert result.report.verdict.startswith("Nothing in the report speaks against")
    words = [row[0][0] for row in result.report.nearest_after]
    assert words == [row[0][0] for row in result.report.nearest_before]
    assert words == [f"word{i:04d}" for i in range(4)]


def test_provenance_tells_the_whole_way(alike_pair):
    source, target = alike_pair()
    target = replace(target, revision="abc", kind="causal")
    prompt = made_prompt(
        source,
        task="toy",
        template="{soft} {text} {answer}",
        kind="masked",
        origin={"kind": "vocabulary", "seed": 3},
        tuning={"dev_score": 0.7},
    )
    result = transfer(prompt, source, target, method="gradient", seed=5, options={"steps": 3})
    found = result.prompt.provenance
    assert (found.backbone, found.kind, found.revision) == ("right", "causal", "abc")
    assert found.fingerprint == target.fingerprint
    assert (found.task, found.template) == ("toy", "{soft} {text} {answer}")
    assert found.origin is None
    assert found.tuning is None
    assert result.prompt.origin is None
    (entry,) = found.history
    assert entry == {
        "step": "transfer",
        "source": "left",
        "source_revision": None,
        "source_fingerprint": source.fingerprint,
        "target": "right",
        "method": "gradient.v1",
        "options": {"steps": 3, "learning_rate": 0.005, "topk": None, "absolute": False},
        "magnitude": "token",
        "anchors": 600,
        "matching": result.report.matching,
        "seed": 5,
        "origin": {"kind": "vocabulary", "seed": 3},
        "tuning": {"dev_score": 0.7},
        "promptport": __version__,
    }
    again = transfer(result.prompt, target, source).prompt.provenance
    assert [step["source"] for step in again.history] == ["left", "right"]
    assert Provenance.from_dict(json.loads(json.dumps(again.to_dict())), "test") == again


def test_report_holds_what_was_measured(alike_pair):
    source, target = alike_pair()
    prompt = made_prompt(source)
    result = transfer(prompt, source, target)
    report = result.report
    wanted = encode_relative(prompt.vectors, source.rows(range(600)))
    expected = matching(wanted, target.rows(range(600)), result.prompt.vectors)
    assert report.matching_tokens == pytest.approx(expected.tolist(), abs=1e-6)
    assert report.matching == pytest.approx(float(expected.mean()), abs=1e-6)
    assert 0.5 < report.matching < 0.9999
    back = transfer(result.prompt, target, source).prompt.vectors
    expected = float(cosine_similarity(back, prompt.vectors).mean())
    assert report.roundtrip == pytest.approx(expected, abs=1e-5)
    assert report.roundtrip < 0.999
    assert report.norm_ratio == pytest.approx(
        float(result.prompt.vectors.norm(dim=1).mean()) / target.statistics.mean_norm, rel=1e-5
    )
    assert [len(row) for row in report.nearest_after] == [3] * 4
    assert report.labels_used is False
    assert 0 < report.decode_seconds < report.seconds
    values = report.to_dict()
    assert json.loads(json.dumps(values)) == values
    wanted_keys = {"anchors", "matching", "method", "magnitude", "seconds", "labels_used"}
    assert wanted_keys <= values.keys()


def test_a_prompt_100_times_longer_than_embeddings_survives_under_token(alike_pair):
    source, target = alike_pair()
    plain = transfer(made_prompt(source), source, target).prompt.vectors
    long = transfer(made_prompt(source, scale=100.0), source, target)
    torch.testing.assert_close(long.prompt.vectors, 100 * plain, rtol=1e-4, atol=1e-3)
    assert long.report.norm_ratio == pytest.approx(long.report.norm_ratio_source, rel=1e-5)
    assert long.report.norm_ratio > 90
    cut = transfer(made_prompt(source, scale=100.0), source, target, magnitude="paper").report
    assert cut.norm_ratio < 3
    assert any("x that of the source's rows" in line for line in cut.warnings)
    assert not any("The norm" in line for line in long.report.warnings)


def test_same_seed_same_result_and_arguments_untouched(alike_pair):
    source, target = alike_pair()
    prompt = made_prompt(source)
    before = prompt.vectors.clone()
    options = {"steps": 5}
    first, again, other = (
        transfer(prompt, source, target, method="gradient", seed=seed, options=options)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.prompt.vectors, again.prompt.vectors)
    assert not torch.allclose(first.prompt.vectors, other.prompt.vectors)
    assert torch.equal(prompt.vectors, before)
    assert options == {"steps": 5}


def test_chosen_words(alike_pair):
    source, target = alike_pair()
    words = [f"word{i:04d}" for i in range(0, 600, 3)]
    result = transfer(made_prompt(source), source, target, words=words)
    assert result.report.anchors == 200
    assert result.report.coverage == (1 / 3, 1 / 3)
    assert any("Only 200 shared words" in line for line in result.report.warnings)
    with pytest.raises(AnchorError, match="at least 32 shared words, got 9"):
        transfer(made_prompt(source), source, target, words=words[:9])
    few = transfer(made_prompt(source), source, target, words=words[:9], minimum_anchors=9)
    assert few.report.anchors == 9


def test_verdict_warns_of_strangers_and_of_other_kinds(made_space, alike_pair):
    source, _ = alike_pair()
    noise = torch.randn(600, 6, generator=torch.Generator().manual_seed(9))
    report = transfer(made_prompt(source), source, made_space("n", noise, kind="causal")).report
    assert report.matching < 0.5
    assert report.roundtrip < 0.5
    for text in ("No vector of the target", "Moved back", "arrange their shared words", "causal"):
        assert sum(text in line for line in report.warnings) == 1, text


def test_verdict_warns_of_parallel_tokens(alike_pair):
    source, target = alike_pair(noise=0.1)
    vectors = source.rows([0]) + 0.01 * source.rows([1, 2, 3])
    report = transfer(SoftPrompt(vectors, Provenance("left")), source, target).report
    assert report.parallel > 0.99
    assert any("nearly the same direction" in line for line in report.warnings)
    assert (
        transfer(SoftPrompt(vectors[:1], Provenance("left")), source, target).report.parallel
        is None
    )


def test_a_prompt_of_another_backbone_is_refused(alike_pair):
    source, target = alike_pair()
    prompt = made_prompt(source)
    with pytest.raises(MismatchError, match=r"virtual tokens 16 wide \(right\), got 24 \(left\)"):
        transfer(prompt, target, source)
    changed = replace(source, matrix=source.matrix * 1.5)
    with pytest.raises(
        MismatchError, match=r"expected the embedding matrix \w{12} of left, got \w{12}"
    ):
        transfer(prompt, changed, target)
    unknown = prompt.with_provenance(fingerprint=None)
    assert transfer(unknown, changed, target).report.anchors == 600


def test_names_are_checked_before_any_work(alike_pair):
    source, target = alike_pair()
    prompt = made_prompt(source)
    with pytest.raises(UnknownNameError, match="Did you mean 'least_squares'"):
        transfer(prompt, source, target, method="lest_squares")
    with pytest.raises(UnknownNameError, match="magnitude rule"):
        transfer(prompt, source, target, magnitude="loud")
    with pytest.raises(UnknownNameError, match="option of least_squares.v1: .*'steps'"):
        transfer(prompt, source, target, options={"steps": 3})
    empty = SoftPrompt(torch.zeros(2, 24), Provenance("left"))
    with pytest.raises(ShapeError, match="vectors: .*got 2 of 2 rows that are zero"):
        transfer(empty, source, target)


def test_a_free_prompt_between_models_that_are_not_alike_is_warned_of(made_space, alike_pair):
    source, target = alike_pair()
    far = transfer(made_prompt(source), source, target).report
    assert far.agreement < 0.9
    assert FREE_PROMPT in far.warnings
    copy = made_space("copy", source.matrix + 0.01, kind="masked")
    assert FREE_PROMPT not in transfer(made_prompt(source), source, copy).report.warnings
    words = tuple(sorted(source.words))
    mixture = Mixture(words, torch.full((4, len(words)), 1 / len(words)))
    mixed = SoftPrompt(mixture.vectors(source), Provenance("left"), mixture=mixture)
    assert FREE_PROMPT not in transfer(mixed, source, target).report.warnings
    portable = encode_prompt(made_prompt(source), source)
    assert FREE_PROMPT in transfer(portable, target).report.warnings
