"""Will two tasks survive the sum of their task prompt vectors? A forecast without labels.

In paper B (arXiv 2408.01119) 8 of 15 pairs lose one task almost wholly, which shows only when both
are scored. Here each prompt alone and the sum of both answer the same unlabelled texts: where the
answers stay the same, so does the score, whatever the labels are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from promptport.analysis.similarity import MEASURES, label_overlap, norm_ratio
from promptport.analysis.statistics import Interval, bootstrap_mean
from promptport.backbone import Backbone, with_origin
from promptport.errors import TaskError
from promptport.evaluation import BATCH_TOKENS, Ask, batches, choose_template, forward
from promptport.objective import Objective
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task
from promptport.tuning.lesson import blind_rows, pick_rows
from promptport.vector import TaskPromptVector

Verdict = Literal["kept", "at risk", "lost"]

# P(kept) = 1 / (1 + exp(-(intercept + Σ coefficient * feature))), features as `_features` gives
# them. Fitted by benchmarks/task_vectors (calibrate).
COEFFICIENTS: Mapping[str, float] = {
    "intercept": 0.23,
    "agreement": 3.26,
    "kl": -4.84,
    "sign_conflict": 0.0,
    "norm_ratio": 0.68,
    "cosine": 0.0,
    "token_cosine": 0.15,
    "subspace_overlap": 0.39,
    "label_overlap": 0.0,
}
# How often each verdict was right on pairs that the fit had not seen: times said, share right (of
# "at risk": share kept). Both from benchmarks/task_vectors (calibrate), three embedded backbones.
RELIABILITY: Mapping[str, tuple[int, float]] = {
    "kept": (129, 0.961),
    "at risk": (61, 0.508),
    "lost": (116, 0.957),
}
KEPT, LOST = 0.75, 0.25  # P(kept) from which on a task is kept, and up to which it is lost


@dataclass(frozen=True)
class Part:
    """One of the two.

    Attributes:
        prompt: tuned, with its origin.
        task: gives the unlabelled texts, the template and the label words.
    """

    prompt: SoftPrompt
    task: Task


@dataclass(frozen=True)
class TaskForecast:
    """What becomes of one task of the pair.

    Attributes:
        task: its name.
        verdict: `kept`, `at risk` or `lost`.
        confidence: in the verdict, 0 to 1: P(kept) if kept, 1 - P(kept) if lost, and
            1 - |2 P(kept) - 1| if at risk.
        agreement: share of texts with the same answer, with its 95% interval.
        kl: mean KL divergence from the answers of the prompt alone to those of the sum, in nats.
        rows: unlabelled texts that were asked.
        features: what the formula was given, by name in `COEFFICIENTS`.
    """

    task: str
    verdict: Verdict
    confidence: float
    agreement: Interval
    kl: float
    rows: int
    features: Mapping[str, float]


@dataclass(frozen=True)
class Forecast:
    """Of a pair.

    Attributes:
        tasks: one forecast each.
        similarity: measures of the two vectors; `norm_ratio` is first over second.
        label_overlap: shared share of the label words, None if a task has none.
    """

    tasks: tuple[TaskForecast, TaskForecast]
    similarity: Mapping[str, float]
    label_overlap: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def forecast_pair(
    backbone: Backbone,
    first: Part,
    second: Part,
    *,
    combined: SoftPrompt | None = None,
    split: str = "train",
    rows: int = 256,
    seed: int = 0,
    truncate: bool = False,
) -> Forecast:
    """Say which task of a pair survives their combination. No label is used.

    Args:
        backbone: the frozen model of both.
        first: one prompt and its task.
        second: the other.
        combined: the combination to judge; None for both vectors on the first one's origin, as
            `promptport combine "A + B"` makes it.
        split: the split whose texts are read.
        rows: most texts per task, 1 or more.
        seed: of their choice.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        MismatchError: prompts of other backbones, or without origin.
        ShapeError: prompts of different lengths.
        TaskError: a text to text task, or a task that this backbone cannot be asked.
    """
    for part in (first, second):
        _check_kind(part.task)
        backbone.check_prompt(part.prompt)
    parts = [replace(part, prompt=with_origin(part.prompt, backbone)) for part in (first, second)]
    vectors = [TaskPromptVector.of(part.prompt, part.task.name) for part in parts]
    if combined is None:
        own_origin = parts[0].prompt.origin
        assert own_origin is not None, "the vector was made from it"
        combined = (vectors[0] + vectors[1]).apply(own_origin)
    else:
        vectors[0].check_fits(vectors[1])
        backbone.check_prompt(combined)
    deltas = [vector.delta for vector in vectors]
    alike = {name: measure(deltas[0], deltas[1]) for name, measure in MEASURES.items()}
    shared = label_overlap(first.task, second.task)
    found = []
    for part, own, other in zip(parts, deltas, reversed(deltas), strict=True):
        picked = pick_rows(part.task.texts(split), rows, seed)
        equal, divergences = _answers(backbone, part, combined, picked, truncate)
        given = {**alike, "norm_ratio": norm_ratio(other, own), "label_overlap": shared or 0.0}
        found.append(_judge(part.task, equal, divergences, given))
    return Forecast((found[0], found[1]), alike, shared)


def probability_kept(features: Mapping[str, float]) -> float:
    """The logistic formula: P(kept) in [0, 1].

    Args:
        features: a value for every coefficient but the intercept.
    """
    terms = (c * features[name] for name, c in COEFFICIENTS.items() if name != "intercept")
    logit = COEFFICIENTS["intercept"] + sum(terms)
    return 1 / (1 + math.exp(-logit))


def verdict(probability: float) -> tuple[Verdict, float]:
    """The verdict on P(kept), and the confidence in it."""
    if probability >= KEPT:
        return "kept", probability
    if probability <= LOST:
        return "lost", 1 - probability
    return "at risk", 1 - abs(2 * probability - 1)


def _judge(
    task: Task, equal: Sequence[float], divergences: Sequence[float], alike: Mapping[str, float]
) -> TaskForecast:
    agreement, kl = bootstrap_mean(equal), sum(divergences) / len(divergences)
    features = _features(agreement.value, kl, len(task.label_names), alike)
    said, confidence = verdict(probability_kept(features))
    return TaskForecast(task.name, said, confidence, agreement, kl, len(equal), features)


def _features(
    agreement: float, kl: float, labels: int, alike: Mapping[str, float]
) -> dict[str, float]:
    """All within [-1, 1], so that none can outweigh the agreement.

    Agreement is counted from chance (two labels agree half the time) and divergence saturates. The
    norm ratio, other over own, is in logarithms; sign conflict is counted from chance.
    """
    chance = 1 / labels if labels else 0.0
    ratio = alike["norm_ratio"]
    return {
        **alike,
        "agreement": max(0.0, (agreement - chance) / (1 - chance)),
        "kl": min(kl, 1.0),
        "sign_conflict": alike["sign_conflict"] - 0.5,
        "norm_ratio": min(1.0, max(-1.0, math.log(ratio))) if ratio > 0 else -1.0,
    }


def _check_kind(task: Task) -> None:
    if task.kind == "text2text":
        raise TaskError(
            f"task {task.name!r}",
            expected="a probe or a classification",
            got="text to text",
            fix="Free answers cannot be compared word by word; score the combination instead",
        )


@torch.no_grad()
def _answers(
    backbone: Backbone, part: Part, combined: SoftPrompt, rows: Sequence[Row], truncate: bool
) -> tuple[list[float], list[float]]:
    """Per row: 1 if the prompt alone and the combination answer alike, else 0; KL divergence."""
    template = choose_template(part.task, part.prompt)
    sides: list[tuple[list[Ask], Tensor]] = []
    for prompt in (part.prompt, combined):
        objective = Objective(
            backbone, part.task, template, length=prompt.length, truncate=truncate
        )
        questions = objective.prepare(blind_rows(rows, objective)).questions
        asks = [Ask(objective, question, 0) for question in questions]
        sides.append((asks, prompt.vectors.to(backbone.device)))
    equal, divergences = torch.zeros(len(rows)), torch.zeros(len(rows))
    for batch in batches(sides[0][0], BATCH_TOKENS):
        alone, mixed = (_log_probs(backbone, [asks[i] for i in batch], v) for asks, v in sides)
        equal[batch] = (alone.argmax(1) == mixed.argmax(1)).float().cpu()
        kl = (alone.exp() * (alone - mixed)).sum(1)
        divergences[batch] = kl.clamp_min(0).cpu()  # below 0 only by rounding
    return equal.tolist(), divergences.tolist()


def _log_probs(backbone: Backbone, asks: Sequence[Ask], vectors: Tensor) -> Tensor:
    """(Q, labels), or (Q, V) for a probe."""
    ((objective, _, logits),) = forward(backbone, asks, vectors)
    return objective.scores(logits, [ask.question for ask in asks]).log_softmax(1)
