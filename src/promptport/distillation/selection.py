"""Choice among ways to carry a prompt, without target labels unless they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.targets import agreement
from promptport.errors import PromptPortError
from promptport.evaluation import evaluate
from promptport.progress import stage
from promptport.registry import unknown_name
from promptport.tasks import Task, TaskLike, as_task
from promptport.transfers import Source, TransferConfig, TransferResult, transfer

Criterion = Literal["matching", "roundtrip", "agreement", "labels"]
_NEEDS_TASK = ("agreement", "labels")


@dataclass(frozen=True)
class Selection:
    """The best of several transfers.

    Attributes:
        result: the best one; its last history entry has all that follows.
        chosen: its name.
        criterion: what decided.
        scores: of every candidate by name, higher is better.
        touched: what data was read: `nothing`, `unlabelled text` or `labels`.
    """

    result: TransferResult
    chosen: str
    criterion: Criterion
    scores: dict[str, float]
    touched: str


def select_transfer(
    sources: Sequence[Source],
    target: BackboneLike,
    candidates: Mapping[str, TransferConfig],
    *,
    by: Criterion = "roundtrip",
    task: TaskLike | None = None,
    teachers: Sequence[BackboneLike] = (),
    config: DistillConfig | None = None,
) -> Selection:
    """Carry a prompt in several ways and keep the best.

    Args:
        sources: one or more, as for `transfer`.
        target: the backbone that the prompt shall work on.
        candidates: name -> how it is carried.
        by: `matching` (paper A's objective: says little), `roundtrip` (what comes back when the
            result is carried back: its cosine to the prompt, or, with `task` and `teachers`, how
            alike the two answer on the source), `agreement` (the target's answers against the
            source's on unlabelled text), `labels` (score on the target's dev rows, as paper A's
            released code does).
        task: gives rows for `agreement`, `labels` and the longer `roundtrip`.
        teachers: backbones of the sources, in their order, for `agreement` and `roundtrip`.
        config: rows and seed of the unlabelled text.

    Returns:
        The best, with every score and what data was read.

    Raises:
        PromptPortError: no candidates, or a task or teacher is missing.
        UnknownNameError: no such criterion.
    """
    if by not in get_args(Criterion):
        raise unknown_name("criterion", by, get_args(Criterion))
    if not candidates:
        raise PromptPortError("candidates", expected="one or more", got="none", fix="Name a method")
    lacks_teachers = by == "agreement" and len(teachers) != len(sources)
    if (by in _NEEDS_TASK and task is None) or lacks_teachers:
        raise PromptPortError(
            f"criterion {by}",
            expected="a task, and for agreement the backbone of every source",
            got="none" if task is None else f"{len(teachers)} backbones for {len(sources)} sources",
            fix="Name them, or choose by roundtrip",
        )
    model, asked = as_backbone(target), None if task is None else as_task(task)
    own = [as_backbone(backbone) for backbone in teachers]
    judge = _Judge(sources, model, by, asked, own, config or DistillConfig())
    results, scores = {}, {}
    with stage("comparing ways to carry it") as told:
        for done, (name, way) in enumerate(candidates.items()):
            told.at(done, len(candidates), name)
            results[name] = transfer(sources, target=model.space, config=way)
            scores[name] = judge.score(results[name], way)
    chosen = max(scores, key=lambda name: scores[name])
    record = {"by": by, "chosen": chosen, "scores": scores, "touched": judge.touched}
    return Selection(_recorded(results[chosen], record), chosen, by, scores, judge.touched)


def _recorded(result: TransferResult, record: dict[str, Any]) -> TransferResult:
    old = result.prompt.provenance
    *before, entry = old.history
    history = (*before, {**entry, "selection": record})
    prompt = replace(result.prompt, provenance=replace(old, history=history))
    uses_labels = record["touched"] == "labels"
    return TransferResult(prompt, replace(result.report, labels_used=uses_labels))


@dataclass(frozen=True)
class _Judge:
    sources: Sequence[Source]
    target: Backbone
    by: Criterion
    task: Task | None
    teachers: Sequence[Backbone]
    config: DistillConfig

    @property
    def touched(self) -> str:
        if self.by == "labels":
            return "labels"
        reads = self.by == "agreement" or (self.by == "roundtrip" and self._can_ask)
        if not reads:
            return "nothing"
        return "unlabelled text" if self.config.texts == "task" else "random words"

    @property
    def _can_ask(self) -> bool:
        return self.task is not None and len(self.teachers) == len(self.sources)

    def score(self, result: TransferResult, config: TransferConfig) -> float:
        """Higher is better."""
        if self.by == "matching":
            return result.report.matching
        if self.task is not None and self.by == "labels":
            truncate = self.config.truncate
            found = evaluate(self.target, self.task, result.prompt, split="dev", truncate=truncate)
            return found.score.value
        if self.task is not None and self.by == "agreement":
            pairs = zip(self.teachers, self.sources, strict=True)
            teachers = [Teacher(b, source.prompt, source.weight) for b, source in pairs]
            return -agreement(
                result.prompt, self.target, teachers, self.task, config=self.config
            ).divergence
        if self.task is not None and self._can_ask:
            return self._agreement_on_source(result, config, self.task)
        return result.report.roundtrip if result.report.roundtrip is not None else -1.0

    def _agreement_on_source(
        self, result: TransferResult, config: TransferConfig, task: Task
    ) -> float:
        """Mean over the sources: how alike the prompt that came back answers there."""
        total = 0.0
        for backbone, source in zip(self.teachers, self.sources, strict=True):
            back = transfer(result.prompt, self.target.space, backbone.space, config).prompt
            teacher = [Teacher(backbone, source.prompt)]
            total -= agreement(back, backbone, teacher, task, config=self.config).divergence
        return total / len(self.sources)


def parse_candidate(
    text: str, parse: Callable[[list[str]], dict[str, Any]], common: TransferConfig
) -> TransferConfig:
    """`omp:k=16,token`: a method, its options, and a magnitude rule (the part without `=`).

    Args:
        text: what a user writes.
        parse: reads NAME=VALUE texts.
        common: all other settings.
    """
    method, _, rest = text.partition(":")
    parts = [part for part in rest.split(",") if part]
    rules = [part for part in parts if "=" not in part]
    return replace(
        common,
        method=method,
        options=parse([part for part in parts if "=" in part]),
        magnitude=rules[-1] if rules else common.magnitude,
    )
