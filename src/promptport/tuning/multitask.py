"""One prompt tuned on several tasks together, to start new tasks from.

- `one`: a single prompt for all of them (multi-task SPoT: Vu et al. 2022, arXiv 2110.07904).
- `factors`: a shared prompt times a matrix of rank one per task, `P_s = P ∘ (u_s v_sᵀ)` (MPT: Wang
  et al. 2023, arXiv 2303.02861, Eq. 2), which keeps what tasks disagree on out of `P`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import choose_template, collect_scores, prompted
from promptport.objective import Objective
from promptport.parameters.optimiser import RowAdam
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.tasks import Row, Task
from promptport.tuning.config import Progress, TuneConfig, TuneJob, refuse_unused
from promptport.tuning.trainer import ProgressCallback, PromptRun, Trainer

Way = Literal["one", "factors"]
# Learning rate of u and v (which start at 1) as a share of a job's relative learning rate.
_FACTOR_RATE = 0.2


@dataclass(frozen=True)
class TogetherResult:
    """What became of tasks that were tuned together.

    Attributes:
        prompt: where a new task starts: the shared prompt, for `factors` times the matrix of the
            mean factors (Wang et al., section 3.3). An ordinary prompt with its origin.
        prompts: one ordinary prompt per task; for `one` all the same.
        dev_scores: of the best check, per task.
        steps: steps that were run.
        stopped: `finished` or `no better dev score`.
    """

    prompt: SoftPrompt
    prompts: tuple[SoftPrompt, ...]
    dev_scores: tuple[float, ...]
    steps: int
    stopped: str


def tune_together(
    backbone: Backbone,
    jobs: Sequence[TuneJob],
    config: TuneConfig | None = None,
    *,
    way: Way = "one",
    teachers: Sequence[SoftPrompt] = (),
    share: float = 0.5,
    progress: ProgressCallback | None = None,
) -> TogetherResult:
    """Tune one prompt on several tasks at once; every step takes a batch of each.

    An epoch is a pass over the longest task; after each one the mean dev score is checked.

    Args:
        backbone: the frozen model.
        jobs: one per task, of one length; origin and learning rate are those of the first.
        config: settings that all share.
        way: `one` or `factors`.
        teachers: one prompt per job that was tuned on its task alone: their answers are learned
            beside the labels (Wang et al., Eq. 3; of a classification; probes learn labels alone).
        share: of the teachers' answers in what is learned, 0 to 1.
        progress: called after every step.

    Raises:
        TuningError: no jobs, jobs of several lengths, an anchored job, as many teachers as jobs are
            not given, a share out of its range, a setting that is unknown here (clip, weight decay,
            schedule), or a loss that is not finite.
        TaskError: data or templates that do not fit.
    """
    config = config or TuneConfig()
    _check(jobs, way, teachers, share)
    refuse_unused(config, ("clip", "weight_decay", "schedule"), "tuning together")
    start = jobs[0].origin
    jobs = [replace(job, origin=start, relative_lr=jobs[0].relative_lr) for job in jobs]
    run = _Together(backbone, jobs, config, way)
    for track, teacher in zip(run.loop.tracks, teachers, strict=bool(teachers)):
        _learn_from(track, teacher, share)
    stopped = "finished"
    for epoch in range(run.config.epochs):
        for _ in range(run.per_epoch):
            run.step()
            if progress is not None:
                total = run.config.epochs * run.per_epoch
                best = (run.best[0] if run.best_epoch >= 0 else None,)
                progress(Progress(run.steps, total, 1, best))
        run.check(epoch)
        if run.config.patience and epoch - run.best_epoch >= run.config.patience:
            stopped = "no better dev score"
            break
    return run.result(stopped)


def check_labelled(task: Task, labelled: int, split: str = "train") -> None:
    """Refuse a number of labelled rows that a split does not have; of 0 none is read.

    Raises:
        TuningError: below 0, or more than there are.
    """
    there = len(task.load(split)) if labelled else 0
    if not 0 <= labelled <= there:
        raise TuningError(
            "labelled",
            expected=f"0 to {there}, the rows of {task.name}, {split}",
            got=str(labelled),
            fix="Ask for another number",
        )


def few_shot(task: Task, count: int, seed: int = 0) -> Task:
    """The task with `count` random training rows, which are its dev rows as well.

    Nothing else is labelled then, so a prompt tuned on it is chosen by these rows alone.

    Args:
        task: the task.
        count: rows, 1 or more.
        seed: of their choice; fewer rows are among more rows of the same seed.

    Raises:
        TuningError: a count below 1, or more rows than the task has.
    """
    rows = task.load("train")
    if not 1 <= count <= len(rows):
        raise TuningError(
            f"rows of {task.name}",
            expected=f"1 to {len(rows)}",
            got=str(count),
            fix="Ask for another number",
        )
    check_seed(seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    picked: tuple[Row, ...] = tuple(rows[i] for i in order[:count].tolist())
    parts = {"train": picked, "dev": picked}
    if "test" in task.splits:
        parts["test"] = task.load("test")
    return task.with_rows(**parts)


def _check(jobs: Sequence[TuneJob], way: str, teachers: Sequence[SoftPrompt], share: float) -> None:
    wrong = None
    if not jobs or len({job.length for job in jobs}) > 1:
        wrong = "jobs", "one or more, of one length", str(sorted({j.length for j in jobs}))
    elif any(job.anchored for job in jobs):
        wrong = "origin", "free vectors", "a mixture"
    elif way not in get_args(Way):
        wrong = "way", " or ".join(get_args(Way)), repr(way)
    elif teachers and len(teachers) != len(jobs):
        wrong = "teachers", f"none, or one per task ({len(jobs)})", str(len(teachers))
    elif any(t.length != j.length for t, j in zip(teachers, jobs, strict=bool(teachers))):
        wrong = "teachers", f"{jobs[0].length} virtual tokens", str([t.length for t in teachers])
    elif not 0 <= share <= 1:
        wrong = "share", "0 to 1", repr(share)
    if wrong is not None:
        name, expected, got = wrong
        raise TuningError(name, expected=expected, got=got, fix=f"Correct the {name}")


class _Together:
    """An ordinary loop whose prompts are made of shared parts."""

    def __init__(
        self, backbone: Backbone, jobs: Sequence[TuneJob], config: TuneConfig, way: Way
    ) -> None:
        self.loop = Trainer(backbone, jobs, config)
        self.config = config
        self.way = way
        count, length = len(jobs), jobs[0].length
        device = self.loop.vectors.device
        self.shared = self.loop.vectors[:length].clone()  # (n, d)
        self.left = torch.ones(count, length, device=device)  # u_s
        self.right = torch.ones(count, self.shared.shape[1], device=device)  # v_s
        self.optimisers = [RowAdam(part) for part in (self.shared, self.left, self.right)]
        self.rate = self.loop.tracks[0].rate
        self.factor_rate = _FACTOR_RATE * jobs[0].relative_lr if way == "factors" else 0.0
        self.per_epoch = max(t.per_epoch(config.batch_size) for t in self.loop.tracks)
        self.steps = 0
        self.best = (-math.inf, math.inf)
        self.best_epoch = -1
        self.best_parts = (self.shared, self.left, self.right)
        self.scores: tuple[float, ...] = ()

    def matrices(self) -> Tensor:
        """(S, n, d): u_s v_sᵀ of each task."""
        return self.left[:, :, None] * self.right[:, None, :]

    def step(self) -> None:
        """One update of all parts along the mean gradient of the tasks."""
        tracks = self.loop.tracks
        losses, gradient = self.loop.gradients(tracks)
        if not all(map(math.isfinite, losses)) or not bool(torch.isfinite(gradient).all()):
            raise TuningError(
                f"tuning together, step {self.steps}",
                expected="a finite loss",
                got="one that is not",
                fix="Lower the learning rate",
            )
        own = gradient.reshape(len(tracks), *self.shared.shape) / len(tracks)  # (S, n, d)
        parts = [(own * self.matrices()).sum(0)]
        along = own * self.shared
        parts.append((along * self.right[:, None, :]).sum(2))
        parts.append((along * self.left[:, :, None]).sum(1))
        warm = max(1, round(self.config.warmup * self.config.epochs * self.per_epoch))
        scale = min(1.0, (self.steps + 1) / warm)
        rates = (self.rate, self.factor_rate, self.factor_rate)
        for optimiser, part, rate in zip(self.optimisers, parts, rates, strict=True):
            rows = torch.full((len(part), 1), rate * scale, device=part.device)
            optimiser.step(part, rows, rows > 0)
        self.loop.vectors = (self.shared * self.matrices()).flatten(0, 1)
        self.steps += 1
        for track in tracks:
            track.step += 1

    def check(self, epoch: int) -> None:
        """Keep the parts if the mean dev score is the best so far."""
        found = self.loop.dev_scores(self.loop.tracks)
        mean = tuple(sum(values) / len(found) for values in zip(*found, strict=True))
        if (mean[0], -mean[1]) > (self.best[0], -self.best[1]):
            self.best, self.best_epoch = (mean[0], mean[1]), epoch
            self.best_parts = (self.shared.clone(), self.left.clone(), self.right.clone())
            self.scores = tuple(score for score, _ in found)

    def result(self, stopped: str) -> TogetherResult:
        shared, left, right = self.best_parts
        single = [
            self._prompt(shared * (u[:, None] * v), t.job.task.name, t.objective.template, score)
            for u, v, t, score in zip(left, right, self.loop.tracks, self.scores, strict=True)
        ]
        texts = {track.objective.template.text for track in self.loop.tracks}
        template = self.loop.tracks[0].objective.template if len(texts) == 1 else None
        names = " + ".join(track.job.task.name for track in self.loop.tracks)
        start = shared * (left.mean(0)[:, None] * right.mean(0))
        return TogetherResult(
            self._prompt(start, names, template, self.best[0]),
            tuple(single),
            self.scores,
            self.steps,
            stopped,
        )

    def _prompt(self, vectors: Tensor, task: str, template: object, score: float) -> SoftPrompt:
        origin = self.loop.origins[: len(vectors)]
        track = self.loop.tracks[0]
        made = self.loop.prompt(track)
        tuning = {
            **(made.provenance.tuning or {}),
            "together": [t.job.task.name for t in self.loop.tracks],
            "way": self.way,
            "best_epoch": self.best_epoch + 1,
            "steps": self.steps,
            "metric": None,
            "dev_score": score,
            "mean_dev_score": self.best[0],
            "dev_loss": self.best[1],
            "train_rows": sum(len(t.train.questions) for t in self.loop.tracks),
        }
        text = getattr(template, "text", None)
        provenance = replace(made.provenance, task=task, template=text, tuning=tuning)
        return SoftPrompt(vectors, provenance, origin)


def _learn_from(track: PromptRun, teacher: SoftPrompt, share: float) -> None:
    """Mix a teacher's answers into the distributions over labels that a task's rows aim at."""
    task, questions = track.job.task, list(track.train.questions)
    backbone = track.objective.backbone
    backbone.check_prompt(teacher)
    if task.kind != "classification":
        return
    template = choose_template(task, teacher)  # the one that it was tuned with
    objective = Objective(
        backbone, task, template, length=teacher.length, truncate=track.objective.truncate
    )
    asked = objective.prepare([question.row for question in questions]).questions
    answers = collect_scores(
        backbone, prompted(objective, asked), teacher.vectors, of_batch=lambda s: s.softmax(1)
    )
    for i, (question, probs) in enumerate(zip(questions, answers.tolist(), strict=True)):
        mixed = [(1 - share) * g + share * p for g, p in zip(question.goal, probs, strict=True)]
        questions[i] = replace(question, goal=tuple(mixed))
    track.train = replace(track.train, questions=tuple(questions))
