"""What teachers answer, and a backbone's own template, to questions without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.evaluation import choose_template, collect_scores, prompted
from promptport.objective import Objective
from promptport.progress import stage
from promptport.tasks import Row, Task
from promptport.tuning.checkpoint import StateFile
from promptport.tuning.label_prior import label_scores, without_prior


def answers_of(
    teachers: Sequence[Teacher],
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
    config: DistillConfig,
    kept: Path | None,
) -> Tensor:
    """The weighted mean of the teachers' probabilities: (Q, A).

    Args:
        teachers: one or more.
        task: gives the template of prompts that have none.
        rows: Q rows without labels.
        words: A words to answer with; None: the labels.
        config: `truncate` counts.
        kept: file of the answers: read if it is there, else written.

    Raises:
        TuningError: the file holds the answers to other questions.
    """
    if kept is None:
        return _mean_answers(teachers, task, rows, words, config)
    file = _file_of_answers(kept, teachers, task, rows, words)
    found = file.read()
    if found is not None:
        return found[0]["answers"]
    answers = _mean_answers(teachers, task, rows, words, config)
    file.write({"answers": answers}, [])
    return answers


def columns_of(backbone: Backbone, words: Sequence[str] | None) -> Tensor | None:
    if words is None:
        return None
    ids = [backbone.space.words[word] for word in words]
    return torch.tensor(ids, device=backbone.device)


def answers_of_template(
    backbone: Backbone, task: Task, rows: Sequence[Row], config: DistillConfig
) -> Tensor:
    """Log-probabilities (Q, C) of the manual template, the mean of its answers taken off."""
    assert task.manual is not None
    objective = Objective(backbone, task, task.manual, truncate=config.truncate)
    with stage(f"asking {backbone.name} with the manual template"):
        scores = label_scores(objective, rows)
    return without_prior(scores, scores.softmax(1).mean(0)).log_softmax(1)


def who_asked(teachers: Sequence[Teacher], task: Task, asked: Sequence[object]) -> str:
    """Digest of teachers, their prompts and templates, and what they are asked."""
    digest = hashlib.sha256(repr([asked, task.labels, task.writing]).encode())
    for teacher in teachers:
        template = choose_template(task, teacher.prompt).text
        digest.update(repr([teacher.backbone.space.fingerprint, template, teacher.weight]).encode())
        digest.update(teacher.prompt.vectors.numpy().tobytes())
    return digest.hexdigest()


def _file_of_answers(
    path: Path,
    teachers: Sequence[Teacher],
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
) -> StateFile:
    """The file of the answers to these questions: any other question has another identity."""
    digest = who_asked(teachers, task, [*rows, words])
    return StateFile(path, {"asked": digest, "promptport": __version__})


def _mean_answers(
    teachers: Sequence[Teacher],
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
    config: DistillConfig,
) -> Tensor:
    """The weighted mean of the teachers' probabilities: (Q, A)."""
    total = sum(teacher.weight for teacher in teachers)
    answers = torch.zeros(0)
    for teacher in teachers:
        own = _answers(teacher, task, rows, words, config) * (teacher.weight / total)
        answers = own if not len(answers) else answers + own
    return answers


def _answers(
    teacher: Teacher,
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
    config: DistillConfig,
) -> Tensor:
    """Probabilities (Q, A) that a teacher gives to labels, or to the shared words."""
    backbone, prompt = teacher.backbone, teacher.prompt
    backbone.check_prompt(prompt)
    template = choose_template(task, prompt)
    objective = Objective(backbone, task, template, length=prompt.length, truncate=config.truncate)
    queries = prompted(objective, objective.prepare(rows).questions)
    columns = columns_of(backbone, words)

    def probabilities(scores: Tensor) -> Tensor:
        kept = scores if columns is None else scores.index_select(1, columns)
        return kept.softmax(1).cpu()

    with stage(f"asking {backbone.name} for its answers"):
        return collect_scores(backbone, queries, prompt.vectors, of_batch=probabilities)
