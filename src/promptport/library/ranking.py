"""Which prompt of a library is the best start for a new task? Answered from its text, or k rows.

All candidates answer the same rows in shared batches. Without labels the answers of the other
candidates stand for them: each one's prior is taken off, and it speaks as loudly as its answers
depend on the text (mutual information). With labels the candidate with the lowest loss is first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import PromptPortError
from promptport.evaluation import PromptedQuestion, evaluate_queries, prompted
from promptport.library.opinion_pool import OpinionPool, fit_to_others, information, opinion
from promptport.objective import pick_rows
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task
from promptport.tuning.multitask import check_labelled


@dataclass(frozen=True)
class Candidate:
    """A prompt of a library.

    Attributes:
        name: of the prompt in the result.
        prompt: (n, d) of the backbone.
        task: what it was tuned on, whose label words are compared; None if that is not known.
    """

    name: str
    prompt: SoftPrompt
    task: Task | None = None


@dataclass(frozen=True)
class Ranked:
    """One candidate's place.

    Attributes:
        name: of the candidate.
        score: what the order comes from, higher is better: `fit` without labels, minus the mean
            loss with them.
        measures: `fit` (mean probability of the right answer: what the others say together without
            labels, a single candidate's `information` if there are no others; 0 to 1); without
            labels also `agreement` (share of texts with that very answer, 0 to 1), `information`
            (mutual information of text and answer as a share of the logarithm of the number of
            answers, 0 to 1), `confidence` (the same after the prior was taken off), `label_words`
            (similarity of the label words, -1 to 1, None if not known); with labels also `loss`
            and `metric`.
    """

    name: str
    score: float
    measures: Mapping[str, float | None]


@dataclass(frozen=True)
class Ranking:
    """Candidates, best first.

    Attributes:
        task: name of the new task.
        by: `text` or `labels`.
        touched: the data that was read, in words.
        entries: best first.
    """

    task: str
    by: str
    touched: str
    entries: tuple[Ranked, ...]

    @property
    def best(self) -> str:
        """Name of the first."""
        return self.entries[0].name

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "best": self.best, "entries": [asdict(e) for e in self.entries]}


def rank(
    backbone: Backbone,
    candidates: Sequence[Candidate],
    task: Task,
    *,
    labelled: int = 0,
    split: str = "train",
    rows: int = 128,
    seed: int = 0,
    truncate: bool = False,
) -> Ranking:
    """Rank prompts of one backbone as starts for a task, each in the task's own template.

    Args:
        backbone: the frozen model of all candidates.
        candidates: one or more, with different names.
        task: the new task.
        labelled: read the labels of so many rows; 0 for none (a probe or a classification).
        split: the split whose rows are read, not `test`.
        rows: most unlabelled texts to read, 2 or more; without labels only.
        seed: of the choice of rows.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        PromptPortError: no candidates, a name twice, numbers out of range, or the split `test`.
        MismatchError: a candidate of another backbone.
        TaskError: a text to text task without labels, or one that this backbone cannot be asked.
    """
    _check(candidates, split, rows)
    check_labelled(task, labelled, split)
    for candidate in candidates:
        backbone.check_prompt(candidate.prompt)
    panel = OpinionPool(backbone, {c.name: c.prompt for c in candidates}, task, truncate=truncate)
    there = task.load(split) if labelled else task.texts(split)
    picked = pick_rows(there, labelled or rows, seed)
    if labelled:
        entries = _by_labels(panel, candidates, picked)
        touched = f"{len(picked)} labelled rows of {split}"
    else:
        task.refuse_text2text("Rank it by labelled rows: --labelled 10")
        entries = _by_text(panel, candidates, task, picked)
        touched = f"the text of {len(picked)} rows of {split}, no labels"
    order = sorted(entries, key=lambda entry: -entry.score)
    return Ranking(task.name, "labels" if labelled else "text", touched, tuple(order))


def _check(candidates: Sequence[Candidate], split: str, rows: int) -> None:
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) < len(names):
        raise PromptPortError(
            "library",
            expected="one prompt or more, each with its own name",
            got="none" if not names else f"{max(names, key=names.count)} more than once",
            fix="Name other folders",
        )
    if rows < 2:
        raise PromptPortError("rows", expected="2 or more", got=str(rows), fix="Read more rows")
    if split == "test":
        raise PromptPortError(
            "split", expected="train or dev", got="test", fix="Nothing is chosen on test rows"
        )


def _by_labels(
    panel: OpinionPool, candidates: Sequence[Candidate], rows: Sequence[Row]
) -> list[Ranked]:
    vectors = torch.cat([candidate.prompt.vectors for candidate in candidates])
    prepared = {n: o.prepare(rows).questions for n, o in panel.objectives.items()}
    queries: list[PromptedQuestion] = []
    start = 0
    for candidate in candidates:
        length = candidate.prompt.length
        queries += prompted(panel.objectives[length], prepared[length], start)
        start += length
    outcome = evaluate_queries(panel.backbone, queries, vectors)
    count = len(queries) // len(candidates)
    metric = queries[0].objective.task.metric
    ranked = []
    for i, candidate in enumerate(candidates):
        part = outcome.part(range(i * count, (i + 1) * count))
        value = part.score(metric, resamples=1).value
        fit = float((-part.losses).exp().mean())
        measures = {"loss": part.mean_loss, "metric": value, "fit": fit}
        ranked.append(Ranked(candidate.name, -part.mean_loss, measures))
    return ranked


def _by_text(
    panel: OpinionPool, candidates: Sequence[Candidate], task: Task, rows: Sequence[Row]
) -> list[Ranked]:
    answers = panel.answers(rows, blind=True)  # (U, C) each
    heard = [opinion(said) for said in answers]
    together = torch.stack([said for said, _ in heard]).sum(0)
    measured: list[dict[str, float | None]] = [
        {"information": information(said), "confidence": confidence}
        for said, (_, confidence) in zip(answers, heard, strict=True)
    ]
    for candidate, own, said, (voiced, _) in zip(candidates, measured, answers, heard, strict=True):
        # What the others say together stands for the labels.
        others = together - voiced
        if len(candidates) == 1:
            own |= {"fit": own["information"], "agreement": None}
        else:
            own["fit"] = fit_to_others(said, others)
            own["agreement"] = float((said.argmax(1) == others.argmax(1)).float().mean())
        own["label_words"] = label_similarity(panel.backbone, candidate.task, task)
    return [
        Ranked(candidate.name, own["fit"] or 0.0, own)
        for candidate, own in zip(candidates, measured, strict=True)
    ]


def label_similarity(backbone: Backbone, known: Task | None, task: Task) -> float | None:
    """How near the label words of two tasks are in the embedding space.

    Args:
        backbone: whose input rows are compared, less their mean.
        known: one task.
        task: the other.

    Returns:
        Mean over the words of `task` of the cosine to the nearest word of `known`, -1 to 1; None
        without label words that are single tokens.
    """
    space = backbone.space

    def rows(labels: Mapping[str, tuple[str, ...]] | None) -> Tensor | None:
        ids = [
            space.words[word]
            for words in (labels or {}).values()
            for word in words
            if word in space.words
        ]
        if not ids:
            return None
        return torch.nn.functional.normalize(space.rows(ids) - space.statistics.centre, dim=1)

    theirs, own = rows(None if known is None else known.labels), rows(task.labels)
    if theirs is None or own is None:
        return None
    return float((own @ theirs.T).max(1).values.mean())
