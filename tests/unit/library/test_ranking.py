"""Ranking a library for a new task: with labels, without labels, and what was read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from promptport.errors import MismatchError, PromptPortError, TaskError
from promptport.evaluation import evaluate
from promptport.library import Library, rank
from promptport.library.ranking import information, label_similarity
from promptport.tuning import random_prompt


def library(model, count=4, length=2):
    return {f"p{i}": random_prompt(model, length, i) for i in range(count)}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_by_labels_is_the_order_of_the_losses(backbone, films, kind) -> None:
    model = backbone(kind)
    candidates = library(model)
    found = rank(model, candidates, films, labelled=6)
    losses = {
        name: evaluate(model, films, own, template=films.template, split="train").loss
        for name, own in candidates.items()
    }
    assert [e.name for e in found.entries] == sorted(losses, key=lambda name: losses[name])
    for entry in found.entries:
        assert entry.measures["loss"] == pytest.approx(losses[entry.name], abs=1e-5)
    assert found.touched == "6 labelled rows of train"
    assert found.by == "labels"


def test_without_labels_the_labels_make_no_difference(backbone, films) -> None:
    model = backbone("bert")
    turned = tuple(
        replace(row, answer="bad" if row.answer == "good" else "good")
        for row in films.load("train")
    )
    other = films.with_rows(train=turned)
    ours, theirs = (rank(model, library(model), task) for task in (films, other))
    assert ours == theirs
    assert ours.touched == "the text of 6 rows of train, no labels"
    assert ours.best == ours.entries[0].name


def test_prompts_of_two_lengths_and_probes(backbone, capitals) -> None:
    model = backbone("bert")
    mixed = {**library(model, 2), "long": random_prompt(model, 3, 9)}
    found = rank(model, mixed, capitals)
    assert {e.name for e in found.entries} == {"p0", "p1", "long"}
    assert all(math.isfinite(e.score) for e in found.entries)
    single = rank(model, {"long": mixed["long"]}, capitals).entries[0]
    both = next(e for e in found.entries if e.name == "long")
    assert single.measures["confidence"] == pytest.approx(both.measures["confidence"], abs=1e-5)


def test_information_by_hand() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).clamp_min(1e-30).log()
    same = torch.full((2, 2), 0.5).log()
    constant = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).clamp_min(1e-30).log()
    assert information(sure) == pytest.approx(1.0)
    assert information(same) == pytest.approx(0.0, abs=1e-6)
    assert information(constant) == pytest.approx(0.0, abs=1e-6)
    mixed = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert information(mixed) == pytest.approx(1 - entropy / math.log(2), abs=1e-6)


def test_label_words(backbone, films, capitals) -> None:
    model = backbone("bert")
    assert label_similarity(model, films, films) == pytest.approx(1.0, abs=1e-5)
    assert label_similarity(model, None, films) is None
    assert label_similarity(model, capitals, films) is None
    known = Library.of(library(model, 2), {"p1": films})
    entries = {entry.name: entry for entry in rank(model, known, films).entries}
    assert entries["p0"].measures["label_words"] is None
    assert entries["p1"].measures["label_words"] == pytest.approx(1.0, abs=1e-5)


def test_the_verdict_says_how_far_to_trust_the_order(backbone, films) -> None:
    model = backbone("bert")
    assert "only prompt" in rank(model, library(model, 1), films).verdict
    assert "lowest loss" in rank(model, library(model), films, labelled=4).verdict
    blind = rank(model, library(model), films)
    assert "hardly decide" in blind.verdict
    assert blind.to_dict()["verdict"] == blind.verdict


def test_bad_input(backbone, films) -> None:
    model = backbone("bert")
    with pytest.raises(PromptPortError, match="library: expected one prompt or more"):
        rank(model, {}, films)
    with pytest.raises(PromptPortError, match="labelled: expected 0 to 6, .*, got -1"):
        rank(model, library(model), films, labelled=-1)
    with pytest.raises(PromptPortError, match="labelled: expected 0 to 6, .*, got 7"):
        rank(model, library(model), films, labelled=7)
    with pytest.raises(PromptPortError, match="split: expected train or dev, got test"):
        rank(model, library(model), films, split="test")
    with pytest.raises(MismatchError):
        rank(model, {"x": random_prompt(backbone("gpt2"), 2, 0)}, films)
    text = replace(films, kind="text2text", labels=None, metric="exact-match")
    with pytest.raises(TaskError, match="--labelled"):
        rank(model, library(model), text)
