"""Joint tuning, several sources, anchoring and calibration as a user types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tests.conftest import CAPITALS

from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.mixtures import starting_mixture
from promptport.storage import load_prompt, load_vector, save_prompt
from promptport.transfers import transfer_word_vector

FAST = ("--device", "cpu", "--dtype", "float32", "--json")


@pytest.fixture
def task(task_file):
    """The same task with enough rows to read."""
    values = yaml.safe_load(task_file.read_text())
    rows = [json.dumps({"subject": s, "object": o}) for s, o in CAPITALS.items()] * 2
    (task_file.parent / "train.jsonl").write_text("\n".join(rows))
    assert values["data"]["train"] == "train.jsonl"
    return task_file


def run_json(run_cli, *arguments):
    code, out, err = run_cli(*arguments)
    assert code == 0, err
    return json.loads(out)


def tune(run_cli, model, task, out, *more):
    return run_json(
        run_cli,
        *("tune", "--backbone", model, "--task", task, "--out", out),
        *("--epochs", 2, "--length", 3, *FAST, *more),
    )


def test_joint_tuning_writes_one_mixture_per_backbone(
    run_cli, model_folder, task, tmp_path
) -> None:
    names = [model_folder("bert"), model_folder("gpt2")]
    target = model_folder("t5")
    result = tune(run_cli, names[0], task, tmp_path / "J", "--with", names[1], "--words-of", target)
    folders = [Path(folder) for folder in result["prompts"][0]["folders"]]
    assert len(folders) == 2
    assert set(result["prompts"][0]["dev_scores"]) == {str(name) for name in names}
    reports = [
        run_json(run_cli, "transfer", f, "--to", target, "--out", tmp_path / f"Q{i}", "--json")
        for i, f in enumerate(folders)
    ]
    # All words are known to the target, so nothing of the mixture is lost on the way.
    assert [report["kept_weight"] for report in reports] == pytest.approx([1, 1])


def test_two_prompts_become_one(run_cli, model_folder, task, tmp_path) -> None:
    for name in ("bert", "gpt2"):
        tune(run_cli, model_folder(name), task, tmp_path / name)
    for order in (("bert", "gpt2"), ("gpt2", "bert")):
        report = run_json(
            run_cli,
            *("transfer", *(tmp_path / name for name in order), "--to", model_folder("t5")),
            *("--out", tmp_path / "-".join(order), "--json"),
        )
        assert report["source"].count(" + ") == 1
    files = [
        tmp_path / folder / "adapter_model.safetensors" for folder in ("bert-gpt2", "gpt2-bert")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    code, _, err = run_cli(
        *("transfer", tmp_path / "bert", tmp_path / "gpt2", "--to", model_folder("t5")),
        *("--out", tmp_path / "Q", "--weight", 1),
    )
    assert code == 1
    assert "one per prompt (2), got 1" in err


def test_anchor_then_transfer_then_calibrate(run_cli, model_folder, task, tmp_path) -> None:
    target = model_folder("gpt2")
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    anchored = run_json(
        run_cli,
        *("anchor", tmp_path / "P", "--task", task, "--out", tmp_path / "A", "--epochs", 3),
        *("--words-of", target, *FAST),
    )
    assert anchored["after"] <= anchored["before"]
    report = run_json(
        run_cli, "transfer", tmp_path / "A", "--to", target, "--out", tmp_path / "Q", "--json"
    )
    assert (report["method"], report["kept_weight"]) == ("mixture.v1", pytest.approx(1))
    calibrated = run_json(
        run_cli,
        *("align", tmp_path / "Q", "--teacher", tmp_path / "P", "--task", task),
        *("--out", tmp_path / "C", "--epochs", 3, *FAST),
    )
    assert calibrated["floor"] - 1e-5 <= calibrated["after"] <= calibrated["before"]
    score = run_json(run_cli, "eval", tmp_path / "C", "--task", task, "--json")
    assert score["rows"] == 6


@pytest.mark.parametrize("way", ["tuned", "anchored afterwards"])
def test_the_words_of_a_vector_start_tuning_elsewhere(
    run_cli, model_folder, backbone, task, tmp_path, way
) -> None:
    source, target = backbone("bert"), backbone("gpt2")
    free, place, moved, start = (tmp_path / name for name in ("F", "A", "V", "P"))
    tune(run_cli, model_folder("bert"), task, free)
    if way == "tuned":
        tune(run_cli, model_folder("bert"), task, place, "--anchored")
    else:
        run_json(
            run_cli,
            *("anchor", free, "--task", task, "--out", place, "--epochs", 3, "--seed", 4),
            *("--words-of", model_folder("gpt2"), *FAST),
        )
    carry = ("--to", model_folder("gpt2"), "--vector", "--out", moved)
    told = run_json(run_cli, "transfer", place, *carry, "--json")
    prompt = load_prompt(place)
    wanted = transfer_word_vector(prompt, starting_mixture(prompt, source.space), target.space)
    found = load_vector(moved)
    assert torch.equal(found.delta, wanted.delta)
    assert (told["method"], told["anchors"]) == (
        "mixture.v1",
        wanted.provenance.history[-1]["anchors"],
    )
    assert told["norm_before"] == pytest.approx(float((prompt.vectors - prompt.origin).norm()))
    assert found.provenance.origin is None
    native = ("--origin", "mixture", "--seed", 100, "--out", start, "--json")
    run_json(run_cli, "combine", "v", "--load", f"v={moved}", *native)
    origin = make_origin(OriginSpec("mixture", 100), target, prompt.length)
    assert torch.equal(load_prompt(start).vectors, wanted.apply(origin).vectors)
    tune(run_cli, model_folder("gpt2"), task, tmp_path / "T", "--origin", start)
    assert load_prompt(tmp_path / "T").provenance.origin["kind"] == "prompt"
    code, out, err = run_cli("transfer", place, *carry)
    assert (code, err) == (0, "")
    assert "--origin mixture" in out


def test_the_words_of_a_vector_need_an_anchored_prompt(
    run_cli, model_folder, task, tmp_path
) -> None:
    def refused(*arguments) -> str:
        common = ("--to", model_folder("gpt2"), "--vector", "--out", tmp_path / "V")
        code, _, err = run_cli("transfer", *arguments, *common)
        assert (code, err.count("\n")) == (1, 1)
        return err

    free, mixed = tmp_path / "F", tmp_path / "A"
    tune(run_cli, model_folder("bert"), task, free)
    tune(run_cli, model_folder("bert"), task, mixed, "--anchored")
    assert "expected an anchored prompt, got one of free vectors" in refused(free)
    assert "expected no --method" in refused(mixed, "--method", "omp")
    assert "expected no --magnitude" in refused(mixed, "--magnitude", "keep")
    assert "expected one vector" in refused(mixed, mixed)
    assert "wide" in refused(mixed, "--from", model_folder("albert"))
    prompt = load_prompt(mixed)
    save_prompt(replace(prompt, origin=None), mixed)
    assert "run promptport anchor again" in refused(mixed)


def test_words_of_needs_an_anchored_prompt(run_cli, model_folder, task, tmp_path) -> None:
    code, _, err = run_cli(
        *("tune", "--backbone", model_folder("bert"), "--task", task, "--out", tmp_path / "P"),
        *("--words-of", model_folder("t5"), *FAST),
    )
    assert code == 1
    assert "Add --anchored" in err


@pytest.mark.parametrize("by", ["roundtrip", "agreement"])
def test_the_best_of_several_ways(run_cli, model_folder, task, tmp_path, by) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    ways = ["least_squares", "omp:k=4", "least_squares:ridge=0.1,dimension"]
    report = run_json(
        run_cli,
        *("transfer", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "Q"),
        *(part for way in ways for part in ("--try", way)),
        *("--by", by, "--json", *(("--task", task) if by == "agreement" else ())),
    )
    selection = report["selection"]
    assert list(selection["scores"]) == ways
    assert selection["chosen"] in ways
    assert selection["touched"] == ("unlabelled text" if by == "agreement" else "nothing")
