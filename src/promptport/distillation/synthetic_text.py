"""Made-up texts, to learn from a teacher where there are few texts or none at all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.tasks import Row, Task

# Shortest and longest text. The fields of a probe are names, those of other tasks sentences.
_WORDS = {"probe": (1, 2), "classification": (4, 16)}
_NEAR = 10  # words to swap one for
_LOOKED_AT = 60  # tokens among which they are sought: many are no whole words
_SWAPPED = 0.25  # share of the words of a text, one at least
_TRIES = 10  # rows made per row asked for, since some come twice
_MOST_PIECES = 4  # of more tokens than these the mean says little of a word
_AT_ONCE = 1024  # words looked up together
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)  # a word without its punctuation


def synthetic_rows(task: Task, words: Sequence[str], count: int, seed: int) -> list[Row]:
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


def swapped_rows(
    rows: Sequence[Row],
    backbone: Backbone,
    count: int,
    seed: int,
    *,
    but: Sequence[Row] = (),
) -> list[Row]:
    """New rows: some words of a text are swapped for words near them in the embedding space.

    As synonyms are in easy data augmentation (Wei & Zou 2019, arXiv 1901.11196), but without a
    dictionary. Punctuation stays, and so do words that the tokenizer does not know or cuts into
    many pieces. Near words are single tokens, so that texts hardly grow.

    Args:
        rows: one or more, whose answers are kept.
        backbone: of the embedding space and the tokenizer.
        count: rows to make.
        seed: of the choice of texts and words.
        but: rows that must not come out.

    Returns:
        At most `count` rows, no two alike and none that was there: few short texts allow few.
    """
    words = {_core(w) for row in rows for text in row.fields.values() for w in text.split()}
    near = _near(sorted(words - {""}), backbone)
    generator = torch.Generator().manual_seed(seed)

    def below(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    seen = {tuple(row.fields.values()) for row in (*rows, *but)}
    made: list[Row] = []
    for _ in range(_TRIES * count):
        if len(made) == count:
            break
        row = rows[below(len(rows))]
        split = {name: text.split() for name, text in row.fields.items()}
        places = [
            (name, i) for name in split for i, w in enumerate(split[name]) if near.get(_core(w))
        ]
        if not places:
            continue
        order = torch.randperm(len(places), generator=generator).tolist()
        for place in order[: max(1, round(_SWAPPED * len(places)))]:
            name, i = places[place]
            before, core, after = _CORE.match(split[name][i]).groups()  # type: ignore[union-attr]
            split[name][i] = before + near[core][below(len(near[core]))] + after
        fields = {name: " ".join(text) for name, text in split.items()}
        if tuple(fields.values()) not in seen:
            seen.add(tuple(fields.values()))
            made.append(replace(row, fields=fields))
    return made


def _core(word: str) -> str:
    return _CORE.sub(r"\2", word)


def _near(words: Sequence[str], backbone: Backbone) -> dict[str, list[str]]:
    """For each word the other words nearest to the mean of its tokens, the nearest first."""
    space = backbone.space
    whole = {index: word for word, index in space.words.items()}
    ids = [backbone.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    unknown = backbone.special.unknown
    known = [
        (word, own)
        for word, own in zip(words, ids, strict=True)
        if 0 < len(own) <= _MOST_PIECES and unknown not in own
    ]
    near: dict[str, list[str]] = {}
    for first in range(0, len(known), _AT_ONCE):
        some = known[first : first + _AT_ONCE]
        vectors = torch.stack([space.rows(own).mean(0) for _, own in some])
        nearest = space.nearest_ids(vectors, min(_LOOKED_AT, space.trained_rows))
        for (word, _), others in zip(some, nearest, strict=True):
            names = [whole[i] for i, _ in others if i in whole]
            near[word] = [name for name in names if name.lower() != word.lower()][:_NEAR]
    return near


def spread(answers: Tensor, count: int) -> list[int]:
    """Rows whose first answers are as different as can be.

    Random words are mostly answered alike, and from such rows a prompt learns that one answer.

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
