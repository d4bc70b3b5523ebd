"""The forecast: agreement on unlabelled text, the formula, and that labels are never used."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import exp

import pytest
import torch

from promptport.analysis import forecast_pair, forecast_pairs
from promptport.analysis.forecast import COEFFICIENTS, _features, probability_kept, verdict
from promptport.backbone import Backbone
from promptport.errors import MismatchError, PromptPortError, ShapeError, TaskError
from promptport.evaluation import evaluate
from promptport.library import TaskPrompt
from promptport.merging import merge
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import open_task
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.vector import TaskPromptVector

N = 3
MODELS = ["bert", "gpt2", "t5"]


def made(model, task, *, seed=0, size=1.0, length=N):
    """A prompt and its origin, both at random."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(length, model.width, generator=generator)
    delta = size * torch.randn(length, model.width, generator=generator)
    provenance = Provenance(model.name, model.kind, fingerprint=model.space.fingerprint)
    return SoftPrompt(start + delta, replace(provenance, task=task.name), start)


def with_other_answers(task, answer):
    changed = tuple(replace(row, answer=answer) for row in task.load("train"))
    return task.with_rows(train=changed)


@pytest.fixture(params=MODELS)
def model(request, backbone):
    return backbone(request.param)


def test_a_vector_of_zeros_leaves_every_answer(model, capitals, films) -> None:
    first, nothing = made(model, capitals), made(model, films, size=0.0)
    found = forecast_pair(model, TaskPrompt(first, capitals), TaskPrompt(nothing, films))
    own = found.tasks[0]
    assert (own.task, own.verdict, own.rows) == ("capitals", "kept", 6)
    assert (own.agreement.value, own.agreement.high) == (1, 1)
    assert own.agreement.low == pytest.approx(1 / (1 + 1.96**2 / 6), abs=1e-4)  # Wilson, 6 of 6
    assert own.kl == pytest.approx(0, abs=1e-5)
    assert own.confidence > 0.9
    assert own.features["norm_ratio"] == -1  # nothing against something
    assert found.tasks[1].features["norm_ratio"] == 1
    assert found.label_overlap is None
    assert found.similarity["cosine"] == 0


