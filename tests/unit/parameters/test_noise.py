"""Noise in tuning: its size, its gradients, and that it costs nothing elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.distillation import DistillConfig, fit_mixture
from promptport.errors import TuningError
from promptport.parameters import OriginSpec
from promptport.parameters.noise import draw, with_noise
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.tuning.independent import IndependentPrompts

CONFIG = TuneConfig(epochs=4, batch_size=3, patience=0)


def _job(task, kind="mixture", **changes):
    return TuneJob(task, OriginSpec(kind, 1), 2, seed=3, **changes)


def test_noise_has_the_share_of_the_norm_and_comes_again() -> None:
    table = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[0.1], [1.0], [7.0]]
    )
    noises = draw(0.5, 400, (3, 64), seed=2, step=9).unbind()
    noisy, starts = with_noise(table, [0] * 400, noises)
    assert noisy.shape == (3 + 400 * 3, 64)
    assert starts[:2] == [3, 6]
    added = torch.stack([noisy[s : s + 3] - table for s in starts]).norm(dim=2)  # (400, 3)
    shares = added.square().mean(0).sqrt() / table.norm(dim=1)
    torch.testing.assert_close(shares, torch.full((3,), 0.5), rtol=0.02, atol=0)
    assert torch.equal(draw(0.5, 400, (3, 64), 2, 9)[7], noises[7])
    assert not torch.equal(draw(0.5, 400, (3, 64), 2, 10)[7], noises[7])


def test_prompts_without_noise_stay_where_they_are() -> None:
    table = torch.randn(4, 5)
    same, starts = with_noise(table, [0, 2], [None, None])
    assert same is table
    assert starts == [0, 2]
    noisy, starts = with_noise(table, [0, 2, 2], [None, torch.zeros(2, 5), None])
    assert starts == [0, 4, 2]
    assert torch.equal(noisy, torch.cat([table, table[2:]]))


def test_gradients_of_the_copies_flow_into_their_rows() -> None:
    table = torch.ones(2, 3, requires_grad=True)
    noisy, starts = with_noise(table, [0, 0], [torch.ones(2, 3), torch.zeros(2, 3)])
    (2 * noisy[starts[0]] + noisy[starts[1] + 1]).sum().backward()
    assert torch.equal(table.grad, torch.tensor([[2.0] * 3, [1.0] * 3]))


def test_mixtures_are_tuned_under_noise_and_free_prompts_are_not(capitals) -> None:
    assert _job(capitals).noise_share == 1
    assert _job(capitals, noise=0.0).noise_share == 0
    assert _job(capitals, kind="vocabulary").noise_share == 0
    assert _job(capitals, kind="vocabulary", noise=0.5).noise_share == 0.5
    assert replace(_job(capitals, kind="vocabulary"), origin=OriginSpec("mixture")).noise_share == 1


@pytest.mark.parametrize("noise", [-0.1, 11.0, float("nan")])
def test_noise_out_of_range(capitals, noise) -> None:
    with pytest.raises(TuningError, match="noise: expected 0 to 10"):
        _job(capitals, noise=noise)
    with pytest.raises(TuningError, match="noise: expected 0 to 10"):
        DistillConfig(noise=noise)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_noise_moves_the_gradient_of_its_own_prompt_alone(backbone, capitals, films, name) -> None:
    model = backbone(name)
    quiet = _job(films, kind="vocabulary")
    found = {}
    for noise in (0.0, 0.5):
        jobs = [_job(capitals, noise=noise), quiet]
        trainer = IndependentPrompts(model, jobs, CONFIG).trainer
        tables = trainer.parameters.forward()
        (found[noise],) = trainer.gradients(tables, trainer.runs)[1]
    torch.testing.assert_close(found[0.0][2:], found[0.5][2:], rtol=1e-3, atol=1e-7)
    apart = (found[0.0][:2] - found[0.5][:2]).norm() / found[0.0][:2].norm()
    assert 0.005 < apart < 5


def test_fitting_a_mixture_learns_under_noise(backbone, capitals) -> None:
    model = backbone("bert")
    parts = {split: (capitals.load(split) * 12)[:12] for split in ("train", "dev")}
    many = capitals.with_rows(**parts)
    (free,) = tune(model, [_job(many, kind="vocabulary")], CONFIG)
    config = DistillConfig(rows=8, epochs=2, batch_size=4)
    found = [
        fit_mixture(free.prompt, model, many, config=replace(config, noise=noise)).prompt
        for noise in (0.0, 1.0, 1.0)
    ]
    assert not torch.equal(found[0].vectors, found[1].vectors)
    assert torch.equal(found[1].vectors, found[2].vectors)
    assert [p.provenance.history[-1]["noise"] for p in found] == [0.0, 1.0, 1.0]
