"""promptport export --to ENGINE, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from tests.cli.conftest import fails
from tests.docs.pages import blocks
from tests.tiny_gguf import write_llama

from promptport.backbone import open_space
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt

FRONT = "{soft} {text} It was {answer} ."


@pytest.fixture
def prompt(tmp_path, monkeypatch):
    """Factory: folder of a prompt of random vectors, in the current directory."""
    monkeypatch.chdir(tmp_path)

    def make(model="nano-gpt2", template=FRONT, name="P"):
        space = open_space(model)
        vectors = torch.randn(4, space.width, generator=torch.Generator().manual_seed(0))
        made = Provenance(
            model,
            space.kind,
            fingerprint=space.fingerprint,
            template=template,
            task="sentiment",
            file=space.file_record,
        )
        save_prompt(SoftPrompt(vectors * space.statistics.std, made), name)
        return name

    return make


@pytest.mark.slow
def test_hf_with_its_check(run_cli, prompt, tmp_path, monkeypatch):
    made = run_cli("export", prompt(), "--to", "hf", "--out", "H", "--check", "--rows", 3, "--json")
    assert made[0] == 0, made[2]
    told = json.loads(made[1])
    assert told["check"]["rows"] == 3
    assert told["check"]["answers_equal"] == 1.0
    assert told["check"]["laid_out"] == 1.0
    assert told["prompts"][0]["labels"] == {"positive": ["great"], "negative": ["terrible"]}
    shown = run_cli("export", "P", "--to", "hf", "--out", "I")
    assert shown[0] == 0
    assert "<|sentiment-0|>" in shown[1]
    assert "Written to I." in shown[2]


@pytest.mark.long
def test_what_is_refused(run_cli, prompt, tmp_path):
    name = prompt()
    out = ("--out", "X")
    fails(run_cli("export", name, "--to", "ggfu", *out), "Did you mean 'gguf'")
    fails(run_cli("export", name, "--to", "gguf", "--out", "X.gguf"), "--base MODEL.gguf")
    fails(run_cli("export", name, "--to", "hf", "--words", "w", *out), "--words", "Leave it out")
    fails(run_cli("export", name, "--to", "hf", "--rows", 3, *out), "--rows", "Add --check")
    fails(run_cli("export", name, "--check", *out), "--check", "--to portable", "name an engine")
    fails(run_cli("export", name, name, *out), "expected one prompt, got 2")
    fails(run_cli("export", "none", "--to", "hf", *out), "no such folder")
    fails(run_cli("export", name, "--to", "hf", "--out", name), "which is there")
    fails(run_cli("export", name, "--to", "hf", "--task", "none", *out), "'none'")
    sglang = run_cli("export", name, "--to", "sglang", "--check", *out)
    fails(sglang, "--check with sglang", "Leave out --check")
    assert not (tmp_path / "X").exists()


@pytest.mark.long
def test_the_name_of_the_option_that_was(run_cli, prompt):
    assert run_cli("export", prompt(), "--format", "portable", "--out", "p.portable")[0] == 0


def engine_python(package):
    """Interpreter that has an engine; the test is skipped where there is none."""
    python = os.environ.get("PROMPTPORT_ENGINE_PYTHON", sys.executable)
    asked = [python, "-c", f"import {package}"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip(f"needs {package}: set PROMPTPORT_ENGINE_PYTHON to an interpreter that has it")
    return python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "package"),
    [
        ("gguf", "xllamacpp"),
        ("llama.cpp-slot", "xllamacpp"),
        ("llama.cpp-embd", "llama_cpp"),
    ],
)
def test_engines_of_llama(run_cli, prompt, tmp_path, engine, package):
    python = engine_python(package)
    write_llama(tmp_path / "model.gguf")
    name = prompt("model.gguf")
    out = "X.gguf" if engine == "gguf" else "X"
    options = ("--check", "--rows", 4, "--engine-python", python, "--json")
    made = run_cli("export", name, "--to", engine, "--out", out, *options)
    assert made[0] == 0, made[2]
    check = json.loads(made[1])["check"]
    assert check["labels_equal"] == 1.0
    assert check["gap"] < 0.5


@pytest.mark.slow
def test_mlx(run_cli, prompt):
    python = engine_python("mlx_lm")
    name = prompt("nano-llama")
    options = ("--check", "--rows", 4, "--engine-python", python, "--json")
    made = run_cli("export", name, "--to", "mlx", "--out", "X", *options)
    assert made[0] == 0, made[2]
    check = json.loads(made[1])["check"]
    assert check["labels_equal"] == 1.0
    assert check["gap"] < 0.1
    (code,) = [block for block in blocks(f"{os.getcwd()}/X/README.md")]
    assert "load_prompt_cache" in code.text


@pytest.mark.long
def test_without_mlx_there_are_vectors_alone(run_cli, prompt, monkeypatch):
    monkeypatch.setattr("promptport.engines.writers.mlx.RUNNER", "run_nothing_of_the_kind")
    made = run_cli("export", prompt("nano-llama"), "--to", "mlx", "--out", "X", "--json")
    assert made[0] == 0, made[2]
    told = json.loads(made[1])
    assert told["caches"] == []
    assert told["model_config"]["rope_theta"] > 0  # mlx-lm reads it where transformers 4 had it
    (code,) = [block for block in blocks(f"{os.getcwd()}/X/README.md")]
    assert "input_embeddings=rows" in code.text
    fails(run_cli("export", "P", "--to", "mlx", "--out", "Y", "--check"), "pip install mlx-lm")
