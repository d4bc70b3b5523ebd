"""A prompt for a new task that says what a library of prompts says together.

Labels of a few rows, where known, are learned beside the consensus, which counts less the less it
agrees with them, until all of them are answered right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, KeptTexts, as_backbone
from promptport.checks import refuse_out_of_range
from promptport.distillation.targets import Agreement, DistillTargets
from promptport.distillation.trainer import losses_of, queries
from promptport.errors import TaskError, TuningError
from promptport.evaluation import ScoredQuestions, prompted, score_questions
from promptport.library.library import library_on
from promptport.library.opinion_pool import PRIOR, Opinion, OpinionPool, pool_opinions
from promptport.objective import pick_rows
from promptport.parameters.parametrisation import FreeVectors
from promptport.progress import Progress, also, stage
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.tasks import Row, Task, TaskLike, as_task
from promptport.tuning.multitask import check_labelled, few_shot
from promptport.tuning.trainer import backward
from promptport.tuning.usual import placed_like, templates_of

_FEWEST_TEXTS = 8
_LITTLE = 0.2  # information, or agreement with labels, below which a consensus says little
_SMALL_BATCH, _FEW = 4, 25  # rows per step up to so many labelled rows
_ASKED = 16  # labelled rows at a time to see whether all are right


@dataclass(frozen=True)
class AdaptConfig:
    """Budget and rates.

    Attributes:
        rows: most unlabelled texts to read, 8 or more.
        steps: updates towards the consensus, and at most so many again with labels, 1 or more.
        batch_size: texts per step, and labelled rows per step, 1 or more; at most 4 labelled rows
            if there are no more than 25 of them.
        relative_lr: step as a share of the spread of the backbone's input rows.
        seed: of the choice and order of rows.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        TuningError: a value out of its range.
    """

    rows: int = 128
    steps: int = 48
    batch_size: int = 8
    relative_lr: float = 0.06
    seed: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "rows": (self.rows >= _FEWEST_TEXTS, f"{_FEWEST_TEXTS} or more"),
            "steps": (self.steps >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "relative_lr": (0 < self.relative_lr < math.inf, "a number above 0"),
        }
        refuse_out_of_range(self, ranges)
        check_seed(self.seed)


@dataclass(frozen=True)
class AdaptResult:
    """A prompt for a new task.

    Attributes:
        prompt: the prompt, with the origin of the one that it started from.
        start: name of that one: whose answers fit best to what the others say.
        opinions: of all prompts, in their order.
        before: how far the start answers as the consensus, on the texts that were read.
        after: the same of `prompt`.
        rows: unlabelled texts that were read.
        labelled: rows whose labels were read.
        right: how far the consensus agrees with these labels, from 0 (as by chance) to 1; None
            without labels.
        steps: updates.
    """

    prompt: SoftPrompt
    start: str
    opinions: tuple[Opinion, ...]
    before: Agreement
    after: Agreement
    rows: int
    labelled: int
    right: float | None
    steps: int

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the result."""
        if self.right is not None:
            if self.right < _LITTLE:
                return (
                    f"what the library says is hardly better than chance on these labels "
                    f"({self.right:.2f} from 0 to 1): the prompt rests on {self.labelled} labelled "
                    "rows alone"
                )
            return f"what the library says agrees with the labels by {self.right:.2f} from 0 to 1"
        if max(opinion.information for opinion in self.opinions) < _LITTLE:
            return (
                "the texts hardly decide what any prompt of the library answers: it is likely to "
                "know little of this task; label some rows"
            )
        return "without labels nothing tells how right this is: a few rows would"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompt."""
        values = {name: value for name, value in vars(self).items() if name != "prompt"}
        sides: dict[str, Any] = {name: vars(values[name]) for name in ("before", "after")}
        sides["verdict"] = self.verdict
        return values | sides | {"opinions": [vars(opinion) for opinion in self.opinions]}


def adapt(
    backbone: BackboneLike,
    library: Mapping[str, SoftPrompt],
    task: TaskLike,
    *,
    labelled: int = 0,
    config: AdaptConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AdaptResult:
    """Make a prompt for a new task from prompts of other tasks, with few labels or none.

    The prompts answer the new task's texts in its template. What they say together (the product of
    their answers, each less its own prior, as batch calibration does: Zhou et al. 2023, arXiv
    2309.17249) is learned by the one that fits best to the others. With labels, at most as many
    updates follow on labelled rows and texts together, until every labelled row is answered right:
    k rows count k, the consensus at most 16. The labels also change the weights of the prompts
    (`trust`) and, beside the fit to the others, which one starts.

    Args:
        backbone: the frozen model of all prompts.
        library: one prompt or more by name; of one prompt, only its prior is taken off. Of a
            `Library` its prompts on this model are taken.
        task: the new task; labels should be about equally frequent among its texts, since priors
            are taken off.
        labelled: training rows whose labels are read, 0 or more; texts are of that split too.
        config: budget and rates.
        progress: called with (steps done, steps in all).

    Raises:
        PromptPortError: no prompt.
        MismatchError: a prompt of another backbone.
        TaskError: a text to text task, too few rows, or one that this backbone cannot be asked.
        TuningError: more labelled rows than there are, or a loss that is no finite number.
    """
    config = config or AdaptConfig()
    backbone, task = as_backbone(backbone), as_task(task)
    task.refuse_text2text(
        "Free answers cannot be compared word by word; tune on labelled rows instead"
    )
    library = library_on(library, backbone)
    task = placed_like(task, backbone, templates_of(library.values()))
    check_labelled(task, labelled)
    few = few_shot(task, labelled, config.seed).load("train") if labelled else ()
    pool = OpinionPool(backbone, library, task, truncate=config.truncate)
    texts = _texts(task, config)
    pooled = pool_opinions(pool, texts, few)
    start = list(library)[pooled.fits.index(max(pooled.fits))]
    targets = pool.targets(library[start].length, texts, pooled.consensus, blind=True)
    adaptation = _Adaptation(library[start], backbone, config)
    adaptation.total = config.steps * (2 if few else 1)
    before = targets.agreement(adaptation.vectors)
    with stage(f"adapting {start}") as told:
        told.at(0, adaptation.total)
        adaptation.progress = also(told, progress)
        adaptation.learn([(targets, 1.0, config.batch_size)])
        if pooled.labels is not None and pooled.right is not None:
            truth = pool.targets(library[start].length, few, pooled.labels, blind=False)
            adaptation.learn_labels(truth, targets, pooled.right, len(few))
    record = {"library": list(library), "start": start, "rows": len(texts), "labelled": len(few)}
    vectors, steps = adaptation.vectors, adaptation.done
    return AdaptResult(
        _adapted(library[start], vectors, task, record | {"steps": steps}),
        start,
        pooled.opinions(list(library)),
        before,
        targets.agreement(vectors),
        len(texts),
        len(few),
        pooled.right,
        steps,
    )


def _texts(task: Task, config: AdaptConfig) -> list[Row]:
    """Training rows whose texts are read."""
    texts = pick_rows(task.texts("train"), config.rows, config.seed)
    if len(texts) < _FEWEST_TEXTS:
        raise TaskError(
            f"task {task.name!r}, train",
            expected=f"at least {_FEWEST_TEXTS} rows of text",
            got=str(len(texts)),
            fix="Give more unlabelled rows",
        )
    return texts


def _adapted(
    start: SoftPrompt, vectors: Tensor, task: Task, record: Mapping[str, Any]
) -> SoftPrompt:
    """The new vectors with the origin of the start, so that they have a task prompt vector."""
    entry = {
        "step": "adapt",
        "task": task.name,
        **record,
        "labels_used": record["labelled"] > 0,
        "promptport": __version__,
    }
    provenance = replace(
        start.provenance,
        task=task.name,
        template=task.template.text,
        tuning=None,
        history=(*start.provenance.history, entry),
    )
    return replace(start, vectors=vectors.cpu().clone(), provenance=provenance, mixture=None)


class LabelCheck:
    """Labelled rows, and whether a prompt answers all of them right: those that were least sure
    are asked first, since one that is wrong ends it."""

    def __init__(self, labels: DistillTargets) -> None:
        self.labels = labels
        self._gold = labels.answers.argmax(1)
        self._margins = torch.full((len(labels.questions),), -math.inf)

    @torch.no_grad()
    def passed(self, vectors: Tensor) -> bool:
        """Whether every row is right."""
        for places in torch.split(self._margins.argsort(stable=True), _ASKED):
            objective = self.labels.objective
            queries = prompted(objective, [self.labels.questions[i] for i in places.tolist()])
            for scored in score_questions(objective.backbone, queries, vectors):
                own, rows = scored.scores().cpu(), places[scored.places]
                gold = self._gold[rows][:, None]
                others = own.scatter(1, gold, -math.inf).amax(1)
                self._margins[rows] = own.gather(1, gold)[:, 0] - others
            if bool((self._margins[places] <= 0).any()):
                return False
        return True


class _Adaptation:
    """A prompt on its way, and how many of its steps are done.

    What is trained, its optimiser and the gradient are those of `tuning.Trainer`; there is nothing
    to hold back and no best to keep, only so many steps.
    """

    def __init__(self, start: SoftPrompt, backbone: Backbone, config: AdaptConfig) -> None:
        self.backbone, self.config = backbone, config
        self.progress: Progress | None = None
        self._kept = KeptTexts()
        self.parameters = FreeVectors(start.vectors.clone().to(backbone.device))
        rate = config.relative_lr * backbone.space.statistics.std
        self._rates = torch.full((start.length, 1), rate, dtype=torch.float64)
        self.done = self.total = 0

    @property
    def vectors(self) -> Tensor:
        """(n, d) after the latest step."""
        return self.parameters.tables()[0]

    def learn_labels(
        self, truth: DistillTargets, texts: DistillTargets, right: float, rows: int
    ) -> None:
        """Learn labelled rows beside the consensus on texts, until all of them are right.

        What few rows can still teach that are all right already is themselves by heart.

        Args:
            truth: the labelled rows.
            texts: the consensus on unlabelled ones.
            right: how far the consensus agrees with the labels, 0 to 1: what it counts for.
            rows: labelled rows, those included that cannot be asked.
        """
        count, size = len(truth.questions), self.config.batch_size
        share = count / (count + PRIOR * right**2)
        if rows <= _FEW:
            size = min(size, _SMALL_BATCH)
        parts = [(truth, share, size), (texts, 1 - share, size)]
        self.learn(parts, until=LabelCheck(truth).passed)

    def learn(
        self,
        parts: Sequence[tuple[DistillTargets, float, int]],
        until: Callable[[Tensor], bool] = lambda vectors: False,
    ) -> None:
        """Learn targets, each with its share of the loss and rows per step, for so many steps as
        are set or until the vectors (n, d) are good enough."""
        for _ in range(self.config.steps):
            if until(self.vectors):
                return
            tables = self.parameters.forward()
            leaf = tables[0].detach().requires_grad_(True)
            loss = sum(self._backward(n, part, leaf) for n, part in enumerate(parts))
            if not math.isfinite(loss):
                raise TuningError(
                    "loss",
                    expected="a finite number",
                    got=str(loss),
                    fix="Lower the learning rate",
                )
            assert leaf.grad is not None
            self.parameters.step(tables, [leaf.grad], self._rates, self._rates > 0)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)

    def _backward(
        self, number: int, part: tuple[DistillTargets, float, int], leaf: Tensor
    ) -> float:
        """Add the gradient of one part of the loss; its value."""
        targets, share, size = part
        generator = torch.Generator().manual_seed(
            (self.config.seed * 100_003 + self.done) * 7 + number
        )
        order = torch.randperm(len(targets.questions), generator=generator)[:size].tolist()
        rows = [(0, i) for i in order]

        def losses(scored: ScoredQuestions) -> Tensor:
            return share * losses_of(scored, [targets], rows)[1] / len(rows)

        with self.backbone.keeping_texts(self._kept):
            return backward(self.backbone, queries([targets], rows), leaf, losses)
