"""Prompts on the Hub, against a local server that speaks its API."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import yaml
from tests.hub import instead_of_the_hub

from promptport.backbone import Backbone
from promptport.errors import PromptPortError
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.storage.hub_prompts import pull_prompt, push_prompt
from promptport.tuning.baselines import random_prompt


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with instead_of_the_hub(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def prompt(tmp_path) -> SoftPrompt:
    model = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    tuning = {"dev_score": 0.8125, "metric": "accuracy", "dev_rows": 64}
    made = random_prompt(model, 3, 0).with_provenance(
        task="sentiment", template="{soft} {text} It was {answer} .", tuning=tuning
    )
    save_prompt(made, tmp_path / "sentiment")
    (tmp_path / "sentiment" / "notes.txt").write_text("private")
    return made


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


@pytest.mark.long
def test_what_is_pushed_comes_back_equal(hub, prompt, tmp_path) -> None:
    pushed = push_prompt(tmp_path / "sentiment", "ann/sentiment-prompt", licence="apache-2.0")
    assert pushed.url == f"{hub.url}/ann/sentiment-prompt/commit/{'0123456789abcdef' * 2}01234567"
    assert hub.made["ann/sentiment-prompt"]["visibility"] == "private"
    there = {file.name for file in hub.repositories["ann/sentiment-prompt"].iterdir()}
    assert there == set(pushed.files)
    assert "notes.txt" not in there
    head = head_of((hub.repositories["ann/sentiment-prompt"] / "README.md").read_text())
    assert head["license"] == "apache-2.0"
    assert head["base_model"] == "nano-gpt2"
    (result,) = head["model-index"][0]["results"]
    assert result["task"]["type"] == "text-classification"
    assert result["metrics"][0]["value"] == 0.8125
    pulled = pull_prompt("ann/sentiment-prompt", tmp_path / "back")
    assert torch.equal(pulled.prompt.vectors, prompt.vectors)
    assert pulled.prompt.provenance == prompt.provenance
    assert pulled.notes == ()
    again = load_prompt(tmp_path / "back")
    assert torch.equal(again.vectors, prompt.vectors)
    named = load_prompt("ann/sentiment-prompt")
    assert torch.equal(named.vectors, prompt.vectors)
    assert torch.equal(load_prompt("ann/sentiment-prompt@main").vectors, prompt.vectors)


@pytest.mark.long
def test_a_dry_run_sends_nothing_and_shows_what_would_be_sent(hub, prompt, tmp_path) -> None:
    pushed = push_prompt(tmp_path / "sentiment", "ann/p", public=True, dry_run=True)
    assert hub.repositories == {}
    assert (pushed.url, pushed.private) == (None, False)
    assert "adapter_model.safetensors" in pushed.files
    assert head_of(pushed.card)["library_name"] == "peft"


@pytest.mark.long
def test_a_base_model_must_be_one_that_others_find(hub, prompt, tmp_path) -> None:
    local = prompt.with_provenance(backbone=str(tmp_path / "model"))
    save_prompt(local, tmp_path / "local")
    with pytest.raises(PromptPortError, match="expected a Hub id, so that others find it"):
        push_prompt(tmp_path / "local", "ann/p")
    pushed = push_prompt(tmp_path / "local", "ann/p", base_model="org/model")
    assert head_of(pushed.card)["base_model"] == "org/model"
    assert "base_model:adapter:org/model" in head_of(pushed.card)["tags"]
    folder = hub.repositories["ann/p"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/model"
    assert str(tmp_path) not in "".join(
        file.read_text(errors="replace") for file in folder.iterdir()
    )


@pytest.mark.long
def test_prompts_of_strangers_are_checked_and_what_is_not_known_is_told(hub, prompt, tmp_path):
    folder = hub.storage / "bob" / "peft"
    save_prompt(replace(prompt, origin=None), folder)
    for name in ("promptport.json", "README.md"):
        (folder / name).unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "C:\\Users\\bob\\model"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"prompt_embeddings": prompt.vectors}, folder / "adapter_model.bin")
    hub.repositories["bob/peft"] = folder
    pulled = pull_prompt("bob/peft", tmp_path / "peft")
    assert torch.equal(pulled.prompt.vectors, prompt.vectors)
    told = " ".join(pulled.notes)
    for part in ("not made by promptport", "a place on another machine", "older format"):
        assert part in told


@pytest.mark.long
def test_what_the_hub_refuses_is_one_line(hub, prompt, tmp_path, monkeypatch) -> None:
    with pytest.raises(PromptPortError, match="no such repository, or none that you may see"):
        pull_prompt("ann/nothing", tmp_path / "x")
    with pytest.raises(PromptPortError, match="expected a Hub id, user/name, got 'nothing'"):
        pull_prompt("nothing", tmp_path / "x")
    with pytest.raises(PromptPortError, match="expected a Hub id"):
        push_prompt(tmp_path / "sentiment", "a/b/c")
    damaged = hub.storage / "bob" / "damaged"
    save_prompt(prompt, damaged)
    (damaged / "adapter_model.safetensors").write_bytes(b"{}")
    hub.repositories["bob/damaged"] = damaged
    with pytest.raises(PromptPortError, match="expected a whole safetensors file"):
        pull_prompt("bob/damaged", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(PromptPortError, match="hf auth login") as caught:
        push_prompt(tmp_path / "sentiment", "ann/p")
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_told_as_before_where_the_hub_has_none(hub, tmp_path) -> None:
    with pytest.raises(PromptPortError, match="expected a prompt folder"):
        load_prompt("ann/nothing")


@pytest.mark.long
def test_push_and_pull_on_the_command_line(hub, prompt, tmp_path, run_cli) -> None:
    code, out, err = run_cli("push", tmp_path / "sentiment", "ann/cli", "--dry-run")
    assert code == 0
    assert "library_name: peft" in out
    assert "Nothing was sent" in err
    code, out, err = run_cli("push", tmp_path / "sentiment", "ann/cli", "--json")
    assert code == 0
    assert json.loads(out)["private"] is True
    assert "promptport pull ann/cli --out cli" in err
    code, out, err = run_cli("pull", "ann/cli", "--out", tmp_path / "back")
    assert code == 0
    assert "sentiment" in out
    code, out, _ = run_cli("predict", "ann/cli", "A warm film .", "--json")
    assert code == 0
    assert json.loads(out)["rows"][0]["answer"] in ("positive", "negative")


@pytest.mark.long
def test_a_slip_in_a_local_path_asks_nobody(hub, prompt, tmp_path, monkeypatch) -> None:
    hub.repositories["lib/sentimnt"] = tmp_path / "sentiment"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    with pytest.raises(PromptPortError, match="expected a prompt folder"):
        load_prompt("lib/sentimnt")
    assert not hub.served
