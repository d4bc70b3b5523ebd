"""Rows that name the label before their own are put right, and others left alone."""

from __future__ import annotations

import pytest

from promptport.errors import RecipeError, TaskError
from promptport.recipes.bench import asked_rows
from promptport.recipes.settings import settings_of
from promptport.tasks import MemorySource, Row, Task, Template, rightly_labelled

LABELS = {"Company": ("company",), "School": ("school",), "Book": ("book",)}


def task(**splits: list[tuple[str, str]]) -> Task:
    rows = {
        name: tuple(Row({"text": text}, answer) for text, answer in given)
        for name, given in splits.items()
    }
    return Task(
        name="nlu:dbpedia",
        kind="classification",
        template=Template.parse("{soft} {text} This is a {answer} ."),
        metric="accuracy",
        labels=LABELS,
        source=MemorySource(rows),
    )


MOVED = {
    "train": [("a high school", "Company"), ("a novel", "School")],
    "dev": [("a poem", "School")],
    "test": [],
}


def test_rows_get_the_next_label() -> None:
    mended = rightly_labelled(task(**MOVED))
    assert [row.answer for row in mended.load("train")] == ["School", "Book"]
    assert [row.answer for row in mended.load("dev")] == ["Book"]
    assert [row.fields["text"] for row in mended.load("train")] == ["a high school", "a novel"]
    assert mended.label_names == tuple(LABELS)


def test_a_row_with_the_last_label_anywhere_leaves_all_as_they_are() -> None:
    right = task(**{**MOVED, "test": [("a novel", "Book")]})
    assert rightly_labelled(right) is right


def test_tasks_without_an_order_of_labels_are_refused(capitals: Task) -> None:
    with pytest.raises(TaskError, match="a classification, whose labels have an order"):
        rightly_labelled(capitals)


def test_recipes_ask_for_it_by_name() -> None:
    settings = settings_of({"labels_moved": ["nlu:dbpedia"], "rows": {"train": 1}}, "a recipe")
    assert [row.answer for row in asked_rows(task(**MOVED), settings).load("dev")] == ["Book"]
    others = settings_of({"labels_moved": ["nlu:trec"]}, "a recipe")
    assert [row.answer for row in asked_rows(task(**MOVED), others).load("dev")] == ["School"]
    with pytest.raises(RecipeError, match="'labels_moved': expected a list, got str"):
        settings_of({"labels_moved": "nlu:dbpedia"}, "a recipe")
