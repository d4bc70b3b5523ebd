"""The one forward loop: what it gives does not depend on who shares a batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch

import promptport
from promptport import evaluation
from promptport.backbone import Backbone
from promptport.evaluation import (
    collect_scores,
    evaluate_queries,
    prompted,
    score_batches,
    score_questions,
)
from promptport.objective import Objective
from promptport.tasks import Template, open_task

KINDS = ["bert", "gpt2", "t5"]


def queries_of(model, *parts):
    """Of (task, length, start)."""
    objectives = [(Objective(model, task, length=n), task, at) for task, n, at in parts]
    return [
        query
        for objective, task, at in objectives
        for query in prompted(objective, objective.prepare(task.load("test")).questions, at)
    ]


def vectors_for(model, count=5, seed=3):
    return torch.randn(count, model.width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", KINDS)
def test_mixed_batches_score_as_single_rows(backbone, capitals, films, name) -> None:
    model = backbone(name)
    vectors = vectors_for(model)
    queries = queries_of(model, (capitals, 2, 0), (films, 3, 2))
    together = evaluate_queries(model, queries, vectors)
    for i, query in enumerate(queries):
        alone = evaluate_queries(model, [query], vectors)
        assert alone.predictions == [together.predictions[i]]
        torch.testing.assert_close(alone.losses[0], together.losses[i], rtol=1e-4, atol=1e-4)


def test_batches_keep_their_budget_and_lose_nothing(backbone, films) -> None:
    model = backbone("bert")
    queries = queries_of(model, (films, 2, 0))
    table = vectors_for(model)
    found = score_batches(model, queries, table, batch_tokens=40)
    passes = [list(parts) for parts in found]
    assert len(passes) > 1
    batches = [[i for part in parts for i in part.places] for parts in passes]
    assert sorted(chain.from_iterable(batches)) == list(range(6))
    for batch in batches:
        inputs = sum(len(queries[i].question.inputs) for i in batch)
        longest = max(queries[i].question.tokens for i in batch)
        assert len(batch) == 1 or inputs * longest <= 40


def test_a_pass_is_split_by_objective_and_places_are_those_of_the_questions(
    backbone, capitals, films
) -> None:
    model = backbone("bert")
    queries = queries_of(model, (capitals, 2, 0), (films, 3, 2))
    (parts,) = score_batches(model, queries, vectors_for(model))
    found = list(parts)
    assert [part.objective.task.name for part in found] == ["films", "capitals"]
    for part in found:
        assert part.questions == [queries[i].question for i in part.places]
        assert part.starts == [queries[i].start for i in part.places]
        assert {id(queries[i].objective) for i in part.places} == {id(part.objective)}


@pytest.mark.parametrize("name", KINDS)
def test_prompts_of_their_own_are_those_of_the_questions(backbone, films, name) -> None:
    model = backbone(name)
    queries = queries_of(model, (films, 2, 0))
    tables = [vectors_for(model, 2, seed) for seed in range(len(queries))]

    def own(places):
        return torch.cat([tables[i] for i in places]), [2 * j for j in range(len(places))]

    together = collect_scores(model, queries, own, of_batch=lambda scores: scores.log_softmax(1))
    for query, table, row in zip(queries, tables, together, strict=True):
        (alone,) = score_questions(model, [query], table)
        torch.testing.assert_close(row, alone.scores().log_softmax(1)[0], rtol=1e-4, atol=1e-4)


def test_gradients_flow_into_the_table(backbone, films) -> None:
    model = backbone("gpt2")
    table = vectors_for(model).requires_grad_(True)
    queries = queries_of(model, (films, 2, 3))
    torch.stack([s.losses().sum() for s in score_questions(model, queries, table)]).sum().backward()
    assert float(table.grad[3:].norm()) > 0
    assert float(table.grad[:3].norm()) == 0


def test_nothing_else_puts_questions_to_a_backbone() -> None:
    root = Path(promptport.__file__).parent
    users = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if "answer_logits(" in file.read_text(encoding="utf-8")
    }
    # The last two ask rows that are no questions of a task: a harness its texts, a check its rows.
    assert users == {
        *("evaluation.py", "backbone/model.py"),
        *("serving/harness.py", "engines/checking.py"),
    }


def test_passes_are_bounded_in_logits(monkeypatch):
    gpt2 = Backbone.load("nano-gpt2")
    task = open_task("sentiment")
    objective = Objective(gpt2, task, Template.parse("{text} It was {answer} ."))
    prepared = objective.prepare(task.load("dev")[:20])
    queries = evaluation.prompted(objective, prepared.questions)
    words = len(gpt2.tokenizer)
    whole = evaluation._batches(queries, 8192, words)
    assert len(whole) == 1
    monkeypatch.setattr(evaluation, "MOST_LOGITS", 4 * words)
    few = evaluation._batches(queries, 8192, words)
    assert [len(batch) for batch in few] == [4] * 5
    assert sorted(i for batch in few for i in batch) == list(range(20))


def test_passes_of_large_models_end_where_rows_get_much_shorter():
    gpt2 = Backbone.load("nano-gpt2")
    task = open_task("sentiment")
    objective = Objective(gpt2, task, Template.parse("{text} It was {answer} ."))
    rows = task.load("train")[:1]
    texts = [("a good film " * count).strip() for count in (40, 39, 30, 20, 10, 5, 1)]
    long = [replace(rows[0], fields={"text": text}) for text in texts for _ in range(6)]
    queries = prompted(objective, objective.prepare(long).questions)
    lengths = [query.question.tokens for query in queries]

    def waste(batches):
        padded = sum(len(own) * max(lengths[i] for i in own) for own in batches)
        return 1 - sum(lengths) / padded

    whole = evaluation._batches(queries, 8192, 100)
    even = evaluation._batches(queries, 8192, 100, lengths)
    assert len(whole) == 1
    assert sorted(i for own in even for i in own) == list(range(len(queries)))
    assert waste(whole) > 0.4
    assert waste(even) < 0.25
    for own in even[:-1]:  # each but the last keeps a processor busy
        assert len(own) * max(lengths[i] for i in own) >= evaluation._BUSY_TOKENS


def test_texts_that_are_kept_do_not_split_a_pass(monkeypatch):
    """What is passed is the same few tokens for each row, however long its text is."""
    monkeypatch.setattr(evaluation, "_EVEN_FROM", 0)
    monkeypatch.setattr(evaluation, "_BUSY_TOKENS", 16)
    gpt2 = Backbone.load("nano-gpt2")
    task = open_task("sentiment")
    template = Template.parse("{text} {soft} It was {answer} .")
    objective = Objective(gpt2, task, template, length=2)
    rows = task.load("train")[:1]
    texts = [("a good film " * count).strip() for count in (30, 20, 10, 5)]
    long = [replace(rows[0], fields={"text": text}) for text in texts for _ in range(3)]
    queries = prompted(objective, objective.prepare(long).questions)
    vectors = vectors_for(gpt2, 2)

    def passes():
        return [
            [s for own in parts for s in own.places]
            for parts in evaluation.score_batches(gpt2, queries, vectors)
        ]

    apart = passes()
    with gpt2.keeping_texts():
        together = passes()
    assert [len(own) for own in apart] == [3] * 4
    assert [len(own) for own in together] == [12]
