"""Will two tasks survive the sum of their task prompt vectors? A forecast without labels.

In paper B (arXiv 2408.01119) 8 of 15 pairs lose one task almost wholly, which shows only when both
are scored. Here each prompt alone and the sum of both answer the same unlabelled texts: where the
answers stay the same, so does the score, whatever the labels are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor

from promptport.analysis.similarity import MEASURES, label_overlap, norm_ratio
from promptport.analysis.statistics import Interval, bootstrap_share
from promptport.backbone import Backbone, BackboneLike, as_backbone, with_origin
from promptport.errors import PromptPortError
from promptport.evaluation import (
    PromptedQuestion,
    choose_template,
    collect_scores,
    prompted,
    score_questions,
)
from promptport.library.entry import TaskPrompt
from promptport.library.library import Library, task_prompts_on
from promptport.objective import Objective, blind_rows, pick_rows
from promptport.progress import also, stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.vector import TaskPromptVector

Verdict = Literal["kept", "at risk", "lost"]

# P(kept) = 1 / (1 + exp(-(intercept + Σ coefficient * feature))), features as `_features` gives
# them. Fitted by benchmarks/task_vectors (fit_forecast), seeds 0 and 1.
COEFFICIENTS: Mapping[str, float] = {
    "intercept": 1.51,
    "agreement": 2.53,
    "kl": -6.05,
    "sign_conflict": 0.13,
    "norm_ratio": 1.04,
    "cosine": 0.17,
    "token_cosine": 0.21,
    "subspace_overlap": 0.44,
    "label_overlap": 0.0,
}
KEPT, LOST = 0.75, 0.25  # P(kept) from which on a task is kept, and up to which it is lost


@dataclass(frozen=True)
class Record:
    """How often a verdict came true.

    Attributes:
        said: number of tasks that it was given to.
        right: share of them for which it was right; of those at risk, share kept.
        low: lower end of the 95% interval; tasks are drawn, which pairs share.
        high: upper end.
    """

    said: int
    right: float
    low: float
    high: float


# By the way to combine, on pairs of one backbone judged by a fit to the others. Each way was tried
# on the same pairs. From benchmarks/task_vectors (fit_forecast), three embedded backbones.
PAIRS = 97
RELIABILITY: Mapping[str, Mapping[Verdict, Record]] = {
    "sum": {
        "kept": Record(79, 0.937, 0.805, 1.000),
        "at risk": Record(56, 0.536, 0.350, 0.846),
        "lost": Record(59, 0.966, 0.878, 1.000),
    },
    "mean": {
        "kept": Record(69, 0.957, 0.812, 1.000),
        "at risk": Record(48, 0.542, 0.267, 0.790),
        "lost": Record(77, 0.948, 0.818, 1.000),
    },
    "select": {
        "kept": Record(116, 1.000, 0.646, 1.000),
        "at risk": Record(6, 0.333, 0.000, 1.000),
        "lost": Record(72, 0.944, 0.750, 1.000),
    },
}


@dataclass(frozen=True)
class TaskForecast:
    """What becomes of one task of the pair.

    Attributes:
        task: its name.
        verdict: `kept`, `at risk` or `lost`.
        probability: P(kept), 0 to 1.
        confidence: in the verdict, 0 to 1: P(kept) if kept, 1 - P(kept) if lost; None if at risk.
        agreement: share of texts with the same answer, with its 95% interval.
        kl: mean KL divergence from the answers of the prompt alone to those of the sum, in nats.
        rows: unlabelled texts that were asked.
        features: what the formula was given, by name in `COEFFICIENTS`.
    """

    task: str
    verdict: Verdict
    probability: float
    confidence: float | None
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
        way: how the two are combined, if that way is in `RELIABILITY`, else None.
    """

    tasks: tuple[TaskForecast, TaskForecast]
    similarity: Mapping[str, float]
    label_overlap: float | None
    way: str | None

    @property
    def weakest(self) -> TaskForecast:
        """The task that is less likely to be kept: its verdict is that of the pair."""
        return min(self.tasks, key=lambda task: task.probability)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, with the verdict of the pair."""
        weakest = self.weakest
        names = ("verdict", "probability", "confidence")
        said = {name: getattr(weakest, name) for name in names}
        return {**said, "weakest": weakest.task, **asdict(self)}


def forecast_pair(
    backbone: BackboneLike,
    first: TaskPrompt,
    second: TaskPrompt,
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
    texts = _Texts(split, rows, seed, truncate)
    return _forecasts(as_backbone(backbone), (first, second), texts, combined)[0, 1]


def forecast_pairs(
    backbone: BackboneLike,
    library: Library | Mapping[str, TaskPrompt],
    *,
    split: str = "train",
    rows: int = 256,
    seed: int = 0,
    truncate: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], Forecast]:
    """Judge the sum of every two prompts of a library. No label is used.

    Args:
        backbone: the frozen model of all.
        library: two prompts or more with their tasks, by name.
        split: as in `forecast_pair`, like all that follows.
        rows: most texts per task, 1 or more.
        seed: of their choice.
        truncate: cut texts that are too long.
        progress: called with (sums asked on a task's texts, their number in all).

    Returns:
        The forecast of each two names, the pair in greatest danger first.

    Raises:
        PromptPortError: fewer than two prompts, one whose task is not known, or as
            `forecast_pair`.
    """
    texts = _Texts(split, rows, seed, truncate)
    _check_several(len(library))
    backbone = as_backbone(backbone)
    parts = task_prompts_on(library, backbone)
    forecasts = _forecasts(backbone, tuple(parts.values()), texts, progress=progress)
    names = list(parts)
    order = sorted(forecasts, key=lambda pair: forecasts[pair].weakest.probability)
    return {(names[a], names[b]): forecasts[a, b] for a, b in order}


def probability_kept(features: Mapping[str, float]) -> float:
    """The logistic formula: P(kept) in [0, 1].

    Args:
        features: a value for every coefficient but the intercept.
    """
    terms = (c * features[name] for name, c in COEFFICIENTS.items() if name != "intercept")
    logit = COEFFICIENTS["intercept"] + sum(terms)
    return 1 / (1 + math.exp(-logit))


def verdict(probability: float) -> tuple[Verdict, float | None]:
    """The verdict on P(kept), and the confidence in it: none in `at risk`."""
    if probability >= KEPT:
        return "kept", probability
    if probability <= LOST:
        return "lost", 1 - probability
    return "at risk", None


def _check_several(count: int) -> None:
    if count < 2:
        raise PromptPortError(
            "forecast", expected="two prompts or more", got=str(count), fix="Name another"
        )


@dataclass(frozen=True)
class _Texts:
    """Which texts are read, as in `forecast_pair`."""

    split: str
    rows: int
    seed: int
    truncate: bool


def _forecasts(
    backbone: Backbone,
    parts: Sequence[TaskPrompt],
    texts: _Texts,
    combined: SoftPrompt | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[int, int], Forecast]:
    """Of every two parts, by their places; `combined` stands for the sum of the only two."""
    _check_several(len(parts))
    for part in parts:
        part.task.refuse_text2text(
            "Free answers cannot be compared word by word; score the combination instead"
        )
        backbone.check_prompt(part.prompt)
    parts = [replace(part, prompt=with_origin(part.prompt, backbone)) for part in parts]
    vectors = [TaskPromptVector.of(part.prompt, part.task.name) for part in parts]
    for vector in vectors:
        vectors[0].check_fits(vector)
    if combined is not None:
        backbone.check_prompt(combined)
    pairs = list(combinations(range(len(parts)), 2))
    judged: dict[tuple[int, int], list[TaskForecast]] = {pair: [] for pair in pairs}
    alike = {(a, b): _likeness(vectors[a], vectors[b]) for a, b in pairs}
    shared = {(a, b): label_overlap(parts[a].task, parts[b].task) for a, b in pairs}
    with stage("asking about the texts of both tasks") as told:
        at = also(told, progress)
        told.at(0, 2 * len(pairs))
        for i, part in enumerate(parts):
            alone = _Alone(backbone, part, texts)  # one at a time: as wide as the vocabulary
            for pair in pairs:
                if i not in pair:
                    continue
                other = vectors[sum(pair) - i].delta
                whole = combined or _sum(parts, vectors, pair)
                given = {**alike[pair], "norm_ratio": norm_ratio(other, vectors[i].delta)}
                given["label_overlap"] = shared[pair] or 0.0
                judged[pair].append(_judge(part.task, *alone.against(whole), given))
                at(sum(map(len, judged.values())), 2 * len(pairs))
    way = "sum" if combined is None else _way(combined, parts, vectors)
    return {
        pair: Forecast((tasks[0], tasks[1]), alike[pair], shared[pair], way)
        for pair, tasks in judged.items()
    }


def _likeness(left: TaskPromptVector, right: TaskPromptVector) -> dict[str, float]:
    return {name: measure(left.delta, right.delta) for name, measure in MEASURES.items()}


def _sum(
    parts: Sequence[TaskPrompt], vectors: Sequence[TaskPromptVector], pair: tuple[int, int]
) -> SoftPrompt:
    first, second = pair
    origin = parts[first].prompt.origin
    assert origin is not None, "the vector was made from it"
    return (vectors[first] + vectors[second]).apply(origin)


def _way(
    combined: SoftPrompt, parts: Sequence[TaskPrompt], vectors: Sequence[TaskPromptVector]
) -> str | None:
    """How the two were merged on an origin of theirs, if it is known and was measured."""
    steps = combined.provenance.history[-2:]
    if [step.get("step") for step in steps] != ["merge", "apply"] or combined.origin is None:
        return None
    first, second = vectors
    plain = steps[0].get("source") in ((first + second).label, (second + first).label)
    origins = [part.prompt.origin for part in parts]
    own = any(o is not None and torch.equal(o, combined.origin) for o in origins)
    name = str(steps[0].get("method")).partition(".")[0]
    return name if plain and own and name in RELIABILITY else None


def _judge(
    task: Task, equal: Sequence[float], divergences: Sequence[float], alike: Mapping[str, float]
) -> TaskForecast:
    agreement = bootstrap_share(equal)
    kl = sum(divergences) / len(divergences)
    features = _features(agreement.value, kl, len(task.label_names), alike)
    likely = probability_kept(features)
    said, confidence = verdict(likely)
    return TaskForecast(task.name, said, likely, confidence, agreement, kl, len(equal), features)


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


class _Alone:
    """What one prompt answers to unlabelled texts of its task, to hold combinations against."""

    def __init__(self, backbone: Backbone, part: TaskPrompt, texts: _Texts) -> None:
        self.backbone, self.part, self.truncate = backbone, part, texts.truncate
        self.rows = pick_rows(part.task.texts(texts.split), texts.rows, texts.seed)
        self._queries: dict[int, list[PromptedQuestion]] = {}  # by number of virtual tokens
        with stage(f"asking {part.task.name} alone"):
            self.answers = collect_scores(  # (Q, labels), or (Q, V) for a probe
                backbone,
                self.queries(part.prompt.length),
                part.prompt.vectors,
                of_batch=_log_probabilities,
            )

    @torch.no_grad()
    def against(self, combined: SoftPrompt) -> tuple[list[float], list[float]]:
        """Per row: 1 if the combination answers alike, else 0; KL divergence of its answer."""
        equal, divergences = torch.zeros(len(self.rows)), torch.zeros(len(self.rows))
        queries = self.queries(combined.length)
        with stage("asking a combination"):
            for scored in score_questions(self.backbone, queries, combined.vectors):
                alone, mixed = self.answers[scored.places], _log_probabilities(scored.scores())
                equal[scored.places] = (alone.argmax(1) == mixed.argmax(1)).float().cpu()
                kl = (alone.exp() * (alone - mixed)).sum(1)
                divergences[scored.places] = kl.clamp_min(0).cpu()  # below 0 only by rounding
        return equal.tolist(), divergences.tolist()

    def queries(self, length: int) -> list[PromptedQuestion]:
        """The texts behind a prompt of so many virtual tokens."""
        if length not in self._queries:
            task, template = self.part.task, choose_template(self.part.task, self.part.prompt)
            objective = Objective(
                self.backbone, task, template, length=length, truncate=self.truncate
            )
            questions = objective.prepare(blind_rows(self.rows, objective)).questions
            self._queries[length] = prompted(objective, questions)
        return self._queries[length]


def _log_probabilities(scores: Tensor) -> Tensor:
    return scores.log_softmax(1)
