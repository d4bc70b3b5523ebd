"""Bad input: one line on standard error, exit code 1, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from tests.cli.conftest import fails

from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt


@pytest.fixture
def prompt(model_folder, backbone, tmp_path):
    model = backbone("bert")
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(0))
    provenance = Provenance(
        str(model_folder("bert")),
        "masked",
        fingerprint=model.space.fingerprint,
        template="{subject} {soft} {answer} .",
        task="capitals",
    )
    return save_prompt(SoftPrompt(vectors, provenance), tmp_path / "prompt")


def test_a_prompt_of_another_width(run_cli, prompt, model_folder, task_file) -> None:
    fails(
        run_cli("eval", prompt, "--task", task_file, "--backbone", model_folder("albert")),
        "16 wide",
        "promptport move",
    )


def test_a_prompt_of_another_model_of_the_same_width(
    run_cli,
    prompt,
    model_folder,
    task_file,
    tmp_path,
) -> None:
    fails(
        run_cli("eval", prompt, "--task", task_file, "--backbone", model_folder("distilbert")),
        "embedding matrix",
    )
    fails(
        run_cli(
            "transfer",
            prompt,
            "--backbone",
            model_folder("distilbert"),
            "--to",
            model_folder("t5"),
            "--out",
            tmp_path / "q",
        ),
        "embedding matrix",
        "as the source",
    )
    assert not (tmp_path / "q").exists()


def test_truncated_and_flipped_files(run_cli, prompt, model_folder, tmp_path) -> None:
    path = prompt / "adapter_model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:50], whole[:-3], whole[:-3] + b"\x11" + whole[-2:]):
        path.write_bytes(damaged)
        fails(
            run_cli("transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q"),
            "adapter_model.safetensors",
        )
    assert not (tmp_path / "q").exists()


def test_a_pickle_in_place_of_tensors(run_cli, prompt) -> None:
    (prompt / "adapter_model.safetensors").write_bytes(pickle.dumps({"prompt_embeddings": [1.0]}))
    fails(run_cli("inspect", prompt), "a pickle", "pickles are never opened")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"schema": 7}, "schema 1 or older"),
        ({"prompt": {}}, "a field 'backbone'"),
        ({"prompt": 3}, "a field 'prompt' with an object"),
    ],
)
def test_wrong_json(run_cli, prompt, change, part) -> None:
    path = prompt / "promptport.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    fails(run_cli("inspect", prompt), "promptport.json", part)


def test_empty_data(run_cli, task_file, model_folder, tmp_path) -> None:
    (tmp_path / "train.jsonl").write_text("")
    result = run_cli(
        "tune",
        "--backbone",
        model_folder("bert"),
        "--task",
        task_file,
        "--out",
        tmp_path / "P",
        "--json",
    )
    fails(result, "train.jsonl", "at least one row")
    assert not (tmp_path / "P").exists()


def test_a_label_word_that_is_not_in_the_vocabulary(run_cli, model_folder, tmp_path) -> None:
    (tmp_path / "t.yaml").write_text(
        "schema: 1\nname: t\nkind: classification\ntemplate: '{soft} {text} {answer}'\n"
        "manual: '{text} {answer}'\nmetric: accuracy\nlabels: {a: good, b: 漢字}\n"
        "data: {test: t.jsonl}\n"
    )
    (tmp_path / "t.jsonl").write_text('{"text": "the dog", "label": "a"}\n')
    result = run_cli("eval", "--backbone", model_folder("bert"), "--task", tmp_path / "t.yaml")
    fails(result, "'漢字'", "Choose another label word")


def test_a_text_longer_than_the_positions(run_cli, task_file, model_folder, tmp_path) -> None:
    row = {"subject": "the dog " * 80, "object": "Paris"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    command = ("eval", "--backbone", model_folder("bert"), "--task", task_file)
    fails(run_cli(*command), "at most 64 tokens", "--truncate")
    assert run_cli(*command, "--truncate")[0] == 0


def test_almost_no_common_words(run_cli, prompt, model_folder, tmp_path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("dog\ncat\nriver\n")
    result = run_cli(
        "transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q", "--words", words
    )
    fails(result, "expected at least 32", "got 3")
    assert not (tmp_path / "q").exists()


def test_a_read_only_place(run_cli, prompt, model_folder, tmp_path, monkeypatch) -> None:
    def refuse(*_args, **_options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("promptport.scratch.tempfile.mkdtemp", refuse)
    result = run_cli("transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q")
    fails(result, str(tmp_path / "q"), "Read-only file system", "free space")


def test_a_full_disk(run_cli, prompt, model_folder, tmp_path, monkeypatch) -> None:
    from pathlib import Path

    write = Path.write_bytes

    def full(self, data):
        if self.name == "promptport.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run_cli("transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q")
    fails(result, "No space left on device")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prompt"], "nothing half-written"


def test_a_file_in_the_way(run_cli, prompt, model_folder, tmp_path) -> None:
    (tmp_path / "q").write_text("mine")
    result = run_cli("transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q")
    fails(result, "a file is in the way")
    assert (tmp_path / "q").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["inspect", "./nowhere"], ["a model folder"]),
        (["inspect", "nano-brt"], ["Did you mean 'nano-bert'"]),
        (["eval", "--task", "country-capital"], ["a prompt folder or --backbone"]),
        (["tasks", "show", "country-capitol"], ["country-capital"]),
        (["tasks", "show", "lama:P36"], ["--data"]),
        (
            ["eval", "--backbone", "nano-bert", "--task", "country-capital", "--device", "abacus"],
            ["device: expected auto, cpu"],
        ),
        (
            ["eval", "--backbone", "nano-bert", "--task", "country-capital", "--dtype", "int3"],
            ["dtype: expected auto"],
        ),
        (
            ["eval", "--backbone", "nano-bert", "--task", "country-capital", "--split", "exam"],
            ["'exam'"],
        ),
        (
            [
                "eval",
                "--backbone",
                "nano-bert",
                "--task",
                "country-capital",
                "--template",
                "{soft} {subject}",
            ],
            ["exactly one {answer}"],
        ),
        (
            [
                "tune",
                "--backbone",
                "nano-bert",
                "--task",
                "country-capital",
                "--out",
                "x",
                "--epochs",
                "0",
            ],
            ["epochs: expected 1 or more"],
        ),
        (
            [
                "tune",
                "--backbone",
                "nano-bert",
                "--task",
                "country-capital",
                "--out",
                "x",
                "--origin",
                "magic",
            ],
            ["origin: expected vocabulary"],
        ),
    ],
)
def test_wrong_words_on_the_command_line(run_cli, tmp_path, monkeypatch, arguments, parts) -> None:
    monkeypatch.chdir(tmp_path)
    fails(run_cli(*arguments), *parts)
    assert list(tmp_path.iterdir()) == []


def test_unknown_methods_options_and_rules(run_cli, prompt, model_folder, tmp_path) -> None:
    command = ("transfer", prompt, "--to", model_folder("t5"), "--out", tmp_path / "q")
    fails(run_cli(*command, "--method", "least_square"), "Did you mean 'least_squares'")
    fails(run_cli(*command, "--magnitude", "tokens"), "Did you mean 'token'")
    fails(run_cli(*command, "--option", "topk"), "NAME=VALUE")
    fails(run_cli(*command, "--option", "topks=5"), "topk")
    fails(run_cli(*command, "--method", "mixture"), "a mixture prompt")
    assert not (tmp_path / "q").exists()


def test_a_checkpoint_without_its_embedding(run_cli, model_folder, tmp_path) -> None:
    from shutil import copytree

    from safetensors.torch import load_file

    folder = tmp_path / "model"
    copytree(model_folder("llama"), folder)
    tensors = load_file(folder / "model.safetensors")
    tensors = {k: v for k, v in tensors.items() if "embed" not in k and "lm_head" not in k}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    fails(run_cli("inspect", folder), "an embedding tensor named 'model.embed_tokens.weight'")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    fails(run_cli("inspect", folder), "model.safetensors", "whole safetensors file")


@pytest.mark.parametrize(("options", "said"), [
    (("--try", "omp", "--method", "omp"), "--try: expected no --method"),
    (("--try", "omp", "--own-anchors"), "got --own-anchors"),
])  # fmt: skip
def test_options_without_effect_on_transfer(
    run_cli, prompt, model_folder, tmp_path, options, said
) -> None:
    place = ("--to", model_folder("roberta"), "--out", tmp_path / "Q")
    fails(run_cli("transfer", prompt, *place, *options), said)
    assert not (tmp_path / "Q").exists()


def test_options_without_effect_on_tune(run_cli, model_folder, task_file, tmp_path) -> None:
    model = model_folder("bert")
    base = ("tune", "--backbone", model, "--task", task_file, "--out", tmp_path / "Q")
    fails(run_cli(*base, "--mixture", "--origin", "normal"), "--mixture: expected no --origin")
    fails(run_cli(*base, "--with", model), "backbones with different names")
    assert not (tmp_path / "Q").exists()
