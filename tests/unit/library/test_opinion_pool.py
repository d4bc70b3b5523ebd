"""What a library says together: weights and trust by hand."""

from __future__ import annotations

import math

import pytest
import torch

from promptport.library.opinion_pool import PRIOR, fit_to_others, information, opinion, trust


def test_a_voice_by_hand() -> None:
    # Always leaning to the first answer, but the text moves it: without its prior it is undecided
    # in the mean, and answers the second row by the second.
    probs = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    said, loudness = opinion(probs.log())
    middle = math.sqrt(0.9 * 0.6), math.sqrt(0.1 * 0.4)
    odds = (0.9 / middle[0]) / (0.1 / middle[1])
    first = odds / (1 + odds)
    mutual = 1 + (first * math.log2(first) + (1 - first) * math.log2(1 - first))
    assert loudness == pytest.approx(mutual, abs=1e-6)
    assert said[0, 0] == pytest.approx(loudness * math.log(first), abs=1e-6)
    assert said.argmax(1).tolist() == [0, 1]
    # A prompt that says the same of every text is silent.
    silent, loudness = opinion(torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log())
    assert loudness == pytest.approx(0, abs=1e-6)
    assert silent.abs().max() == pytest.approx(0, abs=1e-6)
    assert fit_to_others(probs.log(), torch.tensor([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(0.35)
    assert information(torch.eye(2).clamp_min(1e-9).log()) == pytest.approx(1.0, abs=1e-6)


def test_labels_say_whom_to_trust() -> None:
    labels = torch.eye(2)[[0, 1, 0, 1, 0, 0, 1, 1]]
    right = (labels * 0.8 + 0.1).log()
    wrong, silent = right.flip(1), torch.zeros(8, 2)
    factors = trust([right, wrong, silent], labels)
    assert factors[0] > 1.1
    assert factors[1] < 1 / 1.1
    assert factors[2] == pytest.approx(1.0)
    # At the best factors the gradient is zero: PRIOR a = w dl/dw. With one voice by hand:
    (only,) = trust([right], labels)
    margin = math.log(0.9 / 0.1)
    wrong_by = only * margin / (1 + math.exp(only * margin))
    assert PRIOR * math.log(only) == pytest.approx(8 * wrong_by, rel=1e-3)
    (fewer,) = trust([right[:2]], labels[:2])
    assert 1 < fewer < only
