"""Which road is taken, for every combination of what there is and what is asked for."""

from __future__ import annotations

from itertools import product

import pytest

from promptport.errors import PromptPortError, UnknownNameError
from promptport.moving import Situation, plan_move
from promptport.moving.planning import LITTLE_OF_FREE, choose_texts, texts_at_hand

LACKS = "M is a folder without weights"
KINDS = (None, "probe", "classification", "text2text")


def situation(mixture=False, source=True, target=True, kind="probe", **more) -> Situation:
    return Situation(
        mixture,
        None if source else LACKS,
        None if target else LACKS,
        task=None if kind is None else "t",
        kind=kind,
        **more,
    )


@pytest.mark.parametrize(
    ("mixture", "source", "target", "kind"),
    list(product((False, True), (False, True), (False, True), KINDS)),
)
def test_auto_takes_answers_wherever_both_models_can_be_compared(
    mixture, source, target, kind
) -> None:
    seen = situation(mixture, source, target, kind)
    if not mixture and source and target and kind is None:
        with pytest.raises(PromptPortError, match="--task: expected a task, to ask both models"):
            plan_move(seen)
        return
    plan = plan_move(seen)
    comparable = source and target and kind in ("probe", "classification")
    assert plan.method == ("answers" if comparable else "embeddings")
    reason = "both models are at hand"
    if not (source and target):
        reason = LACKS
    elif kind is None:
        reason = "no task is known"
    elif kind == "text2text":
        reason = "text to text"
    assert reason in plan.why
    assert plan.line == f"road: {plan.method}, since {plan.why}"
    # Where its own model can be asked, a free prompt becomes a mixture before it is carried.
    fits = source and not target and not mixture and kind in ("probe", "classification")
    assert plan.fits == fits
    assert ("becomes a mixture of words first" in plan.why) == fits
    # Otherwise it never goes by the tables without a word.
    warned = [warning for warning in plan.warnings if LITTLE_OF_FREE in warning]
    assert len(warned) == (plan.method == "embeddings" and not mixture and not fits)


@pytest.mark.parametrize(
    ("mixture", "source", "target", "kind"),
    list(product((False, True), (False, True), (False, True), KINDS)),
)
def test_embeddings_if_asked_for_and_what_would_do_better(mixture, source, target, kind) -> None:
    plan = plan_move(situation(mixture, source, target, kind), "embeddings")
    assert (plan.method, plan.why, plan.texts) == ("embeddings", "you asked for it", None)
    comparable = source and target and kind in ("probe", "classification")
    askable = source and kind in ("probe", "classification")
    wanted = None if mixture or not askable else "answers" if target else "auto"
    assert (plan.better, plan.fits) == (wanted, False)
    assert bool(plan.warnings) == (not mixture)
    if not mixture:
        assert "0.36" in plan.warnings[0]
        named = comparable or (source and target and kind is None)
        assert ("0.86" in plan.warnings[0]) == named
        assert ("0.70" in plan.warnings[0]) == (wanted == "auto")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": False}, LACKS),
        ({"target": False}, LACKS),
        ({"kind": None}, "no task is known"),
        ({"kind": None, "task_refused": "the task x cannot be opened"}, "the task x cannot"),
        ({"kind": "text2text"}, "text to text"),
    ],
)
def test_answers_are_refused_where_nothing_can_be_asked(changes, said) -> None:
    with pytest.raises(PromptPortError, match="method answers: expected both models") as error:
        plan_move(situation(**changes), "answers")
    assert said in str(error.value)


def test_options_of_the_tables_decide_for_them() -> None:
    plan = plan_move(situation(asked_of_tables=("--magnitude",)))
    assert (plan.method, plan.better) == ("embeddings", "answers")
    assert plan.why == "--magnitude is given, of this road alone"


@pytest.mark.parametrize(
    ("texts", "count", "chosen", "said"),
    [
        ("auto", 8, "task", "unlabelled texts of t (train)"),
        ("auto", 7, "words", "random words (t has 7 texts in train)"),
        ("auto", 0, "words", "random words (t has no texts in train)"),
        ("words", 100, "words", "random words"),
        ("task", 0, "task", "unlabelled texts of t (train)"),
    ],
)
def test_what_is_asked(texts, count, chosen, said) -> None:
    assert choose_texts(texts, "t", "train", count) == (chosen, said)
    plan = plan_move(situation(texts=count), texts=texts)
    assert plan.texts == chosen
    assert said in plan.why


def test_texts_at_hand(capitals) -> None:
    assert texts_at_hand(None, "train") == (0, None)
    assert texts_at_hand(capitals, "train") == (6, None)
    assert texts_at_hand(capitals, "nowhere") == (0, None)


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="method: expected one of auto, answers"):
        plan_move(situation(), "magic")
    with pytest.raises(UnknownNameError, match="texts: expected one of auto, task, words"):
        plan_move(situation(), texts="none")
