"""One prompt tuned on several tasks together, to start new tasks from.

- `one`: a single prompt for all of them (multi-task SPoT: Vu et al. 2022, arXiv 2110.07904).
- `factors`: a shared prompt times a matrix of rank one per task, `P_s = P ∘ (u_s v_sᵀ)` (MPT: Wang
  et al. 2023, arXiv 2303.02861, Eq. 2), which keeps what tasks disagree on out of `P`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import choose_template, collect_scores, prompted
from promptport.objective import Objective
from promptport.parameters.factors import FactoredPrompts
from promptport.parameters.origins import make_origin
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.tasks import Row, Task
from promptport.tuning.checkpoint import run_to_the_end
from promptport.tuning.config import TuneConfig, TuneJob, refuse_unused
from promptport.tuning.independent import provenance_of, rate_of
from promptport.tuning.runs import PromptRun, RowReader, TaskRows
from promptport.tuning.trainer import ProgressCallback, Trainer

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
        TuningError: no jobs, jobs of several lengths, a job whose origin is a mixture, as many
            teachers as jobs are not given, a share out of its range, a setting that is unknown here
            (clip, weight decay, schedule), or a loss that is not finite.
        TaskError: data or templates that do not fit.
    """
    config = config or TuneConfig()
    _check(jobs, way, teachers, share)
    refuse_unused(config, ("clip", "weight_decay", "schedule"), "tuning together")
    start = jobs[0].origin
    jobs = [replace(job, origin=start, relative_lr=jobs[0].relative_lr) for job in jobs]
    together = _TogetherPrompts(backbone, jobs, config, way)
    for part, teacher in zip(together.run.parts, teachers, strict=bool(teachers)):
        _learn_from(part, teacher, share)

    def tell() -> None:
        if progress is not None:
            progress(together.trainer.progress())

    run_to_the_end(together.trainer, tell, label="tuning together")
    if together.run.error is not None:
        raise TuningError(
            f"tuning together, step {together.run.step}",
            expected="a finite loss",
            got="one that is not",
            fix="Lower the learning rate",
        )
    return together.result()


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
    elif any(job.is_mixture for job in jobs):
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


class _TogetherPrompts:
    """Tasks whose prompts are made of shared parts, and stop together."""

    def __init__(
        self, backbone: Backbone, jobs: Sequence[TuneJob], config: TuneConfig, way: Way
    ) -> None:
        self.way, length = way, jobs[0].length
        self.origin = make_origin(jobs[0].origin, backbone, length)
        rate = rate_of(jobs[0], backbone)
        factor_rate = _FACTOR_RATE * jobs[0].relative_lr / rate if way == "factors" else 0.0
        shared = self.origin.clone().to(backbone.device)
        self.parameters = FactoredPrompts(shared, len(jobs), factor_rate)
        reader = RowReader(backbone, config)
        parts = [reader.rows(job, i * length) for i, job in enumerate(jobs)]
        self.run = PromptRun.of(parts, rate, config)
        self.trainer = Trainer(
            [backbone], self.parameters, [self.run], [self.origin.repeat(len(jobs), 1)], config
        )

    def result(self) -> TogetherResult:
        """What became of all tasks."""
        run, best = self.run, self.trainer.best[0]
        single = [
            self._prompt(best[part.rows], part.job.task.name, part.objective.template.text, score)
            for part, score in zip(run.parts, run.best_scores, strict=True)
        ]
        templates = {part.job.task.name: part.objective.template.text for part in run.parts}
        texts = set(templates.values())
        shared = self._prompt(
            self.parameters.start(),
            " + ".join(templates),
            texts.pop() if len(texts) == 1 else None,
            run.best[0],
        )
        return TogetherResult(
            shared.with_provenance(templates=templates if len(templates) > 1 else None),
            tuple(single),
            run.best_scores,
            run.step,
            run.stopped or "finished",
        )

    def _prompt(self, vectors: Tensor, task: str, template: str | None, score: float) -> SoftPrompt:
        made = provenance_of(self.run, self.trainer.config)
        tuning = {
            **(made.tuning or {}),
            "together": [part.job.task.name for part in self.run.parts],
            "way": self.way,
            "metric": None,
            "dev_score": score,
            "mean_dev_score": self.run.best[0],
            "train_rows": sum(len(part.train.questions) for part in self.run.parts),
        }
        provenance = replace(made, task=task, template=template, tuning=tuning)
        return SoftPrompt(vectors, provenance, self.origin)


def _learn_from(part: TaskRows, teacher: SoftPrompt, share: float) -> None:
    """Mix a teacher's answers into the distributions over labels that a task's rows aim at."""
    task, questions = part.job.task, list(part.train.questions)
    backbone = part.objective.backbone
    backbone.check_prompt(teacher)
    if task.kind != "classification":
        return
    template = choose_template(task, teacher)  # the one that it was tuned with
    objective = Objective(
        backbone, task, template, length=teacher.length, truncate=part.objective.truncate
    )
    asked = objective.prepare([question.row for question in questions]).questions
    with stage(f"asking the prompt of {task.name} for its answers"):
        answers = collect_scores(
            backbone, prompted(objective, asked), teacher.vectors, of_batch=lambda s: s.softmax(1)
        )
    for i, (question, probs) in enumerate(zip(questions, answers.tolist(), strict=True)):
        mixed = [(1 - share) * g + share * p for g, p in zip(question.goal, probs, strict=True)]
        questions[i] = replace(question, goal=tuple(mixed))
    part.train = replace(part.train, questions=tuple(questions))
