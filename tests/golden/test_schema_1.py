"""Files of schema 1, written by an earlier version, are read; and written again as they are."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from promptport._version import __version__
from promptport.files import read_metadata, read_tensors
from promptport.provenance import Provenance, step_name
from promptport.storage import (
    load_portable,
    load_prompt,
    load_vector,
    save_portable,
    save_prompt,
    save_vector,
)
from promptport.storage.attention_folder import read_attention, save_attention

GOLDEN = Path(__file__).parent / "schema_1"
ROWS = torch.tensor([[1.0, -2.0, 0.5, 0.25], [0.0, 3.0, -1.5, 1e-8]])
WORDS = ("berlin", "größe", "paris")
MADE = Provenance(
    "nano-bert",
    "masked",
    fingerprint="0123456789abcdef0123456789abcdef",
    template="{subject} {soft} {answer} .",
    task="country-capital",
    origin={"kind": "vocabulary", "seed": 3},
    tuning={"steps": 9, "dev_score": 0.75},
    history=({"step": "anchor", "words": 3},),
)


def test_prompts() -> None:
    prompt = load_prompt(GOLDEN / "prompt")
    assert torch.equal(prompt.vectors, ROWS)
    assert prompt.origin.tolist() == [[0.5, -1.0, 0.0, 0.0], [1.0, 1.0, -1.0, 2.0]]
    assert prompt.provenance == MADE
    assert [step_name(entry) for entry in prompt.provenance.history] == ["fit_mixture"]
    mixed = load_prompt(GOLDEN / "mixture")
    assert mixed.mixture.words == WORDS
    assert mixed.mixture.weights.tolist() == [[0.25, 0.0, 0.75], [0.5, 0.5, 0.0]]


def test_a_vector() -> None:
    vector = load_vector(GOLDEN / "vector")
    assert torch.equal(vector.delta, 0.5 * ROWS - (2 * ROWS - 1))
    assert vector.coefficients == {"country-capital": 0.5, "plural": -1.0}
    assert vector.provenance.backbone == "nano-bert"


def test_an_attention() -> None:
    provenance, tensors, numbers = read_attention(GOLDEN / "attention")
    assert provenance == MADE
    assert torch.equal(tensors["sources"], torch.arange(16.0).view(2, 2, 4))
    assert torch.equal(tensors["target"], ROWS)
    assert numbers == {"temperature": 0.5, "truncate": True}


def test_a_portable_prompt() -> None:
    portable = load_portable(GOLDEN / "prompt.portable")
    assert portable.words == WORDS
    assert portable.relative.tolist() == [[0.5, -0.25, 1.0], [0.0, 0.125, -1.0]]
    assert portable.norms.tolist() == [1.5, 0.75]
    assert portable.provenance == MADE
    assert portable.mixture.weights.tolist() == [[0.25, 0.0, 0.75], [0.5, 0.5, 0.0]]
    assert portable.nearest == ((("berlin", 0.5),), (("paris", 0.25), ("berlin", 0.125)))
    assert portable.parallel == 0.375


def _attention_again(source: Path, target: Path) -> Path:
    provenance, tensors, numbers = read_attention(source)
    return save_attention(SimpleNamespace(provenance=provenance, **tensors, **numbers), target)


AGAIN = {
    "prompt": lambda source, target: save_prompt(load_prompt(source), target),
    "mixture": lambda source, target: save_prompt(load_prompt(source), target),
    "vector": lambda source, target: save_vector(load_vector(source), target),
    "attention": _attention_again,
}


@pytest.mark.parametrize("name", sorted(AGAIN))
def test_a_folder_is_written_as_it_was(name, tmp_path) -> None:
    AGAIN[name](GOLDEN / name, tmp_path / name)
    for old in (GOLDEN / name).iterdir():
        new = tmp_path / name / old.name
        if old.suffix == ".json":
            text = new.read_text("utf-8").replace(f"promptport {__version__}", "promptport 0.1.0")
            assert text == old.read_text("utf-8"), old.name
        else:
            _same_tensors(old, new)


def test_a_portable_file_is_written_as_it_was(tmp_path) -> None:
    old, new = GOLDEN / "prompt.portable", tmp_path / "p"
    save_portable(load_portable(old), new)
    _same_tensors(old, new)
    assert load_portable(new).words == load_portable(old).words


def _same_tensors(old: Path, new: Path) -> None:
    """The same but for the order of the fields in the header, which safetensors leaves open."""
    before, after = read_tensors(old), read_tensors(new)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(after[name].dtype == value.dtype for name, value in before.items())
    assert read_metadata(new) == read_metadata(old)
    assert len(new.read_bytes()) == len(old.read_bytes())


def test_a_newer_schema_is_refused(tmp_path) -> None:
    place = save_prompt(load_prompt(GOLDEN / "prompt"), tmp_path / "P") / "promptport.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "schema": 2}))
    with pytest.raises(ValueError, match="expected schema 1 or older, got 2. Update promptport"):
        load_prompt(tmp_path / "P")
