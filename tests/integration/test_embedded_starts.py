"""Starting points on an embedded backbone, with numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.backbone import Backbone
from promptport.evaluation import evaluate
from promptport.library import AdaptConfig, Library, adapt, rank
from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.mixtures import starting_mixture
from promptport.tasks import open_task
from promptport.transfers import transfer_vector, transfer_word_vector
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune
from promptport.vector import TaskPromptVector

TASKS = ("country-capital", "country-continent", "topic")


@pytest.fixture(scope="module")
def model():
    return Backbone.load("nano-bert")


@pytest.fixture(scope="module")
def prompts(model):
    jobs = [TuneJob(_small(t), OriginSpec("vocabulary", 1)) for t in TASKS]
    config = TuneConfig(epochs=5, batch_size=8, patience=0)
    return [result.prompt for result in tune(model, jobs, config)]


def _small(name):
    task = open_task(name)
    parts = {s: task.load(s)[:56] for s in ("train", "dev", "test")}
    return task.with_rows(**parts)


@pytest.mark.slow
def test_ranking_finds_the_prompt_of_the_task(model, prompts) -> None:
    known = dict(zip(TASKS, prompts, strict=True)) | {"random": random_prompt(model, 5, 3)}
    candidates = Library.of(known, {name: open_task(name) for name in TASKS})
    for name in TASKS:
        assert rank(model, candidates, _small(name), labelled=10).best == name
    assert rank(model, candidates, _small("topic")).best == "topic"


@pytest.mark.slow
def test_a_carried_word_vector_beats_a_random_start(model) -> None:
    target = Backbone.load("nano-t5")
    task = _small("country-capital")
    words = tuple(sorted(set(model.space.words) & set(target.space.words)))
    job = TuneJob(task, OriginSpec("mixture", 0, words=words))
    (found,) = tune(model, [job], TuneConfig(epochs=10, patience=0, batch_size=16))
    start = starting_mixture(found.prompt, model.space)
    moved = transfer_word_vector(found.prompt, start, target.space)
    native = make_origin(OriginSpec("mixture", 100), target, 5)
    score = evaluate(target, task, moved.apply(native)).score.value
    chance = evaluate(target, task, replace(random_prompt(target, 5, 0)), template=task.template)
    assert score > chance.score.value + 0.1
    linear = transfer_vector(TaskPromptVector.of(found.prompt), model.space, target.space)
    assert torch.isfinite(linear.delta).all()
    assert linear.width == target.width


@pytest.mark.slow
@pytest.mark.parametrize("name", ["setting", pytest.param("question", marks=pytest.mark.slow)])
def test_a_prompt_without_labels_beats_every_prompt_of_the_library(model, prompts, name) -> None:
    library = {**dict(zip(TASKS, prompts, strict=True)), "random": random_prompt(model, 5, 3)}
    small, whole = _small(name), open_task(name)
    parts = {"train": small.load("train"), "test": whole.load("test")}
    task = small.with_rows(**parts)
    config = AdaptConfig(rows=56, steps=24)

    def score(prompt):
        return evaluate(model, task, prompt, template=task.template).score.value

    scores = {key: score(prompt) for key, prompt in library.items()}
    blind = adapt(model, library, task, config=config)
    assert score(blind.prompt) > max(scores.values()) + 0.02
    seen = adapt(model, library, task, labelled=40, config=config)
    assert score(seen.prompt) > max(scores.values()) + 0.04
