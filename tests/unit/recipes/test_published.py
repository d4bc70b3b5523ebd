"""Published numbers: known values, ranges, and how they are asked for."""

from __future__ import annotations

from collections import Counter

import pytest

from promptport.errors import FileFormatError, UnknownNameError
from promptport.recipes.published import PAPERS, published
from promptport.recipes.published.reading import read_rows
from promptport.tasks import tpv_names

BOTH = "bert-base-cased + roberta-base"


def one(**asked):
    (row,) = published(**asked)
    return row


@pytest.mark.parametrize(
    ("asked", "value", "evidence"),
    [
        ({"table": "reference", "target": "roberta-base", "method": "tuned"}, 46.24, "rev"),
        ({"table": "reference", "target": "albert-base-v2", "method": "manual"}, 18.63, "rev"),
        ({"table": "transfer", "target": "bert-large-cased", "method": "copy"}, 0.49, "rev"),
        ({"table": "transfer", "target": "roberta-base", "source": BOTH}, 43.83, "rev"),
        ({"table": "other-tasks", "method": "paper"}, 84.6, "blog"),
    ],
)
def test_zero_shot_transfer(asked, value, evidence):
    row = one(paper="zero-shot-transfer", **asked)
    assert (row.value, row.evidence, row.reference) == (value, evidence, "arXiv 2310.01691")


@pytest.mark.parametrize(
    ("asked", "value", "spread"),
    [
        ({"table": "cross-origin", "task": "tpv:trec", "method": "other"}, 26.5, 18.2),
        ({"table": "cross-origin", "task": "tpv:dbpedia", "method": "own"}, 99.1, 0.0),
        (
            {
                "table": "pairs", "task": "tpv:trec", "metric": "kept",
                "source": "tpv:qnli + tpv:trec",
            },
            15.6, 17,
        ),
        (
            {
                "table": "pairs", "metric": "coefficient",
                "source": "tpv:dbpedia + tpv:yelp",
            },
            0.835, None,
        ),
        (
            {"table": "few-shot", "task": "tpv:scitail", "method": "sum", "shots": 0},
            71.5, 0.8,
        ),
        ({"table": "few-shot", "task": "tpv:yahoo", "method": "attempt", "shots": 100}, 8.1, None),
        ({"table": "curves", "task": "tpv:yahoo", "method": "random", "shots": 25}, 6.9, None),
        (
            {
                "table": "cosines", "task": "tpv:squad_v2",
                "model": "meta-llama/Llama-3.1-8B-Instruct",
            },
            0.89, None,
        ),
    ],
)  # fmt: skip
def test_task_prompt_vectors(asked, value, spread):
    row = one(paper="task-prompt-vectors", **asked)
    assert (row.value, row.spread) == (value, spread)


def test_post():
    row = one(paper="post", task="trec", method="paper", source="2 layers distilled from llama2-7b")
    assert (row.value, row.on) == (18.22, "llama2-7b")


def test_how_many_there_are():
    counts = Counter((row.paper, row.table) for row in published())
    assert counts == {
        ("zero-shot-transfer", "reference"): 7,
        ("zero-shot-transfer", "transfer"): 23,
        ("zero-shot-transfer", "other-tasks"): 2,
        ("post", "table-5"): 28,
        ("post", "sst2"): 4,
        ("task-prompt-vectors", "cross-origin"): 14,
        ("task-prompt-vectors", "cross-origin-drafts"): 4,
        ("task-prompt-vectors", "cross-origin-numbers"): 4,
        ("task-prompt-vectors", "llama"): 8,
        ("task-prompt-vectors", "pairs"): 15 * 4 + 15,
        ("task-prompt-vectors", "few-shot"): 6 * 5 * 2 + 4 * 2 + 4,
        ("task-prompt-vectors", "curves"): 6 * 3 * 9 + 2 * 3,
        ("task-prompt-vectors", "cosines"): 26 + 3 + 8,
    }


def test_values_are_in_their_ranges_and_tasks_exist():
    known = {f"tpv:{name}" for name in tpv_names()}
    for row in published():
        top = 1 if row.metric in ("cosine", "coefficient") else 100
        assert 0 <= row.value <= top, row
        assert row.on
        assert row.spread is None or 0 <= row.spread < 30
        if row.paper == "task-prompt-vectors":
            named = (row.task if row.task.startswith("tpv:") else "").split(" + ")
            sources = (row.source or "").split(" + ")
            assert {*named, *sources} - {""} <= known, row


def test_tables_agree_with_each_other():
    """The sums of the few-shot table are the first and sixth points of the curves."""
    for row in published(table="few-shot", method=["sum", "random"]):
        curve = one(table="curves", task=row.task, method=row.method, shots=row.shots)
        assert curve.value == row.value
    pairs = published(table="pairs", metric="kept")
    assert len({row.source for row in pairs}) == 15
    assert len({row.source for row in pairs if row.value < 20}) == 8  # pairs that lose a task
    own = [row.value for row in published(table="cross-origin", method="own", n=10)]
    assert round((sum(own) - 95.5) / 5, 1) == 93.8


def test_asking():
    assert published(table="transfer", target="t5-base") == ()
    assert len(published(paper="task-prompt-vectors", table="curves", shots=(0, 5))) == 30
    assert "note" not in one(table="other-tasks", method="paper").to_dict()
    with pytest.raises(UnknownNameError, match="Did you mean 'task-prompt-vectors'"):
        published(paper="task-vectors")
    with pytest.raises(UnknownNameError, match="a table .*got 'pair'. Did you mean 'pairs'"):
        published(table="pair")
    with pytest.raises(UnknownNameError, match="a field .*got 'shot'. Did you mean 'shots'"):
        published(shot=5)


@pytest.mark.parametrize(("change", "message"), [
    ("paper: nobody", "row 1: expected a paper among"),
    ("evidence: guess", "row 1: expected evidence among"),
    ("value: many", "row 1: expected a number as value"),
    ("colour: red", "row 1: expected the keys"),
])  # fmt: skip
def test_damaged_rows(tmp_path, change, message):
    key, _, value = change.partition(": ")
    row = {
        "paper": next(iter(PAPERS)), "table": "t", "task": "a", "method": "m", "metric": "p@1",
        "value": "1.0", "evidence": "raw", key: value,
    }  # fmt: skip
    (tmp_path / "x.yaml").write_text("- {" + ", ".join(f"{k}: {v}" for k, v in row.items()) + "}")
    with pytest.raises(FileFormatError, match=message):
        list(read_rows(tmp_path / "x.yaml"))
