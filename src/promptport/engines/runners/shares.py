"""Numbers that the runners share."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_shares(logits: Any, vocabulary: int, watch: list[int]) -> dict[str, float]:
    """Log-probabilities of some tokens among the first `vocabulary` ones: the others are barred."""
    values = np.asarray(logits, dtype=np.float64)[:vocabulary]
    top = values.max()
    total = top + np.log(np.exp(values - top).sum())
    return {str(i): float(values[i] - total) for i in watch}


def best(logits: Any, vocabulary: int) -> int:
    """The likeliest of the first `vocabulary` tokens."""
    return int(np.asarray(logits)[:vocabulary].argmax())
