"""Which questions are asked: texts of a task, texts that a model writes, random words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.distillation.config import FEWEST_ROWS, DistillConfig, Teacher
from promptport.distillation.synthetic_text import swapped_rows, synthetic_rows
from promptport.distillation.written_text import can_write, written_rows
from promptport.errors import AnchorError, BackboneError, TaskError
from promptport.files import json_bytes, read_json, write_atomic
from promptport.objective import Objective, pick_rows
from promptport.space import EmbeddingSpace
from promptport.tasks import Row, Task

_NO_FREE_ANSWERS = "Free answers cannot be compared word by word; tune on the target instead"
_MADE_PER_ROW = 4  # made-up texts of which one is kept
_MOST_WORDS = 20_000  # a probe's answers are compared on at most so many shared words


def with_written_texts(
    task: Task,
    split: str,
    config: DistillConfig,
    backbone: Backbone,
    teachers: Sequence[Teacher],
    kept: Path | None = None,
) -> tuple[Task, DistillConfig]:
    """A task whose texts are those that a model writes, and a configuration that reads them.

    Args:
        task: whose first texts the model is shown, as `config.shown` says.
        split: of these, and of the written ones.
        config: with the texts `write`.
        backbone: whose prompt learns; it writes if it can.
        teachers: else the first of their backbones that can.
        kept: file of the texts: read if they were written to this very end, else written.

    Raises:
        TaskError: nothing to begin with, a text to text task, or too few texts came.
        BackboneError: none of the backbones can write.
    """
    task.refuse_text2text(_NO_FREE_ANSWERS)
    able = [own for own in (backbone, *(t.backbone for t in teachers)) if can_write(own)]
    if not able:
        raise BackboneError(
            "texts 'write'",
            expected="a causal model, which writes",
            got=", ".join(dict.fromkeys(f"{t.backbone.name}: {t.backbone.kind}" for t in teachers)),
            fix="Choose --texts words, or give texts of the task",
        )
    there = task.texts(split) if split in task.splits else ()
    shown = pick_rows(there, config.shown, config.seed) if config.shown else ()
    # Most texts get one answer: of twice as many, those are kept whose answers differ.
    wanted = 2 * config.rows
    asked = [able[0].space.fingerprint, wanted, config.seed, config.about]
    asked += [row.fields for row in shown]
    rows = _kept_texts(kept, asked)
    if rows is None:
        rows = written_rows(able[0], task, wanted, config.seed, shown=shown, about=config.about)
        if kept is not None:
            texts = [row.fields for row in rows]
            write_atomic(kept, json_bytes({"asked": asked, "texts": texts}))
    if len(rows) < FEWEST_ROWS:
        raise TaskError(
            f"texts by {able[0].name}",
            expected=f"{FEWEST_ROWS} or more that are of use",
            got=str(len(rows)),
            fix="Show it some texts of the task, or say what they are (--about)",
        )
    return task.with_rows(**{split: rows}), replace(config, texts="task", written=True)


def _kept_texts(kept: Path | None, asked: list[Any]) -> list[Row] | None:
    """Texts that were written before, if they were asked for in the same way."""
    if kept is None or not kept.is_file():
        return None
    known = read_json(kept)
    same = known.get("asked") == json.loads(json.dumps(asked))
    return [Row(fields, "") for fields in known["texts"]] if same else None


def compares_words(task: Task, config: DistillConfig) -> bool:
    return task.kind == "probe" or config.texts == "words"


def unlabelled_rows(
    task: Task, split: str, config: DistillConfig, words: Sequence[str]
) -> Sequence[Row]:
    task.refuse_text2text(_NO_FREE_ANSWERS)
    if config.texts == "words":
        return synthetic_rows(task, words, _MADE_PER_ROW * config.rows, config.seed)
    most = 2 * config.rows if config.written else config.rows
    picked = pick_rows(task.texts(split), most, config.seed)
    if len(picked) < FEWEST_ROWS:
        raise TaskError(
            f"task {task.name!r}, {split}",
            expected=f"at least {FEWEST_ROWS} rows of text",
            got=str(len(picked)),
            fix="Give more unlabelled rows, or learn on random words",
        )
    return picked


def held_back_of(count: int, config: DistillConfig) -> int:
    return min(count - 1, max(1, round(config.held_back * count)))


def held_back_rows(task: Task, split: str, config: DistillConfig) -> Sequence[Row]:
    """The task's own texts that only decide when to stop; none where texts are made."""
    if config.texts != "task":
        return ()
    rows = unlabelled_rows(task, split, config, ())
    return rows[: held_back_of(len(rows), config)]


def filling_rows(rows: Sequence[Row], objective: Objective, config: DistillConfig) -> list[Row]:
    """Rows made of those that are learned from, where there are few."""
    missing = min(config.fill, config.rows) - len(rows)
    if config.texts == "words" or config.written or missing <= 0:
        return []
    held = held_back_of(len(rows), config)
    made = swapped_rows(rows[held:], objective.backbone, missing, config.seed, but=rows[:held])
    return [row for row in made if fits(row, objective)]


def fits(row: Row, objective: Objective) -> bool:
    """Whether a backbone can be asked a row."""
    try:
        objective.prepare([row])
    except TaskError:
        return False
    return True


def shared_words(backbone: Backbone, teachers: Sequence[Teacher]) -> tuple[str, ...]:
    spaces = [backbone.space, *(teacher.backbone.space for teacher in teachers)]
    words = set.intersection(*(set(space.words) for space in spaces))
    if len(words) > _MOST_WORDS:
        # Tokenizers order words by frequency: the rare ones are left out.
        words = set(sorted(words, key=lambda word: _rarity(word, spaces))[:_MOST_WORDS])
    if len(words) < 2:
        raise AnchorError(
            "answers",
            expected="words that are single tokens of all backbones",
            got=str(len(words)),
            fix="Choose another pair of backbones",
        )
    return tuple(sorted(words))


def _rarity(word: str, spaces: Sequence[EmbeddingSpace]) -> tuple[float, str]:
    """Mean place in the spaces' tables, as a share of their sizes; the word decides ties."""
    return sum(space.words[word] / space.trained_rows for space in spaces) / len(spaces), word


def blind_row(row: Row, task: Task, words: Sequence[str] | None) -> Row:
    """The row with a stand-in for its answer, which only takes the answer's place."""
    return replace(row, answer=words[0] if words else task.label_names[0])


def answers_of_labels(
    rows: Sequence[Row], task: Task, words: Sequence[str] | None
) -> tuple[Tensor, list[Row]]:
    """Probability 1 (L, A) of the labels of some rows, and those whose label is among the answers.

    Raises:
        TaskError: there are such rows, and no label is among the answers.
    """
    names = {name: i for i, name in enumerate(task.label_names if words is None else words)}
    known = [row for row in rows if row.answer in names]
    if rows and not known:
        raise TaskError(
            f"task {task.name!r}",
            expected="labelled rows whose labels are words of both models",
            got=f"{rows[0].answer!r} and others",
            fix="Leave --labelled out, or choose a pair of models that share them",
        )
    gold = torch.zeros(len(known), len(names))
    for place, row in enumerate(known):
        gold[place, names[row.answer]] = 1
    return gold, known
