"""What is shown of values is one readable line: no tensors, no long tuples."""

from __future__ import annotations

import pytest

from promptport.anchors import AnchorSet
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.transfers import encode_prompt, transfer
from promptport.vector import TaskPromptVector


@pytest.fixture
def pair(alike_pair):
    return alike_pair()


@pytest.fixture
def prompt(pair):
    space = pair[0]
    rows = space.rows(range(4))
    return SoftPrompt(rows, Provenance("left", task="toy"), origin=0 * rows)


def test_values_are_shown_in_one_line(pair, prompt, backbone):
    mixture = Mixture(tuple(pair[0].words), (0 * prompt.vectors[:, :1] + 1).expand(4, 600) / 600)
    vector = TaskPromptVector.of(prompt)
    shown = {
        "SoftPrompt(4 virtual tokens, 24 wide, free, of left, task toy)": prompt,
        "Mixture(4 virtual tokens of 600 words)": mixture,
        "TaskPromptVector(0.5*toy: 4 virtual tokens, 24 wide, of left)": 0.5 * vector,
        "EmbeddingSpace(left: masked, 600 rows, 24 wide, 600 words)": pair[0],
        "AnchorSet(600 words of left, right)": AnchorSet.shared(*pair),
        "PortablePrompt(4 virtual tokens by 600 words, free, from left, task toy)": encode_prompt(
            prompt, pair[0]
        ),
    }
    for text, value in shown.items():
        assert repr(value) == text
    model = backbone("bert")
    wanted = f"Backbone({model.name}: masked, {model.width} wide, float32 on cpu)"
    assert repr(model) == wanted


def test_a_transfer_tells_its_way_and_figures(pair, prompt):
    result = transfer(prompt, *pair)
    way = "left -> right by least_squares.v1: 600 anchors, matching "
    assert repr(result).startswith(f"TransferResult(4 virtual tokens, {way}")
    assert repr(result.report).startswith(f"TransferReport({way}")
    assert f"round trip {result.report.roundtrip:.2f}" in repr(result.report)
    assert len(repr(result)) < 200
    assert "\n" not in repr(result)


def test_a_verdict_is_a_sentence(pair, prompt):
    good = transfer(prompt, pair[0], pair[0]).report
    assert good.warnings == ()
    assert good.verdict.startswith("Nothing in the report speaks against the result")
    few = transfer(prompt, *pair, words=sorted(pair[0].words)[:60]).report
    assert "Only 60 shared words" in few.verdict
    assert few.to_dict()["verdict"] == few.verdict == " ".join(few.warnings)
    assert few.to_dict()["warnings"] == list(few.warnings)
