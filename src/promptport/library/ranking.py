"""Which prompt of a library is the best start for a new task? Answered from its text, or k rows.

All prompts answer the same rows in shared batches. Without labels the answers of the other prompts
stand for them: each one's prior is taken off, and it counts as much as its answers depend on the
text (mutual information). With labels the prompt with the lowest loss is first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import PromptPortError
from promptport.evaluation import PromptedQuestion, evaluate_queries, prompted
from promptport.library.library import library_on
from promptport.library.opinion_pool import OpinionPool, fit_to_others, information, opinion
from promptport.objective import pick_rows
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task, TaskLike, as_task
from promptport.tuning.multitask import check_labelled
from promptport.tuning.usual import placed_like, templates_of

LITTLE = 0.2  # information from 0 to 1, below which texts hardly decide the answers


@dataclass(frozen=True)
class Ranked:
    """One prompt's place.

    Attributes:
        name: of the prompt.
        score: what the order comes from, higher is better: `fit` without labels, minus the mean
            loss with them.
        measures: `fit` (mean probability of the right answer: what the others say together without
            labels, a single prompt's `information` if there are no others; 0 to 1); without
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
    """Prompts, best first.

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

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the order."""
        first = self.entries[0]
        if len(self.entries) == 1:
            return f"nothing to compare it with: {first.name} is the only prompt"
        if self.by == "labels":
            lead = first.score - self.entries[1].score
            return (
                f"lowest loss on the labels: {first.name}, by {lead:.3f}; where losses are near "
                "each other, another draw of rows may turn the order"
            )
        information = first.measures["information"] or 0.0
        if information < LITTLE:
            return (
                f"the texts hardly decide what {first.name} answers ({information:.2f} from 0 to "
                "1): no prompt of the library knows this task well; some labelled rows say more"
            )
        return (
            f"most like the others together: {first.name}; no label was read, so a few labelled "
            "rows would make it surer"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **asdict(self),
            "verdict": self.verdict,
            "best": self.best,
            "entries": [asdict(e) for e in self.entries],
        }


def rank(
    backbone: BackboneLike,
    library: Mapping[str, SoftPrompt],
    task: TaskLike,
    *,
    labelled: int = 0,
    split: str = "train",
    rows: int = 128,
    seed: int = 0,
    truncate: bool = False,
) -> Ranking:
    """Rank prompts of one backbone as starts for a task, each in the task's own template.

    Args:
        backbone: the frozen model of all prompts.
        library: one prompt or more by name. Of a `Library` its prompts on this model are taken,
            and the label words of their tasks are compared.
        task: the new task.
        labelled: read the labels of so many rows; 0 for none (a probe or a classification).
        split: the split whose rows are read, not `test`.
        rows: most unlabelled texts to read, 2 or more; without labels only.
        seed: of the choice of rows.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        PromptPortError: no prompts, numbers out of range, or the split `test`.
        MismatchError: a prompt of another backbone.
        TaskError: a text to text task without labels, or one that this backbone cannot be asked.
    """
    backbone, task = as_backbone(backbone), as_task(task)
    _check(split, rows)
    backbone, task = as_backbone(backbone), as_task(task)
    check_labelled(task, labelled, split)
    prompts = library_on(library, backbone)
    task = placed_like(task, backbone, templates_of(prompts.values()))
    pool = OpinionPool(backbone, prompts, task, truncate=truncate)
    there = task.load(split) if labelled else task.texts(split)
    picked = pick_rows(there, labelled or rows, seed)
    if labelled:
        entries = _by_labels(pool, picked)
        touched = f"{len(picked)} labelled rows of {split}"
    else:
        task.refuse_text2text("Rank it by labelled rows: --labelled 10")
        answers = dict(zip(prompts, pool.answers(picked, blind=True), strict=True))
        entries = by_text(backbone, answers, prompts.tasks, task)
        touched = f"the text of {len(picked)} rows of {split}, no labels"
    order = sorted(entries, key=lambda entry: -entry.score)
    return Ranking(task.name, "labels" if labelled else "text", touched, tuple(order))


def _check(split: str, rows: int) -> None:
    if rows < 2:
        raise PromptPortError("rows", expected="2 or more", got=str(rows), fix="Read more rows")
    if split == "test":
        raise PromptPortError(
            "split", expected="train or dev", got="test", fix="Nothing is chosen on test rows"
        )


def _by_labels(pool: OpinionPool, rows: Sequence[Row]) -> list[Ranked]:
    prompts = pool.library
    vectors = torch.cat([prompt.vectors for prompt in prompts.values()])
    prepared = {n: o.prepare(rows).questions for n, o in pool.objectives.items()}
    queries: list[PromptedQuestion] = []
    start = 0
    for prompt in prompts.values():
        queries += prompted(pool.objectives[prompt.length], prepared[prompt.length], start)
        start += prompt.length
    with stage("scoring the prompts on labelled rows"):
        outcome = evaluate_queries(pool.backbone, queries, vectors)
    count = len(queries) // len(prompts)
    metric = queries[0].objective.task.metric
    ranked = []
    for i, name in enumerate(prompts):
        part = outcome.part(range(i * count, (i + 1) * count))
        value = part.score(metric, resamples=1).value
        fit = float((-part.losses).exp().mean())
        measures = {"loss": part.mean_loss, "metric": value, "fit": fit}
        ranked.append(Ranked(name, -part.mean_loss, measures))
    return ranked


def by_text(
    backbone: Backbone, said: Mapping[str, Tensor], tasks: Mapping[str, Task], task: Task
) -> list[Ranked]:
    """Prompts with the measures that need no label, in the order in which they are given.

    Args:
        backbone: of the prompts.
        said: their log-probabilities (U, C) by name.
        tasks: their own tasks, where they are known.
        task: the new task.
    """
    opinions = {name: opinion(own) for name, own in said.items()}
    together = torch.stack([weighted for weighted, _ in opinions.values()]).sum(0)
    ranked = []
    for name, own in said.items():
        weighted, confidence = opinions[name]
        measures: dict[str, float | None] = {
            "information": information(own),
            "confidence": confidence,
        }
        # What the others say together stands for the labels.
        others = together - weighted
        if len(said) == 1:
            measures |= {"fit": measures["information"], "agreement": None}
        else:
            measures["fit"] = fit_to_others(own, others)
            measures["agreement"] = float((own.argmax(1) == others.argmax(1)).float().mean())
        measures["label_words"] = label_similarity(backbone, tasks.get(name), task)
        ranked.append(Ranked(name, measures["fit"] or 0.0, measures))
    return ranked


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
