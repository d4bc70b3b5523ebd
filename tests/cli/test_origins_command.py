"""promptport origins, and tuning over several origins, as a user types them."""

from __future__ import annotations

import json

import pytest
import torch

from promptport.interop import load_prompt
from promptport.tuning import OriginSpec, make_origin


@pytest.fixture
def base(model_folder, task_file):
    few = ("--length", 2, "--epochs", 2)
    return ("--backbone", model_folder("bert"), "--task", task_file, *few)


def _fails(result, *parts):
    code, out, err = result
    assert (code, out) == (1, ""), (code, out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err, err


def test_origins(run_cli, base, tmp_path) -> None:
    out = tmp_path / "kept"
    command = ("origins", *base, "--origins", 2, "--unseen", 1, "--out", out, "--json")
    code, text, err = run_cli(*command)
    assert (code, err) == (0, "")
    found = json.loads(text)
    assert len(found["own"]) == 2
    assert [len(row) for row in found["other"]] == [2, 2]
    assert found["movement"] in ("moves", "moves with a loss", "does not move", "nothing to move")
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(files) == 4
    code, again, _ = run_cli(*command)
    assert json.loads(again) == found
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    _fails(run_cli(*command, "--over", 3), "of this origin, length and number of origins")
    code, text, err = run_cli("origins", *base, "--origins", 1, "--unseen", 1)
    assert (code, err) == (0, "")
    assert "Verdict: " in text


def test_origins_refuses_what_cannot_be(run_cli, base) -> None:
    _fails(run_cli("origins", *base, "--origins", 1, "--unseen", 0), "two or more together")
    _fails(run_cli("origins", *base, "--origin", "mixture"), "several origins")
    _fails(run_cli("origins", *base, "--origin", "words"), "origin: expected vocabulary")


def test_tune_over_several_origins(run_cli, base, backbone, tmp_path) -> None:
    out = tmp_path / "P"
    code, _, err = run_cli(
        "tune", *base, "--origins", 3, "--origin", "vocabulary*0.5", "--seed", 4, "--out", out
    )
    assert (code, err) == (0, "")
    prompt = load_prompt(out)
    wanted = make_origin(OriginSpec("vocabulary", 4, scale=0.5), backbone("bert"), 2)
    assert torch.equal(prompt.origin, wanted)
    assert prompt.provenance.tuning["origins"] == 3
    refused = run_cli("tune", *base, "--origins", 3, "--anchored", "--out", tmp_path / "Q")
    _fails(refused, "several origins: expected the kind vocabulary or normal, got mixture")
