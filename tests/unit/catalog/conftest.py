"""Small prompt folders, and an index that trusts what was written just now."""

from __future__ import annotations

import pytest
import torch

from promptport.catalog import walking
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt


def made(seed=0, *, length=2, width=4, origin=True, mixture=None, **provenance):
    """A prompt whose values depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    vectors, start = torch.randn(2, length, width, generator=generator)
    source = {"backbone": "nano-bert", "kind": "masked", "template": "{soft} {text} {answer}"}
    return SoftPrompt(
        vectors, Provenance(**{**source, **provenance}), start if origin else None, mixture
    )


def word_mixture(length=2):
    """Weights of seven words; the heaviest four of every row are a, b, c and d."""
    weights = torch.tensor([[0.3, 0.25, 0.2, 0.1, 0.06, 0.05, 0.04]]).repeat(length, 1)
    return Mixture(tuple("abcdefg"), weights)


@pytest.fixture
def library(tmp_path):
    """Three prompts at several depths."""
    save_prompt(made(1, task="topic", tuning={"dev_score": 0.75}), tmp_path / "lib" / "a")
    save_prompt(made(2, task="emotion + topic"), tmp_path / "lib" / "deep" / "er" / "b.prompt")
    save_prompt(made(3, mixture=word_mixture()), tmp_path / "lib" / "c")
    return tmp_path / "lib"


@pytest.fixture
def settled(monkeypatch):
    """Files that were written just now count as settled: a test need not wait two seconds."""
    monkeypatch.setattr(walking, "_SETTLED", -(10**12))
