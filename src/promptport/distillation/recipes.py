"""Distillation: a prompt learns what other prompts answer, and no label is read.

Teachers answer questions without labels (`targets`); a prompt is changed until its backbone answers
alike (`trainer`). Four recipes differ in what learns from what:

- `align`: a ported prompt, from the prompts that it came from;
- `fit_mixture`: a mixture of words, from a free prompt of the same backbone; it can then be moved
  like any mixture prompt;
- `distill_merge`: a combination of several tasks' vectors, from the prompt of each task;
- `over_origins.distill_over_origins`: a task prompt vector on many origins, from its prompt on one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.targets import DistillTargets
from promptport.distillation.trainer import Distillation
from promptport.distillation.variants import UnderNoise, Variants
from promptport.errors import TuningError
from promptport.parameters.mixtures import WordMixtures, mixture_words, starting_logits
from promptport.parameters.origins import OriginSpec
from promptport.parameters.parametrisation import FreeVectors
from promptport.progress import Progress, also, stage
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import TaskLike, as_task
from promptport.tuning.usual import LARGE

# Sums lie far from where their prompts answer: longer and more steps than to mend a ported prompt.
INTO_MERGE = DistillConfig(
    rows=1024,
    fill=256,
    epochs=0,
    steps=600,
    check=100,
    patience=4,
    enough=0.01,
    average=50,
    batch_size=4,
    relative_lr=0.06,
)

# Each update takes long there, and few bring most back (benchmarks/grid, SmolLM2-135M). The running
# mean must be shorter than the run: the start counts in it.
LARGE_MERGE = replace(
    INTO_MERGE,
    rows=128,
    steps=60,
    check=20,
    patience=3,
    average=10,
    batch_size=8,
    relative_lr=0.1,
)


def merge_settings(
    backbone: Backbone, given: DistillConfig | Mapping[str, Any] | None = None
) -> DistillConfig:
    """How a combination of prompts learns on a backbone.

    Args:
        backbone: of the prompts.
        given: all of it, or changes to what is usual for a backbone of this size.

    Raises:
        TuningError: a value out of its range.
    """
    if isinstance(given, DistillConfig):
        return given
    usual = LARGE_MERGE if backbone.parameters >= LARGE else INTO_MERGE
    return replace(usual, **(given or {}))


SAVE_SECONDS = 20.0  # between two savings of an unfinished run


@dataclass(frozen=True)
class DistillResult:
    """What came of it.

    Attributes:
        prompt: the prompt that learned.
        before: mean cross-entropy to the teachers' answers on the held-back rows at the start, in
            nats; of several tasks, the mean over them.
        after: the same of the prompt that is returned; of several tasks it may be above `before`,
            since each is weighed by its own unit (`missed`).
        floor: entropy of the teachers' answers there, which nothing can go below.
        missed: for each task, how far the answers on the held-back rows are from the teachers'
            (Kullback-Leibler divergence) as a share of what these tell the texts apart by (mutual
            information of texts and answers, 0.05 nats at least): 0 is nothing, 1 about as much
            as answering every text alike; it may be above 1.
        rows: unlabelled rows that were read or made.
        made: those that were made beside the task's texts (`DistillConfig.fill`).
        labelled: further rows whose labels were learned.
        steps: updates; of several starts, those of all.
        start: which of several starts it is, 0 the first.
        tried: of several starts, what each missed after the first stretch, mean over the tasks;
            else empty.
        missed_own: of `distill_over_origins`, what is missed on its own origin; else None.
        falling: by which share the last look at the held-back rows found less missed than the best
            before it, if updates ended there because no more were allowed; else 0.
    """

    prompt: SoftPrompt
    before: float
    after: float
    floor: float
    missed: list[float]
    rows: int
    made: int
    steps: int
    start: int = 0
    tried: tuple[float, ...] = ()
    labelled: int = 0
    missed_own: float | None = None
    falling: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompt; of several starts also which one it is, of
        `distill_over_origins` also what is missed on its own origin."""
        left_out = {"prompt"} if self.tried else {"prompt", "start", "tried"}
        if self.missed_own is None:
            left_out.add("missed_own")
        return {name: value for name, value in vars(self).items() if name not in left_out}


