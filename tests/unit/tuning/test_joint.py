"""Joint tuning: one mixture, several backbones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.errors import TaskError, TuningError
from promptport.parameters import OriginSpec
from promptport.tuning import TuneConfig, TuneJob, tune, tune_jointly

CONFIG = TuneConfig(epochs=4, batch_size=3, patience=0)


def jobs(task):
    return [
        TuneJob(task, OriginSpec("mixture", 1), 2),
        TuneJob(task, OriginSpec("mixture", 2), 3, seed=1),
    ]


def test_a_backbone_joined_with_itself_is_tuned_as_alone(backbone, capitals) -> None:
    model = backbone("bert")
    together = tune_jointly([model, model], jobs(capitals), CONFIG)
    alone = tune(model, jobs(capitals), CONFIG)
    for joint, single in zip(together, alone, strict=True):
        torch.testing.assert_close(
            joint.mixture.weights, single.prompt.mixture.weights, rtol=1e-4, atol=1e-6
        )
        assert joint.dev_scores == (single.dev_score, single.dev_score)


def test_all_prompts_are_the_same_mixture(backbone, capitals) -> None:
    models = [backbone("bert"), backbone("gpt2"), backbone("t5")]
    (result,) = tune_jointly(models, jobs(capitals)[:1], CONFIG)
    assert len(result.prompts) == 3
    for model, prompt in zip(models, result.prompts, strict=True):
        model.check_prompt(prompt)
        assert torch.equal(prompt.mixture.weights, result.mixture.weights)
        torch.testing.assert_close(
            prompt.mixture.vectors(model.space), prompt.vectors, rtol=1e-4, atol=1e-4
        )
        assert prompt.provenance.tuning["jointly_on"] == [m.name for m in models]


@pytest.mark.long
def test_the_mean_loss_falls(backbone, capitals) -> None:
    models = [backbone("bert"), backbone("roberta")]
    long = TuneConfig(epochs=30, batch_size=6, patience=0)
    short = TuneConfig(epochs=1, batch_size=6, patience=0)
    before, after = (
        tune_jointly(models, jobs(capitals)[:1], config)[0] for config in (short, long)
    )
    losses = [sum(p.provenance.tuning["dev_loss"] for p in r.prompts) for r in (before, after)]
    assert losses[1] < losses[0] - 0.002


def test_only_given_words_are_mixed(backbone, capitals) -> None:
    models = [backbone("bert"), backbone("gpt2")]
    few = sorted(set(models[0].space.words) & set(models[1].space.words))[:9]
    (result,) = tune_jointly(models, jobs(capitals)[:1], CONFIG, words=[*few, "nowhere"])
    assert result.mixture.words == tuple(few)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_backbones(backbone, capitals, count) -> None:
    with pytest.raises(TuningError, match="two backbones or more"):
        tune_jointly([backbone("bert")] * count, jobs(capitals))


def test_free_prompts_cannot_be_shared(backbone, capitals) -> None:
    with pytest.raises(TuningError, match="kind mixture"):
        tune_jointly([backbone("bert")] * 2, [TuneJob(capitals, OriginSpec("normal", 1), 2)])


def test_no_object_that_all_know_is_said(backbone, capitals) -> None:
    rows = tuple(replace(row, answer="unheard of") for row in capitals.load("train"))
    parts = {"train": rows, "dev": rows}
    task = capitals.with_rows(**parts)
    with pytest.raises(TaskError, match="train: expected rows whose object is a single token of"):
        tune_jointly([backbone("bert"), backbone("gpt2")], jobs(task)[:1], CONFIG)


def test_the_record_tells_own_and_mean_score(backbone, capitals) -> None:
    models = [backbone("bert"), backbone("gpt2")]
    (result,) = tune_jointly(models, jobs(capitals)[:1], CONFIG)
    told = [prompt.provenance.tuning for prompt in result.prompts]
    assert tuple(record["dev_score"] for record in told) == result.dev_scores
    means = [record["mean_dev_score"] for record in told]
    assert means == pytest.approx([sum(result.dev_scores) / 2] * 2)
