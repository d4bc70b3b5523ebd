"""Searching by what a task needs: two looks, kept answers, what is left out."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
import torch

from promptport import Catalog, Library, PromptPortError
from promptport.catalog.kept_answers import ANSWERS_FILE
from promptport.errors import MismatchError, TaskError
from promptport.evaluation import collect_scores, prompted
from promptport.library import rank, searching
from promptport.library.probes import Probes, packed, probe_texts, unpacked
from promptport.library.searching import search_by_task
from promptport.objective import Objective, blind_rows
from promptport.storage import save_prompt, save_vector
from promptport.tasks import Row
from promptport.tuning import random_prompt
from promptport.vector import TaskPromptVector


def strong(model, seed, length=2, **provenance):
    """A prompt that answers in its own way."""
    made = random_prompt(model, length, seed)
    return replace(made, vectors=made.vectors * 4).with_provenance(**provenance)


@pytest.fixture
def place(backbone, tmp_path):
    model = backbone("bert")
    for seed in range(5):
        save_prompt(strong(model, seed, task="topic"), tmp_path / "lib" / f"p{seed}")
    return tmp_path / "lib"


def test_where_all_are_asked_it_is_the_ranking(place, backbone, films) -> None:
    model = backbone("bert")
    found = search_by_task(Catalog.open(place), model, films)
    ranking = rank(model, Library.open(place), films)
    assert [own.name for own in found.entries] == [own.name for own in ranking.entries]
    for own, ranked in zip(found.entries, ranking.entries, strict=True):
        assert own.score == pytest.approx(ranked.score, abs=2e-3), "kept in half precision"
        assert (own.by, own.task) == ("texts", "topic")
    assert (found.asked, found.reused, found.texts) == (5, 0, 6)


def test_a_second_search_asks_less_and_says_the_same(place, backbone, films, monkeypatch) -> None:
    model, catalog = backbone("bert"), Catalog.open(place)
    first = search_by_task(catalog, model, films, shortlist=2)
    assert (first.asked, first.reused) == (5 + 2, 0)
    assert [own.by for own in first.entries] == ["texts"] * 2 + ["probes"] * 3

    def refuse(*_):
        raise AssertionError("a prompt was loaded")

    monkeypatch.setattr(searching, "load_prompt", refuse)
    again = search_by_task(Catalog.open(place), model, films, shortlist=2)
    assert again.entries == first.entries
    assert (again.asked, again.reused) == (0, 7)
    monkeypatch.undo()
    # Another task: the probe texts are not asked again. Other words for a label are another task.
    other = replace(films, labels={"good": ("red",), "bad": ("blue",)})
    other_found = search_by_task(catalog, model, other, shortlist=2)
    assert (other_found.asked, other_found.reused) == (2, 5)
    (place / ANSWERS_FILE).unlink()
    assert search_by_task(catalog, model, films, shortlist=2) == first


def test_answers_of_other_values_or_weights_do_not_count(place, backbone, films) -> None:
    model = backbone("bert")
    search_by_task(Catalog.open(place), model, films, shortlist=2)
    save_prompt(strong(model, 77, task="topic"), place / "p0")
    found = search_by_task(Catalog.open(place, index=False), model, films, shortlist=2)
    assert found.asked in (1, 2), "the probe texts; and the task's, if it is among the first"
    parameter = next(p for n, p in model.model.named_parameters() if "encoder" in n)
    old = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.add_(0.01)
        other = search_by_task(Catalog.open(place), model, films, shortlist=2)
        assert other.asked == 7, "the same embedding matrix, other weights behind it"
    finally:
        with torch.no_grad():
            parameter.copy_(old)


def test_damaged_answers_are_asked_anew(place, backbone, films) -> None:
    model = backbone("bert")
    first = search_by_task(Catalog.open(place), model, films, shortlist=2)
    with sqlite3.connect(place / ANSWERS_FILE) as database:
        database.execute("UPDATE kept SET value = ?", (b"damaged!!",))
    again = search_by_task(Catalog.open(place), model, films, shortlist=2)
    assert again == first


def test_equal_ones_vectors_and_damaged_ones_are_left_out(place, backbone, films) -> None:
    model = backbone("bert")
    save_prompt(strong(model, 1, task="emotion"), place / "twin")
    start = random_prompt(model, 2, 9)
    save_vector(TaskPromptVector.of(replace(start, origin=start.vectors * 0)), place / "vector")
    weights = place / "p3" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    found = search_by_task(Catalog.open(place), model, films)
    assert {own.name for own in found.entries} == {"p0", "p1", "p2", "p4"}
    told = " ".join(found.notes)
    assert "the same values as p1: twin" in told
    assert "p3/adapter_model.safetensors: expected the values that were saved" in told
    assert "no prompts: 1 vectors" in told


def test_probes_read_for_labels_are_what_the_model_says(backbone, films) -> None:
    model = backbone("bert")
    films = replace(films, labels={"good": ("good", "happy"), "bad": ("bad",)})
    prompt = strong(model, 3)
    probes = Probes(model)
    said = probes.read_for(films, probes.ask({"p": prompt}))["p"]
    # By hand: the labels of the task in the template of the probes, words of one token each.
    there = {w for words in films.labels.values() for w in words}
    assert there <= {w for w, number in model.space.words.items() if number in probes.ids}
    asked = replace(films, template=probes.task.template)
    objective = Objective(model, asked, length=2, truncate=True)
    rows = blind_rows([Row({"text": t}, "") for t in probe_texts()], objective)
    queries = prompted(objective, objective.prepare(rows).questions)
    wanted = collect_scores(
        model, queries, prompt.vectors, of_batch=lambda scores: scores.log_softmax(1)
    )
    assert torch.allclose(said, wanted, atol=1e-4)
    assert unpacked(packed(said)).sub(said).abs().max() < 5e-3
    for damaged in (b"", b"x" * 7, packed(said)[:-1], packed(said)[:-2], b"\xff" * 10):
        assert unpacked(damaged) is None


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_other_models_and_probes(backbone, capitals, films, tmp_path, kind) -> None:
    model = backbone(kind)
    for seed in range(3):
        save_prompt(strong(model, seed, 1 + seed % 2), tmp_path / f"p{seed}")
    for task in (capitals, films):
        found = search_by_task(Catalog.open(tmp_path), model, task, shortlist=1)
        assert {own.name for own in found.entries} == {"p0", "p1", "p2"}
        assert [own.by for own in found.entries] == ["texts", "probes", "probes"]


def test_what_cannot_be_searched(place, backbone, films) -> None:
    catalog = Catalog.open(place)
    with pytest.raises(MismatchError, match="library: expected prompts of"):
        search_by_task(catalog, backbone("gpt2"), films)
    with pytest.raises(PromptPortError, match="--shortlist: expected 1 or more"):
        search_by_task(catalog, backbone("bert"), films, shortlist=0)
    with pytest.raises(PromptPortError, match="--rows: expected 2 or more"):
        search_by_task(catalog, backbone("bert"), films, rows=1)
    story = replace(films, kind="text2text", metric="exact-match", labels=None)
    with pytest.raises(TaskError):
        search_by_task(catalog, backbone("bert"), story)
