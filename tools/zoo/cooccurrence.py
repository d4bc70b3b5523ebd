"""First embeddings from the company that tokens keep in the corpus.

A model of this size sees a few million tokens, too few to learn from scratch which words are alike.
Counting neighbours in ten times as much text takes seconds and says it (Levy and Goldberg 2014:
what skip-gram learns is a factorisation of these numbers).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .corpus import pocket_sentences

WINDOW = 5  # tokens to each side; nearer ones count more
POCKET_SENTENCES = 150_000
MEGABYTES = 24.0
SMOOTHING = 0.75  # exponent of the counts of contexts


def cooccurrence_embeddings(
    tokenizer: PreTrainedTokenizerFast, lines: Sequence[str], *, width: int, seed: int
) -> Tensor:
    """Rows from the positive pointwise mutual information of neighbouring tokens. (V, width)

    The rows have no mean, unit deviation, and a random rotation: two models share what the corpus
    says of the cosines between words, not the axes.
    """
    association = _association(_counts(tokenizer, lines, seed))
    torch.manual_seed(seed)
    left, values, _ = torch.svd_lowrank(association, q=width + 32, niter=3)
    rows = left[:, :width] * values[:width].sqrt()
    rows -= rows.mean(dim=0)
    # Rare tokens would be all but zero: every row is brought near the common length.
    norms = rows.norm(dim=1, keepdim=True)
    noise = torch.randn_like(rows) * norms.median() / width**0.5
    rows = rows + noise * (norms < 0.2 * norms.median())
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)
    rotation, _ = torch.linalg.qr(torch.randn(width, width))
    rows = rows @ rotation
    rows -= rows.mean(dim=0)
    return rows / rows.std()


def _counts(tokenizer: PreTrainedTokenizerFast, lines: Sequence[str], seed: int) -> Tensor:
    """How often a token stands near another, weighted by 1 / distance. (V, V)"""
    size = len(tokenizer)
    step = max(1, int(sum(map(len, lines)) / (MEGABYTES * 1e6)))
    pocket = [t.text for t in itertools.islice(pocket_sentences(seed), POCKET_SENTENCES)]
    counts = np.zeros(size * size, np.float32)
    texts = [*lines[::step], *pocket]
    for start in range(0, len(texts), 4096):
        encodings = tokenizer.backend_tokenizer.encode_batch_fast(
            texts[start : start + 4096], add_special_tokens=False
        )
        gap = [-1] * WINDOW
        ids = np.array([i for e in encodings for i in (*e.ids, *gap)], np.int64)
        for distance in range(1, WINDOW + 1):
            first, second = ids[:-distance], ids[distance:]
            real = (first >= 0) & (second >= 0)
            pairs, number = np.unique(first[real] * size + second[real], return_counts=True)
            counts[pairs] += number.astype(np.float32) / distance
    table = torch.from_numpy(counts.reshape(size, size))
    return table + table.T


def _association(counts: Tensor) -> Tensor:
    """Positive pointwise mutual information, contexts smoothed. (V, V)"""
    context = counts.sum(dim=0) ** SMOOTHING
    expected = counts.sum(dim=1, keepdim=True) * (context / context.sum().clamp_min(1e-9))
    return torch.log(counts / expected.clamp_min(1e-9)).clamp_min_(0.0).nan_to_num_(0.0)
