"""The tuning loop: independence of prompts, resumption, failures, frozen weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.errors import FileFormatError, MismatchError, StorageError, TuningError
from promptport.evaluation import evaluate, prompted
from promptport.objective import Objective
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Template
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune
from promptport.tuning.trainer import backward

CONFIG = TuneConfig(epochs=4, batch_size=2, patience=0)


def _jobs(capitals, films):
    return [
        TuneJob(capitals, OriginSpec("vocabulary", 1), 2, seed=1, relative_lr=0.3),
        TuneJob(films, OriginSpec("normal", 2), 4, seed=2, relative_lr=0.2),
        TuneJob(
            capitals,
            OriginSpec("text", text="the capital of"),
            3,
            seed=3,
            relative_lr=0.1,
            template=Template.parse("{soft} {subject} is {answer} ."),
        ),
    ]


@pytest.mark.long
@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_prompts_tuned_together_equal_prompts_tuned_alone(backbone, capitals, films, name) -> None:
    model = backbone(name)
    jobs = _jobs(capitals, films)
    together = tune(model, jobs, CONFIG)
    for job, result in zip(jobs, together, strict=True):
        alone = tune(model, [job], CONFIG)[0]
        torch.testing.assert_close(
            result.prompt.vectors, alone.prompt.vectors, rtol=2e-3, atol=2e-3
        )
        assert result.steps == alone.steps == 12


@pytest.mark.long
@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_tuning_lowers_the_loss_and_leaves_every_byte_of_the_backbone(
    backbone, capitals, name
) -> None:
    model = backbone(name)
    before = model.weights_hash()
    job = TuneJob(capitals, OriginSpec("vocabulary", 0), 5, relative_lr=0.1)
    result = tune(model, [job], TuneConfig(epochs=40, batch_size=6, patience=0))[0]
    # A random backbone hardly listens to its prompt; what an embedded one learns is tested in
    # tests/integration.
    untuned = SoftPrompt(result.prompt.origin, result.prompt.provenance)
    assert result.dev_loss < evaluate(model, capitals, untuned, split="dev").loss - 0.005
    assert model.weights_hash() == before
    again = evaluate(model, capitals, result.prompt, split="dev")
    assert again.score.value == pytest.approx(result.dev_score)
    assert again.loss == pytest.approx(result.dev_loss, rel=1e-3)


def test_the_origin_travels_with_the_prompt(backbone, capitals) -> None:
    model = backbone("bert")
    job = TuneJob(capitals, OriginSpec("vocabulary", 7), 3)
    prompt = tune(model, [job], CONFIG)[0].prompt
    assert torch.equal(prompt.origin, make_origin(OriginSpec("vocabulary", 7), model, 3))
    assert prompt.provenance.origin == {"kind": "vocabulary", "seed": 7}
    assert prompt.provenance.fingerprint == model.space.fingerprint
    again = tune(model, [replace(job, origin=OriginSpec("prompt", prompt=prompt))], CONFIG)[
        0
    ].prompt
    assert torch.equal(again.origin, prompt.vectors)


def test_same_seed_same_prompt(backbone, capitals, films) -> None:
    model = backbone("bert")
    first = tune(model, _jobs(capitals, films), CONFIG)
    second = tune(model, _jobs(capitals, films), CONFIG)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.prompt.vectors, b.prompt.vectors)


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_an_interrupted_run_resumes_to_the_same_bits(
    backbone, capitals, films, tmp_path, stop_at
) -> None:
    model = backbone("bert")
    jobs, state = _jobs(capitals, films), tmp_path / "state.safetensors"
    config = replace(CONFIG, save_seconds=0.0)
    whole = tune(model, jobs, config)

    def interrupt(progress) -> None:
        if progress.step == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, jobs, config, state=state, progress=interrupt)
    seen = []
    resumed = tune(model, jobs, config, state=str(state), progress=lambda p: seen.append(p.step))
    if stop_at > 1:
        assert seen[0] == stop_at, "it must not start from the beginning"
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.prompt.vectors, b.prompt.vectors)
        assert a.curve == b.curve
    assert not state.exists()


def test_a_state_of_other_jobs_is_refused(backbone, capitals, films, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"
    jobs = _jobs(capitals, films)

    def interrupt(progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, jobs, CONFIG, state=state, progress=interrupt)
    with pytest.raises(TuningError, match="the state of this very run"):
        tune(model, jobs[:2], CONFIG, state=state)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(
        FileFormatError, match=r"state\.safetensors: expected a whole safetensors file"
    ):
        tune(model, jobs, CONFIG, state=state)


def test_nan_stops_one_prompt_and_leaves_the_others(backbone, capitals, films) -> None:
    model = backbone("bert")
    good, other, _ = _jobs(capitals, films)
    wild = TuneJob(capitals, OriginSpec("vocabulary", 1), 2, lr=1e38)
    results = tune(model, [good, wild, other], replace(CONFIG, schedule="constant", warmup=0))
    assert results[1].stopped == "failed"
    assert "not finite" in results[1].error
    for result, job in ((results[0], good), (results[2], other)):
        assert result.error is None
        alone = tune(model, [job], replace(CONFIG, schedule="constant", warmup=0))[0]
        torch.testing.assert_close(
            result.prompt.vectors, alone.prompt.vectors, rtol=2e-3, atol=2e-3
        )


def test_patience_stops_a_prompt_that_gets_no_better(backbone, capitals) -> None:
    job = TuneJob(capitals, OriginSpec("vocabulary", 0), 2, lr=1e-12)
    result = tune(backbone("bert"), [job], TuneConfig(epochs=30, batch_size=6, patience=2))[0]
    assert result.stopped == "no better dev score"
    assert result.epochs < 30


def test_the_best_epoch_is_kept_not_the_last(backbone, capitals) -> None:
    job = TuneJob(capitals, OriginSpec("vocabulary", 0), 2, relative_lr=1.0)
    result = tune(backbone("bert"), [job], TuneConfig(epochs=12, batch_size=3, patience=0))[0]
    best = max(result.curve, key=lambda point: (point[2], -point[1]))
    assert (result.dev_score, result.dev_loss) == (best[2], best[1])
    again = evaluate(backbone("bert"), capitals, result.prompt, split="dev")
    assert again.loss == pytest.approx(best[1], rel=1e-3)


def test_learning_rate_is_relative_to_the_spread_of_the_embeddings(backbone, capitals) -> None:
    model = backbone("bert")
    prompt = tune(model, [TuneJob(capitals, relative_lr=0.5)], CONFIG)[0].prompt
    rate = prompt.provenance.tuning["learning_rate"]
    assert rate == pytest.approx(0.5 * model.space.statistics.std)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs: expected 1 or more, got 0"),
        ({"warmup": 1.5}, "warmup: expected 0 to 1"),
        ({"patience": -1}, "patience: expected 0 or more"),
        ({"schedule": "cosine"}, "schedule: expected linear or constant, got 'cosine'"),
    ],
)
def test_settings_out_of_range(values, message) -> None:
    with pytest.raises(TuningError, match=message):
        TuneConfig(**values)


def test_bad_origins(backbone, capitals) -> None:
    model = backbone("bert")
    with pytest.raises(
        TuningError, match=r"expected vocabulary, normal .*, mixture, seed:NUMBER .*, text:SOME"
    ):
        OriginSpec.parse("uniform", 0)
    with pytest.raises(TuningError, match="at least 1 virtual token"):
        make_origin(OriginSpec(), model, 0)
    short = SoftPrompt(torch.ones(2, model.width), Provenance(model.name))
    with pytest.raises(TuningError, match="a prompt of 3 virtual tokens, got 2"):
        make_origin(OriginSpec("prompt", prompt=short), model, 3)
    foreign = SoftPrompt(torch.ones(3, model.width + 1), Provenance("elsewhere"))
    with pytest.raises(MismatchError, match="wide"):
        make_origin(OriginSpec("prompt", prompt=foreign), model, 3)
    with pytest.raises(TuningError, match="learning rate: expected a number above 0"):
        TuneJob(capitals, lr=0.0)
    with pytest.raises(TuningError, match="at least one"):
        tune(model, [])
    for slip in (capitals, "opposite", TuneJob(capitals)):
        with pytest.raises(TuningError, match=r"tune\(backbone, \[TuneJob\(task\)\]\)"):
            tune(model, slip)


def test_normal_origins_have_the_statistics_of_the_embeddings(backbone) -> None:
    model = backbone("bert")
    rows = make_origin(OriginSpec("normal", 0), model, 4000)
    statistics = model.space.statistics
    torch.testing.assert_close(rows.mean(0), statistics.centre, rtol=0, atol=0.05)
    torch.testing.assert_close(rows.std(0), statistics.dimension_std, rtol=0.1, atol=0.01)


def test_text_origins_repeat_their_tokens(backbone) -> None:
    model = backbone("bert")
    rows = make_origin(OriginSpec("text", text="the dog"), model, 5)
    ids = model.tokenizer("the dog")["input_ids"]  # [CLS] the dog [SEP]
    torch.testing.assert_close(rows, model.space.rows([*ids, ids[0]]))
    with pytest.raises(TuningError, match="origin: expected a text, got ' '"):
        make_origin(OriginSpec("text", text=" "), model, 5)


def test_a_state_of_other_data_or_origins_is_refused(backbone, capitals, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"

    def job(seed, task=capitals) -> TuneJob:
        prompt = random_prompt(model, 3, seed)
        return TuneJob(task, OriginSpec("prompt", prompt=prompt), 3)

    def interrupt(progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(model, [job(1)], CONFIG, state=state, progress=interrupt)
    rows = tuple(replace(row, answer="Rome") for row in capitals.load("train"))
    others = capitals.with_rows(train=rows, dev=rows, test=rows)
    for other in (job(2), job(1, others)):
        with pytest.raises(TuningError, match="the state of this very run"):
            tune(model, [other], CONFIG, state=state)
    assert tune(model, [job(1)], CONFIG, state=state)[0].prompt is not None


def test_a_run_whose_prompts_cannot_be_saved_keeps_its_state(backbone, capitals, tmp_path) -> None:
    model, state = backbone("bert"), tmp_path / "state.safetensors"
    jobs = [TuneJob(capitals, length=2)]

    def full(results):
        raise StorageError("P", expected="room", got="none", fix="Make room")

    with pytest.raises(StorageError):
        tune(model, jobs, CONFIG, state=state, save=full)
    steps, kept = [], []
    found = tune(
        model, jobs, CONFIG, state=state, save=kept.extend, progress=lambda p: steps.append(p.step)
    )
    assert steps == [], "nothing is tuned again"
    assert kept == found
    assert not state.exists()


def test_settings_that_a_way_to_tune_does_not_know_are_refused(backbone, capitals) -> None:
    from promptport.tuning import tune_jointly, tune_together

    model = backbone("bert")
    anchored = [TuneJob(capitals, OriginSpec("mixture"), length=2)]
    decayed = replace(CONFIG, weight_decay=0.1)
    with pytest.raises(TuningError, match="weight_decay: expected 0.0, all that tuning of mix"):
        tune(model, anchored, decayed)
    with pytest.raises(TuningError, match="weight_decay: expected 0.0, all that joint tuning"):
        tune_jointly([model, model], anchored, decayed)
    with pytest.raises(TuningError, match="schedule: expected 'constant', all that tuning tog"):
        tune_together(model, [TuneJob(capitals, length=2)] * 2, replace(CONFIG, schedule="linear"))


def test_gradients_do_not_depend_on_the_tokens_of_a_pass(backbone, films) -> None:
    model = backbone("gpt2")
    objective = Objective(model, films, length=2)
    queries = prompted(objective, objective.prepare(films.load("train")).questions)
    start = torch.randn(2, model.width, generator=torch.Generator().manual_seed(0))
    sums, gradients = [], []
    for tokens in (8192, 40):
        leaf = start.clone().requires_grad_(True)
        sums.append(backward(model, queries, leaf, lambda s: s.losses(), batch_tokens=tokens))
        gradients.append(leaf.grad)
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)
