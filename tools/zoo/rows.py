"""From texts to rows of tokens: encoding, packing, grouping rows of like length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerFast

from .config import BackboneConfig
from .corpus import Text


@dataclass
class Row:
    """Tokens of one row, still without special tokens."""

    ids: list[int]
    words: list[int]  # number of the word that each token belongs to; -1: noise, never hidden
    focus: list[bool]  # whether the token belongs to a focus word


def encode(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Encode every text by itself, and find its focus word among the tokens."""
    encodings = tokenizer.backend_tokenizer.encode_batch(
        [text.text for text in texts], add_special_tokens=False
    )
    rows = []
    for text, encoding in zip(texts, encodings, strict=True):
        start, end = focus_span(text)
        focus = [low < end and high > start for low, high in encoding.offsets]
        words = [-1 if word is None else word for word in encoding.word_ids]
        rows.append(Row(encoding.ids, words, focus))
    return rows


def focus_span(text: Text) -> tuple[int, int]:
    """Characters of the last occurrence of the focus word as a whole word; (0, 0) for none."""
    if not text.focus:
        return 0, 0
    pattern = rf"(?<!\w){re.escape(text.focus)}(?!\w)"
    found = list(re.finditer(pattern, text.text))
    return found[-1].span() if found else (0, 0)


class RowMaker:
    """Turns blocks of texts into groups of rows of like length, one group per part of a batch."""

    def __init__(self, config: BackboneConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self.data = config.data
        self.tokenizer = tokenizer
        self.room = config.data.positions - 2  # special tokens
        special = set(tokenizer.all_special_ids)
        self.plain_ids = np.array([i for i in range(len(tokenizer)) if i not in special])

    def short(self, texts: list[Text], rng: np.random.Generator, *, budget: int) -> list[list[Row]]:
        """Groups of rows with one text each, at most `budget` padded tokens per group."""
        rows = [self._noisy(row, rng) for row in encode(texts, self.tokenizer)]
        return _grouped(rows, rng, budget)

    def open(
        self, pocket: list[Text], corpus: list[Text], rng: np.random.Generator, *, budget: int
    ) -> list[list[Row]]:
        """Groups of rows of corpus texts, some of them packed together with pocket sentences."""
        packed = round(len(corpus) * self.data.long_share * (1 - self.data.long_pocket_share))
        mixed = corpus[:packed] + pocket
        rows = self._pack([mixed[index] for index in rng.permutation(len(mixed))], rng)
        rows += [self._cut(row) for row in encode(corpus[packed:], self.tokenizer)]
        return _grouped(rows, rng, budget)

    def _cut(self, row: Row) -> Row:
        return Row(row.ids[: self.room], row.words[: self.room], row.focus[: self.room])

    def _noisy(self, row: Row, rng: np.random.Generator) -> Row:
        """Sometimes random tokens in front, as a soft prompt will be later."""
        row = self._cut(row)
        if rng.random() >= self.data.noise_share:
            return row
        count = int(rng.integers(1, self.data.noise_tokens + 1))
        count = min(count, self.room - len(row.ids))
        noise = rng.choice(self.plain_ids, count).tolist()
        return Row(noise + row.ids, [-1] * count + row.words, [False] * count + row.focus)

    def _pack(self, texts: list[Text], rng: np.random.Generator) -> list[Row]:
        """Several texts per row, up to lengths drawn between a third and all of the positions."""
        rows: list[Row] = []
        limit = 0
        for row in encode(texts, self.tokenizer):
            row = self._cut(row)
            if not rows or len(rows[-1].ids) + len(row.ids) > limit:
                limit = int(rng.integers(self.room // 3, self.room + 1))
                rows.append(row)
                continue
            last = rows[-1]
            base = max(last.words) + 1
            last.ids += row.ids
            last.words += [base + word for word in row.words]
            last.focus += row.focus
        return rows


def _grouped(rows: list[Row], rng: np.random.Generator, budget: int) -> list[list[Row]]:
    """Rows of like length together, so that little is padding; the groups in random order."""
    rows = sorted((row for row in rows if row.ids), key=lambda row: len(row.ids))
    groups: list[list[Row]] = [[]]
    for row in rows:
        width = len(row.ids) + 2
        if groups[-1] and (len(groups[-1]) + 1) * width > budget:
            groups.append([])
        groups[-1].append(row)
    return [groups[index] for index in rng.permutation(len(groups))]
