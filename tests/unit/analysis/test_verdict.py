"""What a score means, in words."""

from __future__ import annotations

import pytest

from promptport.analysis.verdict import (
    dev_verdict,
    gains_over_template,
    source_score,
    verdict,
)
from promptport.provenance import Provenance
from promptport.tasks import Score


def score(value, low=None, high=None):
    return Score("accuracy", value, low or value, high or value, 20)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (score(0.333, 0.2, 0.5), "0.333 is below always answering 'bad' (0.429)."),
        (score(0.429, 0.3, 0.6), "0.429 is no better than always answering 'bad' (0.429)."),
        (
            score(0.5, 0.4, 0.6),
            "0.500 is above always answering 'bad' (0.429), but not surely: its interval reaches "
            "there.",
        ),
        (score(0.8, 0.7, 0.9), "0.800 is above always answering 'bad' (0.429)."),
    ],
)
def test_a_score_is_set_against_the_majority(own, told) -> None:
    assert verdict(own, score(0.429), "bad") == told


def test_better_baselines_are_named_else_the_best_of_the_others() -> None:
    others = {"majority": score(0.4), "manual": score(0.6), "random": score(0.3)}
    assert verdict(score(0.5), others=others) == "Better than it: the manual template (0.600)."
    assert verdict(score(0.6), others=others) == "Level with the manual template (0.600)."
    assert verdict(score(0.7), others=others) == "Above the manual template (0.600)."
    assert verdict(score(0.7)) == ""


def test_the_score_of_the_source_comes_from_the_history() -> None:
    tuned = {"dev_score": 0.9, "metric": "p@1"}
    moved = Provenance("b", history=({"step": "transfer", "source": "a", "tuning": tuned},))
    assert source_score(moved) == {"backbone": "a", "metric": "p@1", "dev_score": 0.9}
    fitted = ({"step": "fit_mixture", "tuning": tuned},)
    assert source_score(Provenance("a", history=fitted)) is None
    then = (*fitted, {"step": "transfer", "source": "a", "tuning": None})
    assert source_score(Provenance("b", history=then)) == source_score(moved)
    assert source_score(Provenance("a", tuning=tuned)) is None


def test_a_tuned_prompt_that_a_template_does_as_well_as_is_told(films) -> None:
    others = {"majority": score(0.5), "manual": score(0.6), "manual, prior off": score(0.7)}
    assert [gains_over_template(value, others) for value in (0.65, 0.7, 0.71)] == [0, 0, 1]
    assert gains_over_template(0.1, {"majority": score(0.5)})
    told = dev_verdict(0.65, films, others)
    assert told.endswith(
        "Better than it: the manual template with its label prior taken off (0.700). A template "
        "without a prompt does as well: tune longer, or with more rows."
    )
    assert "without a prompt" not in dev_verdict(0.71, films, others)
