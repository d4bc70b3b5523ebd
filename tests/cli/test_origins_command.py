"""promptport vector check and widen, and tuning over several origins, as a user types them."""

from __future__ import annotations

import json

import pytest
import torch
from tests.cli.conftest import fails

from promptport.parameters import OriginSpec, make_origin
from promptport.storage import load_prompt, save_prompt


@pytest.fixture
def base(model_folder, task_file):
    few = ("--length", 2, "--epochs", 2)
    return ("--backbone", model_folder("bert"), "--task", task_file, *few)


@pytest.mark.long
def test_origins(run_cli, base, model_folder, task_file, tmp_path) -> None:
    out = tmp_path / "kept"
    command = (
        "vector",
        "check",
        *base,
        "--origin-samples",
        2,
        "--unseen",
        1,
        "--out",
        out,
        "--json",
    )
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
    kept = f"error: {out / 'capitals-seed0'}: expected "
    fails(run_cli(*command, "--over", 3), kept, "origins 3, got origins 1. Ask as it was tuned")
    fails(run_cli(*command, "--epochs", 3), kept, "epochs 3, got epochs 2.")
    rows = ("--max-train-rows", 4, "--batch-size", 2)
    fails(
        run_cli(*command, *rows),
        "expected batch_size 2, max_train_rows 4, got batch_size 32, max_train_rows 0.",
    )
    fails(run_cli(*command, "--backbone", model_folder("gpt2")), "expected backbone ", ", another")
    described = task_file.read_text()
    task_file.write_text(described.replace("{subject} {soft}", "{soft} {subject}"))
    fails(run_cli(*command), "expected template {soft} {subject} {answer} ., got template {subj")
    task_file.write_text(described)
    steps = ({"step": "widen"},)
    changed = load_prompt(out / "capitals-seed1")
    save_prompt(changed.with_provenance(history=steps), out / "capitals-seed1")
    fails(run_cli(*command), "expected steps after tuning 0, got steps after tuning 1")
    code, text, err = run_cli("vector", "check", *base, "--origin-samples", 1, "--unseen", 1)
    assert (code, err) == (0, "")
    assert "Verdict: " in text


def test_origins_refuses_what_cannot_be(run_cli, base) -> None:
    fails(
        run_cli("vector", "check", *base, "--origin-samples", 1, "--unseen", 0),
        "two or more together",
    )
    fails(run_cli("vector", "check", *base, "--origin", "mixture"), "several origins")
    fails(run_cli("vector", "check", *base, "--origin", "words"), "origin: expected vocabulary")


@pytest.mark.long
def test_an_origin_by_its_seed(run_cli, base, backbone, tmp_path) -> None:
    out = tmp_path / "P"
    seeds = ("--seed", 0, "--seed", 7)
    assert run_cli("tune", *base, "--origin", "seed:3", *seeds, "--out", out)[0] == 0
    wanted = make_origin(OriginSpec("vocabulary", 3), backbone("bert"), 2)
    for seed in (0, 7):
        prompt = load_prompt(out / f"capitals-seed{seed}")
        assert torch.equal(prompt.origin, wanted)
        assert prompt.provenance.origin == {"kind": "vocabulary", "seed": 3}
    few = ("vector", "check", *base, "--origin-samples", 1, "--unseen", 1, "--json")
    by_seed = run_cli(*few, "--origin", "seed:3")
    assert by_seed == run_cli(*few, "--seed", 3)
    assert by_seed[0] == 0
    assert run_cli(*few, "--origin", "seed:3", "--seed", 3) == by_seed
    refused = run_cli(*few, "--origin", "seed:3", "--seed", 4)
    fails(refused, "--origin seed:3: expected no --seed with it")


def test_tune_over_several_origins(run_cli, base, backbone, tmp_path) -> None:
    out = tmp_path / "P"
    code, _, err = run_cli(
        "tune",
        *base,
        "--origin-samples",
        3,
        "--origin",
        "vocabulary*0.5",
        "--seed",
        4,
        "--out",
        out,
        "--json",
    )
    assert (code, err) == (0, "")
    prompt = load_prompt(out)
    wanted = make_origin(OriginSpec("vocabulary", 4, scale=0.5), backbone("bert"), 2)
    assert torch.equal(prompt.origin, wanted)
    assert prompt.provenance.tuning["origins"] == 3
    refused = run_cli("tune", *base, "--origin-samples", 3, "--mixture", "--out", tmp_path / "Q")
    fails(refused, "several origins: expected the kind vocabulary or normal, got mixture")


