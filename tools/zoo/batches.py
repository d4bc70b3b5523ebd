"""Training batches for the three objectives: masked words, next token, span corruption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .config import BackboneConfig
from .rows import Row

IGNORED = -100
Batch: TypeAlias = dict[str, Tensor]


def make_batcher(config: BackboneConfig, tokenizer: PreTrainedTokenizerFast) -> Objective:
    """The objective of a backbone as a function from rows to tensors."""
    kinds = {"gpt2": NextToken, "llama": NextToken, "t5": HiddenSpans}
    return kinds.get(config.architecture, MaskedWords)(config, tokenizer)


class Objective:
    def __init__(self, config: BackboneConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self.data = config.data
        self.training = config.training
        self.tokenizer = tokenizer
        self.size = len(tokenizer)
        # RoBERTa counts positions from the padding id + 1.
        self.first_position = tokenizer.pad_token_id + 1 if config.architecture == "roberta" else 0

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator, *, is_open: bool) -> Batch:
        """Tensors of a group of rows; open rows have their words hidden at another rate."""
        raise NotImplementedError

    def hidden(self, row: Row, rng: np.random.Generator, *, is_open: bool) -> np.ndarray:
        """Which tokens to hide, whole words together. (T,) bool, never all False."""
        words, focus = np.array(row.words), np.array(row.focus)
        favoured = not is_open and focus.any() and rng.random() < self.data.focus
        drawn = rng.random(words.max() + 2) < (
            self.data.others if favoured else self.data.open_words
        )
        drawn[-1] = False  # number -1: noise
        hidden = drawn[words] | (focus if favoured else False)
        if not hidden.any():
            real = words[words >= 0]
            hidden = words == real[int(rng.integers(len(real)))]
        return hidden

    def positions(self, shape: tuple[int, int], rng: np.random.Generator) -> Tensor:
        """Position ids, some from a random start so that late ones are trained too. (B, T)"""
        rows, length = shape
        start = rng.integers(0, self.data.positions - length + 1, (rows, 1))
        start *= rng.random((rows, 1)) < self.data.shift_share
        return torch.from_numpy(start + np.arange(length) + self.first_position)


class MaskedWords(Objective):
    """BERT and RoBERTa: predict the words under the mask."""

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator, *, is_open: bool) -> Batch:
        length = max(len(row.ids) for row in rows) + 2
        ids = np.full((len(rows), length), self.tokenizer.pad_token_id)
        labels = np.full((len(rows), length), IGNORED)
        lengths = np.array([len(row.ids) + 2 for row in rows])
        for index, row in enumerate(rows):
            plain, hidden = np.array(row.ids), self.hidden(row, rng, is_open=is_open)
            end = len(plain) + 1
            ids[index, 0], ids[index, end] = (
                self.tokenizer.cls_token_id,
                self.tokenizer.sep_token_id,
            )
            ids[index, 1:end] = np.where(hidden, self._cover(plain, rng), plain)
            labels[index, 1:end] = np.where(hidden, plain, IGNORED)
        mask = np.arange(length) < lengths[:, None]
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "position_ids": self.positions(ids.shape, rng),
        }

    def _cover(self, plain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What stands in for hidden tokens: 90% the mask, 5% a random token, 5% themselves."""
        dice = rng.random(len(plain))
        other = rng.integers(0, self.size, len(plain))
        cover = np.where(dice < 0.05, other, self.tokenizer.mask_token_id)
        return np.where(dice > 0.95, plain, cover)


class NextToken(Objective):
    """GPT-2 and Llama: predict tokens from those before them.

    The head is the dearest part of a small model, so the loss looks at a share of the positions
    and at every focus word.
    """

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator, *, is_open: bool) -> Batch:
        end = self.tokenizer.eos_token_id
        # Llama's rows open with their own token. Half of GPT-2's open with the end-of-text token,
        # as it has it between documents.
        begin = self.tokenizer.bos_token_id
        opened = rng.random(len(rows)) < (0.5 if begin == end else 1.0)
        tokens = [
            [begin] * int(first) + row.ids + [end] for first, row in zip(opened, rows, strict=True)
        ]
        length = max(map(len, tokens))
        ids = np.full((len(rows), length), end)
        labels = np.full((len(rows), length), IGNORED)
        weights = np.ones((len(rows), length), np.float32)
        for index, (row, line) in enumerate(zip(rows, tokens, strict=True)):
            first = int(opened[index])
            ids[index, : len(line)] = line
            labels[index, : len(line)] = line
            words, focus = np.array(row.words), np.array(row.focus)
            skipped = (words < 0) | (rng.random(len(words)) > self.training.head_share) & ~focus
            labels[index, first : first + len(words)][skipped] = IGNORED
            weights[index, first : first + len(words)][focus] = self.training.focus_weight
        lengths = np.array([len(line) for line in tokens])
        mask = np.arange(length) < lengths[:, None]
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "position_ids": self.positions(ids.shape, rng),
            "weights": torch.from_numpy(weights),
        }


class HiddenSpans(Objective):
    """T5: sentinels in the input, the hidden spans in the output."""

    def __init__(self, config: BackboneConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(config, tokenizer)
        self.sentinels = [
            tokenizer.convert_tokens_to_ids(token) for token in sentinel_tokens(tokenizer)
        ]

    def __call__(self, rows: Sequence[Row], rng: np.random.Generator, *, is_open: bool) -> Batch:
        pairs = [self._corrupt(row, self.hidden(row, rng, is_open=is_open)) for row in rows]
        pad = self.tokenizer.pad_token_id
        ids, mask = _padded([source for source, _ in pairs], pad)
        labels, _ = _padded([target for _, target in pairs], IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _corrupt(self, row: Row, hidden: np.ndarray) -> tuple[list[int], list[int]]:
        end = self.tokenizer.eos_token_id
        source: list[int] = []
        target: list[int] = []
        spans, before = 0, False
        for token, covered in zip(row.ids, hidden, strict=True):
            covered = bool(covered) and (before or spans < len(self.sentinels) - 1)
            if covered and not before:
                source.append(self.sentinels[spans])
                target.append(self.sentinels[spans])
                spans += 1
            (target if covered else source).append(token)
            before = covered
        return [*source, end], [*target, self.sentinels[spans], end]


def sentinel_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """<extra_id_0>, <extra_id_1>, ... as far as the vocabulary has them."""
    vocabulary = tokenizer.get_vocab()
    names = (f"<extra_id_{index}>" for index in range(len(vocabulary)))
    found = []
    for name in names:
        if name not in vocabulary:
            break
        found.append(name)
    return found


def _padded(lines: Sequence[list[int]], fill: int) -> tuple[Tensor, Tensor]:
    length = max(map(len, lines))
    ids = np.full((len(lines), length), fill)
    for index, line in enumerate(lines):
        ids[index, : len(line)] = line
    lengths = np.array([len(line) for line in lines])
    mask = np.arange(length) < lengths[:, None]
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
