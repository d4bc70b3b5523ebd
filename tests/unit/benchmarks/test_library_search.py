"""How the benchmark of searching counts hits."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.library.search import at_random, hits
from benchmarks.task_vectors.fewshot import cells_of


def case(scores, said):
    return {"place": "p", "target": "t", "scores": scores, "ways": {"way": said}}


SCORES = {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1}


def test_hits_by_hand() -> None:
    right = hits([case(SCORES, {"a": 3, "b": 2, "c": 1})], "way")
    assert right == {"1": 1.0, "3": 1.0, "behind": 0.0}
    last = hits([case(SCORES, {"d": 3, "b": 2, "c": 1})], "way")
    assert last == {"1": 0.0, "3": 0.0, "behind": pytest.approx(80.0)}
    tied = hits([case(SCORES, {"a": 3, "d": 3})], "way")
    assert tied == {"1": 0.5, "3": 1.0, "behind": pytest.approx(40.0)}
    # One of four is right: the first of a random order in a quarter, among three in 3 of 4.
    assert at_random([case(SCORES, {})]) == {"1": 0.25, "3": 0.75, "behind": pytest.approx(40.0)}


@pytest.mark.long
def test_fits_of_cells_are_no_scores() -> None:
    scores, fits = (cells_of("nano-bert", 0, value=value) for value in ("score", "fit"))
    assert scores.keys() == fits.keys()
    assert scores
    assert all(scores[t].keys() == fits[t].keys() and scores[t] != fits[t] for t in scores)
    assert cells_of("nano-bert", 0, Path("data")).keys() > scores.keys()