@pytest.mark.slow
def test_a_finished_prompt_is_widened_and_judged(run_cli, base, backbone, tmp_path) -> None:
    prompt, wide, bare = tmp_path / "P", tmp_path / "W", tmp_path / "B"
    assert run_cli("tune", *base, "--seed", 4, "--out", prompt)[0] == 0
    few = ("--texts", "words", "--rows", 12, "--steps", 60, "--origin-samples", 5)
    widening = ("vector", "widen", prompt, "--task", base[3], "--backbone", base[1], *few)
    code, text, err = run_cli(*widening, "--out", wide, "--json")
    assert (code, err) == (0, "")
    found = json.loads(text)
    assert (found["origin"], found["origin_samples"], found["task"]) == (
        {"kind": "vocabulary", "seed": 4},
        5,
        "capitals",
    )
    assert found["after"] < found["before"]
    assert found["steps"] == 60
    assert found["missed_own"] > 0
    kept = load_prompt(wide)
    assert torch.equal(kept.origin, load_prompt(prompt).origin)
    assert kept.provenance.history[-1]["step"] == "distill_over_origins"
    # What PEFT keeps has no origin: it is measured from one that the user names.
    bare.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (bare / name).write_bytes((prompt / name).read_bytes())
    code, text, _ = run_cli(
        "vector", "widen", bare, *widening[3:], "--origin", "seed:9", "--out", tmp_path / "V"
    )
    assert code == 0
    assert "labels used" in text
    assert "the same on its own origin" in text
    wanted = make_origin(OriginSpec("vocabulary", 9), backbone("bert"), 2)
    assert torch.equal(load_prompt(tmp_path / "V").origin, wanted)

    _, said, _ = run_cli("inspect", wide)
    in_one_line = " ".join(said.replace("│", " ").split())
    assert ": 5 origins, 12 rows, loss " in in_one_line

    # Each is judged on its own, and on the same origins whatever else is asked.
    judging = ("vector", "check", "--backbone", base[1], "--task", base[3], "--unseen", 2)
    code, text, err = run_cli(*judging, prompt, wide, "--json")
    assert (code, err) == (0, "")
    found = json.loads(text)["vectors"]
    assert [(v["prompt"], v["origin"]) for v in found] == [
        (str(prompt), "vocabulary"),
        (str(wide), "vocabulary"),
    ]
    assert [len(v["other"]) for v in found] == [2, 2]
    alone = json.loads(run_cli(*judging, wide, "--json")[1])["vectors"]
    assert alone == found[1:]
    code, text, _ = run_cli(*judging, wide)
    assert code == 0
    assert "widen PROMPT" not in text, "it is wide already"
    fails(run_cli(*judging, wide, "--unseen", 0), "--unseen: expected 1 or more")
    fails(run_cli(*judging, wide, "--over", 3), "with it, got --over")
    fails(run_cli(*judging, wide, "--epochs", 3), "with it, got --epochs")
    fails(run_cli(*judging, bare), "promptport vector widen measure the prompt")
    fails(run_cli("vector", "check", "--task", base[3]), "--backbone: expected a value, got none")
    fails(
        run_cli(*widening, "--out", wide, "--origin-samples", 1),
        "origins: expected 2 or more, got 1",
    )
    fails(run_cli(*widening, "--out", wide, "--origin", "x"), "--origin: expected seed:NUMBER")
    code, _, err = run_cli(*widening, "--out", wide, "--steps", 0)
    assert (code, err.count("\n")) == (2, 1)
    front = ("--template", "{soft} {subject} {answer}")
    fails(run_cli(*widening, "--out", wide, *front), "--template: expected a prompt that names")
    code, _, err = run_cli("vector", "widen", bare, *widening[3:], *front, "--out", tmp_path / "F")
    assert (code, "note:" in err) == (0, False)
    assert load_prompt(tmp_path / "F").provenance.template == front[1]
    assert (
        "note: the prompt names no template"
        in run_cli("vector", "widen", bare, *widening[3:], "--out", tmp_path / "F")[2]
    )


def test_finished_prompts_are_judged_on_their_own_tasks(run_cli, base, task_file, tmp_path) -> None:
    assert run_cli("tune", *base, "--out", tmp_path / "P")[0] == 0
    made = load_prompt(tmp_path / "P")
    for name in ("rivers", "towns"):
        other = tmp_path / f"{name}.yaml"
        other.write_text(task_file.read_text().replace("name: capitals", f"name: {name}"))
        save_prompt(made.with_provenance(task=str(other)), tmp_path / name)
    judging = ("vector", "check", tmp_path / "rivers", tmp_path / "towns")
    code, text, err = run_cli(*judging, "--unseen", 1, "--json")
    assert (code, err) == (0, "")
    assert [v["task"] for v in json.loads(text)["vectors"]] == ["rivers", "towns"]
    code, text, err = run_cli(*judging, "--unseen", 1, "--task", task_file)
    assert (code, err.count("--task is capitals")) == (0, 2)
    assert text.startswith("capitals (majority answer ")


@pytest.mark.long
def test_printed_commands_run(run_cli, run_printed, base, tmp_path, monkeypatch) -> None:
    """A vector that does not move: the command that makes it move runs as it stands."""
    from promptport.analysis import robustness

    monkeypatch.setattr(robustness, "_verdict", lambda found: ("does not move", "a test"))
    task = ("--task", base[3])
    assert run_cli("tune", *base, "--out", tmp_path / "my prompt")[0] == 0
    code, out, err = run_cli("vector", "check", tmp_path / "my prompt", *task, "--unseen", 1)
    assert code == 0
    assert "does not move: a test." in out
    few = ("--texts", "words", "--rows", "12", "--steps", "2", "--origin-samples", "2")
    run_printed(err, *few)
    wide = tmp_path / "my prompt-wide"
    assert load_prompt(wide).provenance.history[-1]["step"] == "distill_over_origins"
    assert "promptport" not in run_cli("vector", "check", wide, *task, "--unseen", 1)[2]
    tuned = ("vector", "check", *base, "--origin-samples", 1, "--unseen", 1)
    assert "add --over 64" in run_cli(*tuned)[2]
    run_printed(run_cli(*tuned, "--out", tmp_path / "kept")[2], *few)