@pytest.fixture(scope="module")
def trained():
    """The tiny random models answer alike whatever the prompt; this one does not."""
    return Backbone.load("nano-bert", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pair(trained):
    """Two tuned prompts of one origin, and their sum."""
    tasks = [open_task("country-capital"), open_task("country-continent")]
    jobs = [TuneJob(task, OriginSpec("vocabulary", 0)) for task in tasks]
    prompts = [result.prompt for result in tune(trained, jobs, TuneConfig(epochs=3))]
    both = TaskPromptVector.of(prompts[0]) + TaskPromptVector.of(prompts[1])
    parts = [TaskPrompt(prompt, task) for prompt, task in zip(prompts, tasks, strict=True)]
    return parts, both.apply(prompts[0].origin)


def said(model, part, prompt):
    """Log-probabilities of every token for the dev rows, one by one, with their own answers."""
    objective = Objective(model, part.task, length=prompt.length)
    questions = objective.prepare(part.task.load("dev")).questions
    with torch.no_grad():
        rows = [model.answer_logits(q.inputs, prompt.vectors, [0])[0, 0] for q in questions]
    return torch.stack(rows).log_softmax(1)


@pytest.mark.long
def test_agreement_and_divergence_of_the_answers(trained, pair) -> None:
    parts, combined = pair
    found = forecast_pair(trained, *parts, split="dev")
    shares = []
    for part, one in zip(parts, found.tasks, strict=True):
        alone, mixed = said(trained, part, part.prompt), said(trained, part, combined)
        assert one.rows == len(alone)
        equal = (alone.argmax(1) == mixed.argmax(1)).float().mean()
        assert one.agreement.value == pytest.approx(float(equal))
        assert one.agreement.low <= one.agreement.value <= one.agreement.high
        kl = torch.nn.functional.kl_div(mixed, alone, log_target=True, reduction="batchmean")
        assert one.kl == pytest.approx(float(kl), rel=1e-3)
        shares.append(float(equal))
    assert min(shares) < 1


@pytest.mark.long
def test_the_forecast_comes_true(trained, pair) -> None:
    parts, combined = pair
    for part, one in zip(parts, forecast_pair(trained, *parts).tasks, strict=True):
        alone = evaluate(trained, part.task, part.prompt).score.value
        kept = evaluate(trained, part.task, combined).score.value / alone
        assert one.verdict != ("lost" if kept > 0.8 else "kept")


def test_a_vector_against_its_negative_goes_back_to_the_origin(backbone, capitals) -> None:
    model = backbone("gpt2")
    first = made(model, capitals, size=10)
    against = replace(first, vectors=2 * first.origin - first.vectors)
    found = forecast_pair(model, TaskPrompt(first, capitals), TaskPrompt(against, capitals))
    assert found.similarity["cosine"] == pytest.approx(-1)
    assert found.similarity["sign_conflict"] == 1
    assert found.similarity["subspace_overlap"] == pytest.approx(1)
    explicit = forecast_pair(
        model,
        TaskPrompt(first, capitals),
        TaskPrompt(against, capitals),
        combined=replace(first, vectors=first.origin),
    )
    assert explicit.tasks[0].kl == pytest.approx(found.tasks[0].kl, rel=0.01)


@pytest.mark.parametrize(("name", "answer"), [("capitals", "Rome"), ("films", "good")])
def test_labels_are_not_used(model, request, name, answer) -> None:
    task = request.getfixturevalue(name)
    first, second = made(model, task, seed=1), made(model, task, seed=2)
    honest = forecast_pair(model, TaskPrompt(first, task), TaskPrompt(second, task))
    changed = with_other_answers(task, answer)
    assert forecast_pair(model, TaskPrompt(first, changed), TaskPrompt(second, changed)) == honest


def test_combination_of_another_length(backbone, capitals, films) -> None:
    model = backbone("gpt2")
    first, second = made(model, capitals, seed=1), made(model, films, seed=2)
    longer = made(model, films, seed=3, length=2 * N)
    parts = TaskPrompt(first, capitals), TaskPrompt(second, films)
    found = forecast_pair(model, *parts, combined=longer, rows=4)
    assert [t.rows for t in found.tasks] == [4, 4]
    assert found != forecast_pair(model, *parts, rows=4)


def test_every_pair_of_a_library(backbone, capitals, films, monkeypatch) -> None:
    model = backbone("gpt2")
    parts = {
        "a": TaskPrompt(made(model, capitals, seed=1), capitals),
        "b": TaskPrompt(made(model, films, seed=2, size=0.1), films),
        "c": TaskPrompt(made(model, films, seed=3, size=10), films),
        "d": TaskPrompt(made(model, capitals, seed=4, size=0.0), capitals),
    }
    single = {
        (a, b): forecast_pair(model, parts[a], parts[b], rows=4)
        for a, b in itertools.combinations(parts, 2)
    }
    passes, steps = [], []
    answers = Backbone.answer_logits
    monkeypatch.setattr(
        Backbone, "answer_logits", lambda *given: passes.append(1) or answers(*given)
    )
    found = forecast_pairs(model, parts, rows=4, progress=lambda *step: steps.append(step))
    assert found == single
    danger = [one.weakest.probability for one in found.values()]
    assert danger == sorted(danger)
    for one in found.values():
        assert one.weakest.probability == min(task.probability for task in one.tasks)
        assert one.to_dict()["verdict"] == one.weakest.verdict
    # One pass for each prompt alone, and two for each of the six sums.
    assert (len(passes), steps[-1]) == (4 + 12, (12, 12))
    with pytest.raises(PromptPortError, match="two prompts or more, got 1"):
        forecast_pairs(model, {"a": parts["a"]})


@pytest.mark.parametrize("way", ["sum", "mean", "select", "ties"])
def test_only_combinations_that_were_measured_have_a_record(backbone, capitals, films, way) -> None:
    model = backbone("gpt2")
    first, second = (
        replace(made(model, task, seed=seed), origin=torch.zeros(N, model.width))
        for task, seed in ((capitals, 1), (films, 2))
    )
    vectors = [TaskPromptVector.of(prompt) for prompt in (first, second)]
    parts = TaskPrompt(first, capitals), TaskPrompt(second, films)

    def way_of(*given, method=way, origin=first.origin):
        combined = merge(*given, method=method).apply(origin)
        return forecast_pair(model, *parts, combined=combined, rows=1).way

    known = None if way == "ties" else way
    assert way_of(vectors) == way_of(vectors[::-1]) == known
    assert way_of(vectors, [0.5, 1]) is None
    assert way_of([*vectors, vectors[0]]) is None
    assert way_of(vectors, origin=torch.ones(N, model.width)) is None
    assert forecast_pair(model, *parts, combined=first, rows=1).way is None


def test_verdicts_of_the_formula() -> None:
    assert verdict(0.75) == ("kept", 0.75)
    assert verdict(0.25) == ("lost", 0.75)
    assert verdict(0.5) == ("at risk", None)
    assert verdict(0.6) == ("at risk", None)
    nothing = dict.fromkeys(COEFFICIENTS, 0.0)
    logit = COEFFICIENTS["intercept"]
    assert probability_kept(nothing) == pytest.approx(1 / (1 + exp(-logit)))
    logit += COEFFICIENTS["agreement"] * 0.6 + COEFFICIENTS["kl"] * 0.5
    found = probability_kept({**nothing, "agreement": 0.6, "kl": 0.5})
    assert found == pytest.approx(1 / (1 + exp(-logit)))


@pytest.mark.parametrize("labels", [0, 2, 5])
@pytest.mark.parametrize("ratio", [0.0, 1e-3, 1.0, 1e3, float("inf")])
def test_more_agreement_never_makes_it_worse(labels, ratio) -> None:
    alike = dict.fromkeys(("cosine", "token_cosine", "subspace_overlap", "label_overlap"), 0.0)
    alike |= {"sign_conflict": 0.5, "norm_ratio": ratio}

    def likely(agreement, kl):
        return probability_kept(_features(agreement, kl, labels, alike))

    shares = [likely(a, 0.2) for a in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert shares == sorted(shares)
    assert likely(0.8, 0.1) > likely(0.8, 0.9)
    assert verdict(likely(1 / labels if labels else 0.0, 50.0))[0] == "lost" or ratio < 1
    assert verdict(likely(1.0, 0.0))[0] == "kept"


def test_what_cannot_be_forecast(backbone, capitals, films) -> None:
    model = backbone("bert")
    first, second = (
        TaskPrompt(made(model, capitals), capitals),
        TaskPrompt(made(model, films), films),
    )
    with pytest.raises(MismatchError, match="expected an origin"):
        forecast_pair(model, TaskPrompt(replace(first.prompt, origin=None), capitals), second)
    with pytest.raises(ShapeError, match="same number of virtual tokens"):
        forecast_pair(model, first, TaskPrompt(made(model, films, length=N + 1), films))
    with pytest.raises(MismatchError):
        forecast_pair(backbone("roberta"), first, second)
    with pytest.raises(TaskError, match="rows: expected 1 or more, got 0"):
        forecast_pair(model, first, second, rows=0)
    written = replace(capitals, kind="text2text", metric="exact-match")
    with pytest.raises(TaskError, match="got text to text"):
        forecast_pair(model, first, TaskPrompt(second.prompt, written))
