"""Mixtures: the same weights, the same words, another space."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.errors import AnchorError, FileFormatError, MismatchError, ShapeError, TuningError
from promptport.evaluation import evaluate
from promptport.mixture import Mixture
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, save_prompt
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, tune, tune_jointly

CONFIG = TuneConfig(epochs=3, batch_size=3, patience=0)


@pytest.fixture
def anchored(backbone, capitals):
    job = TuneJob(capitals, OriginSpec("mixture", 4), 3)
    return tune(backbone("bert"), [job], CONFIG)[0].prompt


def test_an_anchored_prompt_is_its_mixture(backbone, anchored) -> None:
    space = backbone("bert").space
    assert anchored.mixture.words == tuple(sorted(space.words))
    torch.testing.assert_close(
        anchored.mixture.vectors(space), anchored.vectors, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(anchored.mixture.weights.sum(1), torch.ones(3))


def test_tuning_anchored_lowers_the_loss(backbone, capitals) -> None:
    model = backbone("bert")
    job = TuneJob(capitals, OriginSpec("mixture", 0), 4)
    result = tune(model, [job], TuneConfig(epochs=30, batch_size=6, patience=0))[0]
    start = SoftPrompt(result.prompt.origin, result.prompt.provenance)
    assert result.dev_loss < evaluate(model, capitals, start, split="dev").loss - 0.005


def test_anchored_and_free_prompts_share_a_batch_without_touching_each_other(
    backbone, capitals
) -> None:
    model = backbone("bert")
    jobs = [
        TuneJob(capitals, OriginSpec("vocabulary", 1), 2),
        TuneJob(capitals, OriginSpec("mixture", 1), 2),
        TuneJob(capitals, OriginSpec("mixture", 2), 3),
    ]
    together = tune(model, jobs, CONFIG)
    for job, result in zip(jobs, together, strict=True):
        alone = tune(model, [job], CONFIG)[0]
        torch.testing.assert_close(
            result.prompt.vectors, alone.prompt.vectors, rtol=2e-3, atol=2e-3
        )


def test_an_interrupted_anchored_run_resumes_to_the_same_bits(backbone, capitals, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "s.safetensors"
    jobs = [
        TuneJob(capitals, OriginSpec("mixture", 1), 2),
        TuneJob(capitals, OriginSpec("normal", 1), 2),
    ]

    def interrupt(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    whole = tune(model, jobs, CONFIG)
    with pytest.raises(KeyboardInterrupt):
        tune(model, jobs, CONFIG, state=state, progress=interrupt)
    resumed = tune(model, jobs, CONFIG, state=state)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.prompt.vectors, b.prompt.vectors)
    assert torch.equal(whole[0].prompt.mixture.weights, resumed[0].prompt.mixture.weights)


@pytest.mark.parametrize("name", ["roberta", "albert", "gpt2", "gemma", "t5"])
def test_a_port_is_the_same_mixture_of_the_shared_words(backbone, anchored, name) -> None:
    source, target = backbone("bert").space, backbone(name).space
    result = transfer(anchored, source, target)
    shared = [w for w in anchored.mixture.words if w in target.words]
    weights = anchored.mixture.weights[:, [w in target.words for w in anchored.mixture.words]]
    by_hand = (weights / weights.sum(1, keepdim=True)) @ target.rows(
        [target.words[w] for w in shared]
    )
    torch.testing.assert_close(result.prompt.vectors, by_hand, rtol=1e-4, atol=1e-4)
    assert result.report.kept_weight == pytest.approx(float(weights.sum(1).mean()), rel=1e-4)
    assert result.prompt.mixture.words == tuple(sorted(shared))


def test_a_port_of_a_port_comes_home_if_no_word_was_lost(backbone, anchored) -> None:
    source, target = backbone("bert").space, backbone("distilbert").space
    there = transfer(anchored, source, target)
    assert there.report.kept_weight == pytest.approx(1.0, abs=1e-4)
    back = transfer(there.prompt, target, source).prompt
    torch.testing.assert_close(back.vectors, anchored.vectors, rtol=1e-4, atol=1e-4)
    assert [step["method"] for step in back.provenance.history] == ["mixture.v1", "mixture.v1"]


def test_other_methods_take_an_anchored_prompt_as_free_vectors(backbone, anchored) -> None:
    result = transfer(
        anchored, backbone("bert").space, backbone("t5").space, method="least_squares"
    )
    assert result.prompt.mixture is None
    assert result.report.kept_weight is None


def test_mixtures_survive_the_disk_and_damage_is_seen(anchored, tmp_path) -> None:
    folder = save_prompt(anchored, tmp_path / "p")
    again = load_prompt(folder)
    assert again.mixture.words == anchored.mixture.words
    assert torch.equal(again.mixture.weights, anchored.mixture.weights)
    path = folder / "mixture.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(FileFormatError, match=r"mixture\.safetensors"):
        load_prompt(folder)
    path.write_bytes(whole.replace(b'\\"dog\\"', b'\\"dig\\"'))
    with pytest.raises(FileFormatError, match="the values that were saved"):
        load_prompt(folder)


def test_words_without_a_place_in_the_target() -> None:
    mixture = Mixture(("dog", "cat"), torch.tensor([[0.99, 0.01], [0.01, 0.99]]))
    with pytest.raises(AnchorError, match=r"virtual token 2: expected at least 5% .* got 1\.0%"):
        mixture.over({"dog": 0})
    weights, kept = mixture.over({"cat": 1, "bird": 0, "dog": 2})
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.01, 0.99], [0.0, 0.99, 0.01]]))
    torch.testing.assert_close(kept, torch.ones(2))
    assert mixture.readable(1)[0][0][0] == "dog"


@pytest.mark.parametrize(
    ("words", "weights", "message"),
    [
        (("a", "a"), [[0.5, 0.5]], "different words"),
        (("a",), [[0.5, 0.5]], r"weights \(n, 1\)"),
        (("a", "b"), [[1.5, -0.5]], ">= 0"),
        (("a", "b"), [[float("nan"), 0.5]], ">= 0"),
        (("a", "b"), [[0.2, 0.2]], "rows that sum to 1"),
    ],
)
def test_bad_mixtures(words, weights, message) -> None:
    with pytest.raises(ShapeError, match=message):
        Mixture(words, torch.tensor(weights))


def test_a_mixture_of_another_length_is_refused() -> None:
    with pytest.raises(ShapeError, match="2 rows, one per virtual token"):
        SoftPrompt(torch.ones(2, 3), Provenance("b"), mixture=Mixture(("a",), torch.ones(3, 1)))


def test_free_prompts_have_no_mixture_to_move(backbone) -> None:
    prompt = SoftPrompt(torch.ones(2, 32), Provenance("b"))
    with pytest.raises(MismatchError, match="expected a mixture prompt"):
        transfer(prompt, backbone("bert").space, backbone("t5").space, method="mixture")


def test_a_rest_stays_within_its_limit_and_lowers_the_loss(backbone, capitals) -> None:
    model = backbone("bert")
    plain, free = (
        tune(model, [TuneJob(capitals, OriginSpec("mixture", 4), 3, rest=rest)], CONFIG)[0]
        for rest in (0.0, 0.5)
    )
    mixed = free.prompt.mixture.vectors(model.space)
    share = (free.prompt.vectors - mixed).norm(dim=1) / mixed.norm(dim=1)
    assert 0.05 < float(share.max()) <= 0.5 + 1e-4
    assert free.dev_loss < plain.dev_loss


def test_a_run_with_a_rest_resumes_to_the_same_bits(backbone, capitals, tmp_path) -> None:
    model = backbone("bert")
    jobs = [TuneJob(capitals, OriginSpec("mixture", 4), 3, rest=0.3)]
    whole = tune(model, jobs, CONFIG)[0].prompt

    def stop(progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, jobs, replace(CONFIG, save_seconds=0), state=tmp_path / "s", progress=stop)
    again = tune(model, jobs, replace(CONFIG, save_seconds=0), state=tmp_path / "s")[0].prompt
    assert torch.equal(whole.vectors, again.vectors)


def test_the_rest_is_carried_by_the_linear_map(backbone, anchored) -> None:
    """On the way to a rotated copy of the space a whole prompt survives, its rest included."""
    space = backbone("bert").space
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(space.width, space.width, generator=generator))[0]
    other = replace(space, backbone="turned", matrix=space.matrix @ turn)
    rest = 0.3 * torch.randn(3, space.width, generator=generator)
    full = replace(anchored, vectors=anchored.vectors + rest)
    moved = transfer(full, space, other, minimum_anchors=2).prompt.vectors
    torch.testing.assert_close(moved, full.vectors @ turn, rtol=1e-3, atol=2e-3)
    dropped = transfer(full, space, other, minimum_anchors=2, options={"rest": False})
    torch.testing.assert_close(
        dropped.prompt.vectors, anchored.vectors @ turn, rtol=1e-3, atol=2e-3
    )


def test_a_rest_is_refused_where_it_means_nothing(backbone, capitals) -> None:
    with pytest.raises(TuningError, match="rest"):
        TuneJob(capitals, OriginSpec("vocabulary"), rest=0.1)
    with pytest.raises(TuningError, match="rest"):
        TuneJob(capitals, OriginSpec("mixture"), rest=float("nan"))
    models = [backbone("bert"), backbone("gpt2")]
    with pytest.raises(TuningError, match="rest"):
        tune_jointly(models, [TuneJob(capitals, OriginSpec("mixture"), rest=0.1)], CONFIG)
