"""Rows that name the label before their own, put right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from promptport.errors import TaskError
from promptport.tasks.task import Task


def rightly_labelled(task: Task) -> Task:
    """The same task; rows that name the label before their own in its list are put right.

    There are copies of dbpedia like that: labels counted from 1 were read as counted from 0, so a
    school is a "Company", companies are left out, and no row has the last label. A tuned prompt
    can learn any names, but a template's words cannot. A task whose last label is on a row stays
    as it is.

    Args:
        task: a classification with labels in an order.

    Raises:
        TaskError: it has no labels, or a split cannot be read.
    """
    if task.kind != "classification" or task.is_regression:
        raise TaskError(
            f"task {task.name!r}",
            expected="a classification, whose labels have an order",
            got="a task without labels",
            fix="Leave its labels as they are",
        )
    rows = {split: task.load(split) for split in task.splits}
    if any(row.answer == task.label_names[-1] for each in rows.values() for row in each):
        return task
    following = dict(pairwise(task.label_names))
    return task.with_rows(
        **{
            split: tuple(replace(row, answer=following[row.answer]) for row in each)
            for split, each in rows.items()
        }
    )
