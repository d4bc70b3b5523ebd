"""Made-up texts of random words, for learning from a teacher where there is no text at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from promptport.tasks import Row, Task

# Shortest and longest text. The fields of a probe are names, those of other tasks sentences.
_WORDS = {"probe": (1, 2), "classification": (4, 16)}


def made_rows(task: Task, words: Sequence[str], count: int, seed: int) -> list[Row]:
    """Rows whose fields are random words; no row of the task is read.

    Args:
        task: says which fields a row has, and of which kind it is.
        words: drawn from these, each as likely as any other.
        count: rows.
        seed: of the drawing.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = _WORDS["probe" if task.kind == "probe" else "classification"]

    def text() -> str:
        length = int(torch.randint(low, high + 1, (1,), generator=generator))
        drawn = torch.randint(len(words), (length,), generator=generator).tolist()
        return " ".join(words[i] for i in drawn)

    return [Row({name: text() for name in task.fields}, "") for _ in range(count)]


def spread(answers: Tensor, count: int) -> list[int]:
    """Rows whose first answers are as different as can be.

    Random words are mostly answered alike, and a student of such rows learns that one answer.

    Args:
        answers: (Q, A) probabilities that the teachers give.
        count: rows to choose.

    Returns:
        At most `count` indices, rising: one row of each first answer, then another, and so on.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, first in enumerate(answers.argmax(1).tolist()):
        groups[first].append(index)
    turns = [(turn, index) for group in groups.values() for turn, index in enumerate(group)]
    return sorted(index for _, index in sorted(turns)[:count])
