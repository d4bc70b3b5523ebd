"""GGUF files in every command that takes a model; the cache; rows that come alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tests.cli.conftest import fails
from tests.tiny_gguf import write_llama


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_llama(path)
    return path


def told(result):
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_inspect(run_cli, gguf_file):
    described = told(run_cli("inspect", str(gguf_file), "--json"))
    assert described["kind"] == "causal"
    assert described["quantisation"] == "Q8_0"
    code, out, _ = run_cli("inspect", str(gguf_file.parent))
    assert code == 0
    assert "Q8_0" in out


@pytest.mark.long
def test_tune_eval_and_move(run_cli, gguf_file, task_file, tmp_path, run_printed):
    model, prompt = str(gguf_file), tmp_path / "P"
    few = ("--epochs", "1", "--max-train-rows", "8", "--max-dev-rows", "4")
    tuned = run_cli("tune", "--backbone", model, "--task", task_file, "--out", prompt, *few)
    assert tuned[0] == 0, tuned[2]
    record = json.loads((prompt / "promptport.json").read_text())["prompt"]
    assert record["backbone"] == model
    assert record["file"]["name"] == "tiny.gguf"
    run_printed(tuned[2], "--json")
    shown = run_cli("inspect", prompt)
    assert "tiny.gguf (Q8_0: " in shown[1]
    moved = run_cli(
        *("transfer", prompt, "--to", "nano-gpt2", "--out", tmp_path / "M", "--json"),
        *("--minimum-anchors", "5"),
    )
    assert moved[0] == 0, moved[2]
    back = run_cli(
        *("transfer", tmp_path / "M", "--to", model, "--out", tmp_path / "B", "--json"),
        *("--minimum-anchors", "5"),
    )
    assert back[0] == 0, back[2]
    kept = json.loads((tmp_path / "B" / "promptport.json").read_text())["prompt"]
    assert kept["file"] == record["file"]
    assert told(run_cli("compat", model, "nano-gpt2", "--json"))


def test_a_prompt_whose_file_lies_elsewhere(run_cli, gguf_file, task_file, tmp_path):
    model, prompt = tmp_path / "here.gguf", tmp_path / "P"
    shutil.copy(gguf_file, model)
    few = ("--epochs", "1", "--max-train-rows", "8", "--max-dev-rows", "4")
    run_cli("tune", "--backbone", model, "--task", task_file, "--out", prompt, *few)
    model.rename(tmp_path / "there.gguf")
    fails(run_cli("eval", prompt, "--task", task_file), "--backbone FOLDER or FILE.gguf")
    found = run_cli(
        *("eval", prompt, "--task", task_file, "--json"), *("--backbone", tmp_path / "there.gguf")
    )
    assert found[0] == 0, found[2]


def test_cache(run_cli, gguf_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    assert told(run_cli("cache", "--json"))["entries"] == []
    told(run_cli("inspect", str(gguf_file), "--json"))
    entries = told(run_cli("cache", "--json"))["entries"]
    assert [entry["what"] for entry in entries] == ["tiny.gguf (Q8_0)"]
    code, out, err = run_cli("cache")
    assert code == 0
    assert "tiny.gguf (Q8_0)" in out
    assert "promptport cache clear" in err
    code, out, err = run_cli("cache", "clear")
    assert (code, out) == (0, "")
    assert "Removed 1 of 1" in err
    assert told(run_cli("cache", "clear", "--json"))["removed"] == []


@pytest.mark.long
def test_import_rows(run_cli, tmp_path, run_printed):
    width = told(run_cli("inspect", "nano-gpt2", "--json"))["width"]
    np.save(tmp_path / "a.npy", np.ones((4, width), dtype=np.float32))
    made = run_cli("import", tmp_path / "a.npy", "--to", "nano-gpt2", "--out", tmp_path / "P")
    assert made[0] == 0, made[2]
    assert "say with --template where the prompt stands" in made[2]
    run_printed(made[2])
    assert "read from a file of rows alone" in run_cli("inspect", tmp_path / "P")[1]
    fails(
        run_cli(
            *("import", tmp_path / "a.npy", "--to", "nano-gpt2", "--out", tmp_path / "Q"),
            *("--method", "least_squares"),
        ),
        "a file of rows alone: expected no --method",
    )


def test_a_model_where_a_prompt_is_expected(run_cli, gguf_file, tmp_path):
    for command in (
        ("eval", gguf_file),
        ("predict", gguf_file, "text"),
        ("transfer", gguf_file, "--to", "nano-gpt2", "--out", tmp_path / "M"),
        ("export", gguf_file, "--out", tmp_path / "E"),
        ("import", gguf_file, "--to", "nano-gpt2", "--out", tmp_path / "I"),
    ):
        fails(run_cli(*command), "a GGUF file, which is a model. Give it as --backbone")
