"""A task with few of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from promptport.tasks.task import Task


def limited(task: Task, rows: Mapping[str, int], words: int = 0) -> Task:
    """The same task with a seeded sample of its rows, texts cut to their first words.

    Args:
        task: any task.
        rows: most rows of each split, 0 for all; splits that are not named are left out.
        words: of every field; 0 for all.

    Raises:
        TaskError: a split that cannot be read.
    """
    parts = {}
    for split, most in rows.items():
        everything = task.load(split)
        order = np.random.default_rng(0).permutation(len(everything))[: most or None]
        chosen = [everything[i] for i in sorted(order)]
        if words:
            chosen = [
                replace(row, fields={k: " ".join(v.split()[:words]) for k, v in row.fields.items()})
                for row in chosen
            ]
        parts[split] = tuple(chosen)
    return task.with_rows(**parts)
