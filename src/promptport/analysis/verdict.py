"""What a score means, in words: against the majority answer, baselines and the source's score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from promptport.history import makes_another
from promptport.provenance import Provenance
from promptport.tasks import Score, Task
from promptport.tuning.label_prior import PRIOR_OFF

# Baselines in words, by the names of `tuning.score_baselines`.
_WORDS = {
    "no prompt": "the template without a prompt",
    "manual": "the manual template",
    PRIOR_OFF: "the manual template with its label prior taken off",
    "random": "random prompts",
    "tuned here": "a prompt tuned on this model",
}


def verdict(
    score: Score,
    majority: Score | None = None,
    answer: str | None = None,
    others: Mapping[str, Score] | None = None,
) -> str:
    """One or two sentences on a score.

    Args:
        score: of the prompt.
        majority: of always giving the most frequent answer, if it is known.
        answer: that answer.
        others: baselines by name, as `score_baselines` gives them.
    """
    said = []
    if majority is not None:
        always = "the most frequent answers" if answer is None else f"always answering {answer!r}"
        said.append(_against(score, majority, always))
    shown = {name: other for name, other in (others or {}).items() if name != "majority"}
    better = [_named(name, other) for name, other in shown.items() if other.value > score.value]
    if better:
        said.append(f"Better than it: {', '.join(better)}.")
    elif shown:
        best = max(shown, key=lambda name: shown[name].value)
        equal = shown[best].value == score.value
        said.append(f"{'Level with' if equal else 'Above'} {_named(best, shown[best])}.")
    return " ".join(said)


def dev_verdict(value: float, task: Task, others: Mapping[str, Score]) -> str:
    """As `verdict`, of the dev score of a prompt that was just tuned.

    Args:
        value: the dev score.
        task: the task.
        others: baselines on the same rows by name; `majority` among them.
    """
    own = replace(others["majority"], value=value, low=value, high=value)
    answer = None if task.is_regression else task.majority()
    said = verdict(own, others["majority"], answer, others)
    if not gains_over_template(value, others):
        said += " A template without a prompt does as well: tune longer, or with more rows."
    return f"on the dev rows, which chose the epoch, {said}"


def gains_over_template(value: float, others: Mapping[str, Score]) -> bool:
    """Whether a score beats the manual template with its label prior taken off, if that is known.

    Args:
        value: the score.
        others: baselines on the same rows by name.
    """
    return PRIOR_OFF not in others or value > others[PRIOR_OFF].value


def _against(score: Score, other: Score, name: str) -> str:
    told = f"{name} ({other.value:.3f})"
    if score.value < other.value:
        return f"{score.value:.3f} is below {told}."
    if score.value == other.value:
        return f"{score.value:.3f} is no better than {told}."
    if score.low <= other.value:
        return f"{score.value:.3f} is above {told}, but not surely: its interval reaches there."
    return f"{score.value:.3f} is above {told}."


def _named(name: str, score: Score) -> str:
    return f"{_WORDS.get(name, name)} ({score.value:.3f})"


def source_score(made: Provenance) -> dict[str, Any] | None:
    """How the prompt did where it was tuned, of a prompt that was moved from another backbone.

    Returns:
        `backbone`, `metric` and `dev_score`, as far as the history says; None for a prompt that
        was not moved, whose tuning is not known, or that was combined with others since.
    """
    history = list(made.history)
    for i in reversed(range(len(history))):
        if makes_another(history[i]):
            return None
        tuning = history[i].get("tuning") or {}
        # A step on the own model (a mixture that is fitted) names no source; the next move does.
        sources = [e["source"] for e in history[i:] if e.get("source") is not None]
        if "dev_score" in tuning and sources:
            return {
                "backbone": sources[0],
                "metric": tuning.get("metric"),
                "dev_score": tuning["dev_score"],
            }
    return None
