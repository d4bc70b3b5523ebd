"""Origins as users name them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.errors import PromptPortError, TuningError
from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.written_origins import (
    origin_on,
    own_origin,
    read_origin,
    with_given_origin,
)
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt


@pytest.fixture
def prompt(backbone):
    model = backbone("bert")
    start = make_origin(OriginSpec("vocabulary", 4), model, 2)
    made = Provenance(model.name, model.kind, fingerprint=model.space.fingerprint, task="x")
    made = replace(made, origin={"kind": "vocabulary", "seed": 4})
    return SoftPrompt(start + 1, made, start)


def test_texts_and_specs() -> None:
    assert read_origin("seed:3", 9) == OriginSpec("vocabulary", 3)
    assert read_origin("vocabulary*0.1", 9) == OriginSpec("vocabulary", 9, scale=0.1)
    assert read_origin("normal", 9) == OriginSpec("normal", 9)
    assert read_origin("text:a word", 9) == OriginSpec("text", 9, "a word")
    assert read_origin(OriginSpec("mixture", 1), 9) == OriginSpec("mixture", 1)
    with pytest.raises(PromptPortError, match="--origin: expected own, seed:NUMBER.*got 'words'"):
        read_origin("words", also="own, ")
    with pytest.raises(TuningError, match="origin: expected vocabulary"):
        read_origin("vocabulary*-1x")


def test_a_folder_is_an_origin(prompt, tmp_path) -> None:
    save_prompt(prompt, tmp_path / "P")
    spec = read_origin(tmp_path / "P")
    assert (spec.kind, spec.prompt.provenance.task) == ("prompt", "x")
    assert torch.equal(spec.prompt.vectors, prompt.vectors)


def test_an_origin_for_a_prompt(prompt, backbone) -> None:
    model = backbone("bert")
    start, made = origin_on("seed:5", prompt.provenance, 3, backbone=model)
    assert torch.equal(start, make_origin(OriginSpec("vocabulary", 5), model, 3))
    assert made == {"kind": "vocabulary", "seed": 5}
    named, _ = origin_on("seed:5", prompt.provenance, 3)
    assert torch.equal(start, named), "the backbone that the prompt names"
    with pytest.raises(PromptPortError, match="embedding matrix"):
        origin_on("seed:5", prompt.provenance, 3, backbone=backbone("gpt2"))


def test_the_own_origin(prompt) -> None:
    start, made = own_origin(prompt, "P")
    assert torch.equal(start, prompt.origin)
    assert made == {"kind": "vocabulary", "seed": 4}
    for none in (None, SoftPrompt(prompt.vectors, prompt.provenance)):
        with pytest.raises(PromptPortError, match="got P, which has none"):
            own_origin(none, "P")


def test_a_given_origin_fills_in_and_never_replaces(prompt) -> None:
    bare = SoftPrompt(prompt.vectors, replace(prompt.provenance, origin=None))
    known = with_given_origin(bare, "seed:4")
    assert torch.equal(known.origin, prompt.origin)
    assert known.provenance.origin == {"kind": "vocabulary", "seed": 4}
    assert with_given_origin(prompt, "seed:4") == prompt
    assert with_given_origin(prompt, None) == prompt
    with pytest.raises(PromptPortError, match="expected none, or the origin that the folder says"):
        with_given_origin(prompt, "seed:5")