def align(
    prompt: PromptLike,
    backbone: BackboneLike,
    teachers: Sequence[Teacher],
    task: TaskLike,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DistillResult:
    """Pull a ported prompt's answers towards those of the prompts that it came from.

    Labels are neither read nor used: rows are laid out with a stand-in for the answer.

    Args:
        prompt: of `backbone`, for instance a ported one; where the search begins.
        backbone: the target.
        teachers: one or more; the mean of their answers is learned.
        task: gives the unlabelled rows and the template.
        split: the split whose texts are read.
        config: budget and rates.
        progress: called with (steps done, steps in all).

    Raises:
        TuningError: no teacher.
        TaskError: too few rows, or a text to text task.
        AnchorError: a probe, and the backbones share no words to compare answers on.
    """
    config = config or DistillConfig()
    prompt, backbone, task = as_prompt(prompt), as_backbone(backbone), as_task(task)
    backbone.check_prompt(prompt)
    if not teachers:
        raise TuningError("teachers", expected="one or more", got="none", fix="Name a prompt")
    targets = DistillTargets.make(backbone, prompt, teachers, task, split, config)
    return align_to(prompt, targets, teachers, config, progress)


def align_to(
    prompt: SoftPrompt,
    targets: DistillTargets,
    teachers: Sequence[Teacher],
    config: DistillConfig,
    progress: Callable[[int, int], None] | None = None,
    *,
    state: Path | None = None,
) -> DistillResult:
    """As `align`, where the teachers were asked before.

    Args:
        prompt: of the backbone that the targets were made for, in their template.
        targets: the questions and the teachers' answers.
        teachers: who gave them, for the history.
        config: budget and rates.
        progress: called with (steps done, steps in all).
        state: file in which an unfinished run is kept.
    """
    name = targets.objective.backbone.name
    learning = from_free_vectors(prompt, [targets], config)
    record = finish(learning, progress, f"aligning on {name}", state)
    entry = history_entry("align", config, record)
    entry["teachers"] = [
        {"backbone": t.backbone.name, "task": t.prompt.provenance.task} for t in teachers
    ]
    old = prompt.provenance
    if old.tuning is not None or old.origin is not None:  # tuned here: they belong to the old rows
        entry |= {"origin": old.origin, "tuning": old.tuning}
    provenance = replace(old, origin=None, tuning=None, history=(*old.history, entry))
    return DistillResult(SoftPrompt(learning.best, provenance), **record)


def distill_merge(
    prompt: PromptLike | Sequence[PromptLike],
    backbone: BackboneLike,
    parts: Sequence[tuple[PromptLike, TaskLike]],
    *,
    split: str = "train",
    config: DistillConfig | Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DistillResult:
    """Let one prompt answer like each of several on the texts of its own task; no label is read.

    Sums of task prompt vectors often lose a task. Starting from the sum, a few steps bring back
    what the single prompts said. Tasks count alike: as many rows of each in every pass, and their
    losses in units of what their prompts tell texts apart by, so that a task whose prompt is
    unsure, or that has few texts, is not given up for another.

    Args:
        prompt: of `backbone`, for instance a combination; where the search begins. Of several, for
            instance the sum and the concatenation, each goes one stretch (`DistillConfig.check`),
            and the one that misses least, in the mean of the tasks, goes on.
        backbone: the frozen model of all prompts.
        parts: the single prompts with their tasks, one or more.
        split: the split whose texts are read.
        config: budget and rates, `rows` of every task; or changes to what is usual
            (`merge_settings`).
        progress: called with (steps done, steps in all).

    Returns:
        A prompt with the origin of `prompt`, so that it still has a task prompt vector.

    Raises:
        TuningError: no prompt, or no part.
        MismatchError: a prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
    """
    backbone = as_backbone(backbone)
    config = merge_settings(backbone, config)
    begun = [prompt] if isinstance(prompt, SoftPrompt | str | Path) else prompt
    prompts = [as_prompt(each) for each in begun]
    learned = [(as_prompt(own), as_task(task)) for own, task in parts]
    for what, given in (("prompt", prompts), ("parts", learned)):
        if not given:
            raise TuningError(what, expected="one or more", got="none", fix="Name a prompt")
    for each in prompts:
        backbone.check_prompt(each)
    targets = []
    for own, task in learned:
        # A combination of prompts with different templates has none: tasks keep their own.
        known = replace(prompts[0].provenance, template=own.provenance.template)
        start_prompt, teacher = replace(prompts[0], provenance=known), Teacher(backbone, own)
        targets.append(DistillTargets.make(backbone, start_prompt, [teacher], task, split, config))
    ways = []
    for each in prompts:
        own_targets = [x.asked_through(x.objective.template, each.length) for x in targets]
        ways.append(from_free_vectors(each, own_targets, config))
    total = ways[0].total + sum(way.first for way in ways[1:])
    with stage(f"distilling into one prompt on {backbone.name}") as told:
        told.at(0, total)
        steps = _Steps(total, also(told, progress))
        start, tried = _best_way(ways, steps)
    record = ways[start].record() | {"steps": steps.done}
    entry = history_entry("distill_merge", config, record) | {
        "tasks": [task.name for _, task in learned]
    }
    old = prompts[start].provenance
    provenance = replace(old, history=(*old.history, entry))
    merged = replace(prompts[start], vectors=ways[start].best, provenance=provenance, mixture=None)
    return DistillResult(merged, **record, start=start, tried=tuple(tried))


def _best_way(ways: Sequence[Distillation], steps: _Steps) -> tuple[int, list[float]]:
    """Try the first stretch of every way and finish the best; its number, and what each missed."""
    tried = []
    if len(ways) > 1:
        for way in ways:
            way.go_on(way.first, steps.one)
            tried.append(fmean(way.missed))
    start = tried.index(min(tried)) if tried else 0
    ways[start].go_on(ways[start].total, steps.one)
    return start, tried


def fit_mixture(
    prompt: PromptLike,
    backbone: BackboneLike,
    task: TaskLike,
    *,
    words: Sequence[str] | None = None,
    split: str = "train",
    config: DistillConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    state: Path | None = None,
) -> DistillResult:
    """Find a mixture of words that answers like a finished free prompt, in the same backbone.

    What moves is what the prompt does, not where it lies: free vectors lie mostly off the
    directions that words span, and that part means nothing elsewhere (docs/concepts/mixtures.md).

    Args:
        prompt: a finished prompt of `backbone`.
        backbone: the backbone that it was tuned on.
        task: gives the unlabelled rows.
        words: mix only these, for instance those that a target knows; None for all.
        split: the split whose texts are read.
        config: budget and rates.
        progress: called with (steps done, steps in all).
        state: file in which an unfinished run is kept.

    Returns:
        A mixture prompt of the same length, with its record. Its origin is the random mixture
        that the search began from.

    Raises:
        MismatchError: the prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
        AnchorError: too few words.
    """
    config = config or DistillConfig(epochs=30, patience=5)
    prompt, backbone, task = as_prompt(prompt), as_backbone(backbone), as_task(task)
    backbone.check_prompt(prompt)
    teacher = Teacher(backbone, prompt)
    targets = DistillTargets.make(backbone, prompt, [teacher], task, split, config)
    chosen = mixture_words(backbone.space, words)
    logits = starting_logits(len(chosen), prompt.length, config.seed)
    mixtures = WordMixtures(backbone.space, chosen, logits, backbone.device)
    variants = UnderNoise(config.noise)
    learning = Distillation(mixtures, [targets], config, rate=config.logit_lr, variants=variants)
    start = learning.vectors.cpu().clone()
    record = finish(learning, progress, f"fitting a mixture on {backbone.name}", state)
    old = prompt.provenance
    entry = history_entry("fit_mixture", config, record)
    entry |= {"origin": old.origin, "tuning": old.tuning}
    entry |= {"words": len(chosen), "noise": config.noise}
    few = None if words is None else chosen
    made = OriginSpec("mixture", config.seed, words=few).to_dict()
    provenance: Provenance = replace(old, origin=made, tuning=None, history=(*old.history, entry))
    mixture = mixtures.mixture(slice(0, prompt.length))
    return DistillResult(SoftPrompt(learning.best, provenance, start, mixture), **record)


@dataclass
class _Steps:
    """Counts steps, and tells them."""

    total: int
    progress: Callable[[int, int], None]
    done: int = 0

    def one(self) -> None:
        self.done += 1
        self.progress(self.done, self.total)


def from_free_vectors(
    prompt: SoftPrompt,
    targets: Sequence[DistillTargets],
    config: DistillConfig,
    variants: Variants | None = None,
) -> Distillation:
    """That starts where a prompt of free vectors is."""
    backbone = targets[0].objective.backbone
    return Distillation(
        FreeVectors(prompt.vectors.clone().to(backbone.device)),
        targets,
        config,
        rate=config.relative_lr * backbone.space.statistics.std,
        variants=variants,
        average=config.average * len(targets),
    )


def finish(
    learning: Distillation, progress: Progress | None, label: str, state: Path | None = None
) -> dict[str, Any]:
    """Take all steps, which the label names; the fields of a result.

    Args:
        learning: what takes them.
        progress: called with (steps done, steps in all).
        label: for whoever listens.
        state: file in which an unfinished run is kept and from which it goes on; it stays there.
    """
    file = None if state is None else learning.file(state)
    if file is not None:
        learning.restore(file)
    saved = time.monotonic()
    with stage(label) as told:
        told.at(learning.done, learning.total)
        steps = _Steps(learning.total, also(told, progress), learning.done)

        def stepped() -> None:
            nonlocal saved
            steps.one()
            if file is not None and time.monotonic() - saved > SAVE_SECONDS:
                learning.save(file)
                saved = time.monotonic()

        learning.go_on(learning.total, stepped)
    if file is not None:
        learning.save(file)
    return learning.record()


def history_entry(step: str, config: DistillConfig, record: dict[str, Any]) -> dict[str, Any]:
    """What the history of a prompt keeps of a step."""
    return {
        "step": step,
        "texts": "write" if config.written else config.texts,
        "rows": record["rows"],
        "made": record["made"],
        "labels_used": record["labelled"] > 0,
        "loss": [record["before"], record["after"]],
        "promptport": __version__,
    }
