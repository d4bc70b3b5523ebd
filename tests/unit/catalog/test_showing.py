"""What pages show of a record: scores with intervals, history, curve; records of others too."""

from __future__ import annotations

import pytest
from tests.unit.catalog.conftest import made

from promptport import Catalog, save_prompt
from promptport.catalog.showing import curve_of, history_sentences, score_facts


def entry_of(tmp_path, **provenance):
    save_prompt(made(1).with_provenance(**provenance), tmp_path / "lib" / "p")
    return Catalog.open(tmp_path / "lib").entries[0]


def test_scores_have_intervals_where_rows_are_known(tmp_path) -> None:
    tuning = {"dev_score": 0.75, "dev_rows": 16, "metric": "accuracy"}
    earlier = {"step": "align", "source": "nano-t5", "tuning": {"dev_score": 0.5}}
    own, before = score_facts(entry_of(tmp_path, tuning=tuning, history=(earlier,)))
    # Wilson (1927) of 12 of 16.
    assert (own.value, own.rows) == (0.75, 16)
    assert own.low == pytest.approx(0.5050, abs=1e-4)
    assert own.high == pytest.approx(0.8982, abs=1e-4)
    assert own.text == "0.75 (0.51 to 0.90), accuracy on 16 dev rows"
    assert (before.whose, before.text) == ("before, on nano-t5", "0.50, score on dev rows")
    assert before.low is None


@pytest.mark.parametrize("tuning", [None, {}, {"dev_score": "high"}, {"dev_score": None}])
def test_no_score_is_none(tmp_path, tuning) -> None:
    assert score_facts(entry_of(tmp_path, tuning=tuning)) == []


def test_a_curve_is_read_from_the_record(tmp_path) -> None:
    rows = [[1, 2.0, 1.5, 0.25], [2, 1.0, 1.25, 0.5]]
    curve = curve_of(entry_of(tmp_path, tuning={"curve": rows, "best_epoch": 2}))
    assert curve is not None
    assert (curve.epochs, curve.train, curve.dev) == ((1, 2), (2.0, 1.0), (1.5, 1.25))
    assert (curve.scores, curve.best) == ((0.25, 0.5), 2)


@pytest.mark.parametrize(
    "rows", [None, 3, [], [[1, 2, 3, 4]], [[1, 2], [3, 4]], [[1, "a", 2, 3]] * 2]
)
def test_what_is_no_curve_is_none(tmp_path, rows) -> None:
    assert curve_of(entry_of(tmp_path, tuning={"curve": rows})) is None


def test_the_history_is_told_in_sentences(tmp_path) -> None:
    entry = entry_of(
        tmp_path,
        task="topic",
        origin={"kind": "vocabulary", "seed": 3},
        tuning={"steps": 12, "train_rows": 60},
        history=({"step": "align", "rows": 8, "labels_used": False},),
    )
    tuned, aligned = history_sentences(entry)
    assert tuned == (
        "Tuned on nano-bert for the task topic, from rows of random words, seed 3: 12 updates on "
        "60 labelled rows."
    )
    assert aligned.startswith("Aligned: learned the answers of its source")
    assert aligned.endswith("No label was read.")


def test_numbers_that_no_float_holds_are_no_scores(tmp_path) -> None:
    for huge in ({"dev_score": 10**400}, {"dev_score": 0.5, "dev_rows": 10**400}):
        save_prompt(made(1, task="t", tuning=huge), tmp_path / "P")
        (entry,) = Catalog.open(tmp_path / "P").entries
        told = score_facts(entry)
        assert [fact.low for fact in told] == [None] * len(told)
