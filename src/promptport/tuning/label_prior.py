"""A template with its label prior taken off: what a model likes to answer anyway does not count.

A language model prefers some label words whatever the text (Zhao et al. 2021, "Calibrate Before
Use"; Holtzman et al. 2021, "Surface Form Competition"). The mean of its answers to unlabelled texts
of the task is that preference, the prior (Zhou et al. 2024, "Batch Calibration"); the answer is
then the label with the highest `log p(label | text) - log prior(label)`. No label is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.evaluation import collect_scores, prompted
from promptport.objective import Objective, blind_rows, pick_rows
from promptport.progress import stage
from promptport.tasks import Row, Score, Task, Template, bootstrap_score, hits

PRIOR_OFF = "manual, prior off"  # name of the manual template scored in this way
PRIOR_TEXTS = 128


@dataclass(frozen=True)
class PriorOff:
    """A template scored with and without its label prior, from one pass over the rows.

    Attributes:
        plain: the score with the prior, as `evaluate` gives it.
        plain_right: per row whether that answer is right, where the score is the share of these
            rows; else None.
        score: the score without the prior.
        right: per row likewise.
        prior: label -> its prior, in sum 1.
    """

    plain: Score
    plain_right: tuple[bool, ...] | None
    score: Score
    right: tuple[bool, ...] | None
    prior: dict[str, float]


def has_prior(task: Task) -> bool:
    """Whether a label prior can be taken off: a classification that is no regression.

    A probe answers with any word of the vocabulary. A mean over texts would push up words that are
    merely rare, so probes have none.
    """
    return task.kind == "classification" and not task.is_regression


def score_prior_off(
    backbone: Backbone,
    task: Task,
    template: Template,
    *,
    split: str = "test",
    texts: int = PRIOR_TEXTS,
    truncate: bool = False,
) -> PriorOff:
    """Score a plain template with its label prior taken off.

    Args:
        backbone: the frozen model.
        task: one that `has_prior`, with training texts; their labels are not read.
        template: without `{soft}`.
        split: the split to score.
        texts: most texts that the prior is the mean over, 1 or more.
        truncate: cut texts that are too long.

    Raises:
        TaskError: no such split, or texts that do not fit.
    """
    objective = Objective(backbone, task, template, truncate=truncate)
    rows = task.load(split)
    with stage("reading the label prior"):
        prior = label_prior(objective, task.texts("train"), texts)
    scores = label_scores(objective, rows)
    gold, names = [row.answer for row in rows], task.label_names
    plain = [names[i] for i in scores.argmax(1).tolist()]
    freed = [names[i] for i in without_prior(scores, prior).argmax(1).tolist()]
    return PriorOff(
        bootstrap_score(task.metric, gold, plain),
        hits(task.metric, gold, plain),
        bootstrap_score(task.metric, gold, freed),
        hits(task.metric, gold, freed),
        dict(zip(names, prior.tolist(), strict=True)),
    )


def label_prior(objective: Objective, rows: Sequence[Row], texts: int = PRIOR_TEXTS) -> Tensor:
    """How likely the model finds each label before it has seen a text.

    Args:
        objective: task, plain template and backbone.
        rows: unlabelled texts, one or more; a text that comes twice counts once.
        texts: use at most so many of them, a choice with a fixed seed.

    Returns:
        (C,) probabilities, in sum 1: the mean over texts of p(label | text).
    """
    distinct = {tuple(sorted(row.fields.items())): row for row in rows}
    chosen = pick_rows(list(distinct.values()), texts, seed=0)
    scores = label_scores(objective, blind_rows(chosen, objective))
    return scores.softmax(1).mean(0)


def label_scores(objective: Objective, rows: Sequence[Row]) -> Tensor:
    """(R, C) unnormalised log-probabilities of the labels of each row, on the CPU."""
    queries = prompted(objective, objective.prepare(rows).questions)
    nothing = torch.zeros(1, objective.backbone.width)
    return collect_scores(
        objective.backbone, queries, nothing, of_batch=lambda scores: scores.float().cpu()
    )


def without_prior(scores: Tensor, prior: Tensor) -> Tensor:
    """Scores of labels less the logarithm of their prior.

    Args:
        scores: (R, C) unnormalised log-probabilities.
        prior: (C,) probabilities.

    Returns:
        (R, C)
    """
    return scores - prior.clamp_min(torch.finfo(prior.dtype).tiny).log()
