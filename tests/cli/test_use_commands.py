"""eval, predict, tasks and inspect as a new user meets them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from tests.cli.conftest import fails, printed_commands

from promptport.cli import serve
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt


@pytest.fixture
def saved(backbone, tmp_path, monkeypatch):
    """A prompt folder for the task `capitals`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    model = backbone("bert")

    def save(folder="capital", **changes):
        made = Provenance(
            model.name,
            "masked",
            fingerprint=model.space.fingerprint,
            template="{subject} {soft} {answer} .",
            task="capitals",
        )
        vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(0))
        return save_prompt(SoftPrompt(vectors, made).with_provenance(**changes), folder)

    return save


def test_eval_gives_a_verdict_and_takes_the_task_from_the_prompt(run_cli, saved, task_file) -> None:
    saved()
    fails(run_cli("eval", "capital"), "only the recorded name 'capitals'", "--task")
    code, out, err = run_cli("eval", "capital", "--task", task_file)
    assert code == 0
    assert "majority" in out
    assert "always answering 'Paris' (0.167)" in err
    told = json.loads(run_cli("eval", "capital", "--task", task_file, "--json")[1])
    assert told["verdict"] in err
    saved("known", task="country-capital")
    assert run_cli("eval", "known", "--json")[0] == 0


def test_eval_with_another_task_says_what_is_used(run_cli, saved) -> None:
    saved()
    _, _, err = run_cli("eval", "capital", "--task", "country-capital")
    assert "note: the prompt was made for capitals, --task is country-capital" in err
    assert "with the template '{subject} {soft} {answer} .'" in err


def test_a_moved_prompt_is_shown_beside_its_source(run_cli, saved, task_file) -> None:
    history = ({"step": "transfer", "source": "elsewhere", "tuning": {"dev_score": 0.875}},)
    saved(history=history)
    _, _, err = run_cli("eval", "capital", "--task", task_file)
    assert "Before it was moved it scored 0.875 on the dev rows, on elsewhere." in err


@pytest.mark.long
def test_predict_reads_arguments_files_and_standard_input(
    run_cli, saved, task_file, tmp_path, monkeypatch
) -> None:
    saved()
    ask = ("predict", "capital", "--task", task_file, "--json")
    given = json.loads(run_cli(*ask, "France", "Peru")[1])["rows"]
    (tmp_path / "lines.txt").write_text("France\n\nPeru\n")
    (tmp_path / "rows.csv").write_text("subject,more\nFrance,1\nPeru,2\n")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"subject": "France"}\n{"subject": "Peru"}\n'))
    for file in ("lines.txt", "rows.csv", "-"):
        assert json.loads(run_cli(*ask, "--file", file)[1])["rows"] == given
    code, out, _ = run_cli("predict", "capital", "--task", task_file, "France", "--top", 2)
    assert code == 0
    assert given[0]["answer"] in out
    fails(run_cli(*ask), "expected texts to answer, or --file")
    fails(run_cli(*ask, "France", "--file", "lines.txt"), "got both")
    fails(run_cli(*ask, "--file", "nowhere.txt"), "nowhere.txt")


def test_a_model_that_is_not_here_is_named_with_its_file(run_cli, saved, task_file) -> None:
    saved(backbone="/old/base")
    for command in (
        ("eval", "capital", "--task", task_file),
        ("predict", "capital", "--task", task_file, "France"),
    ):
        fails(run_cli(*command), "capital/promptport.json", "'/old/base'", "--backbone")
    (saved("bare", backbone="C:\\models\\base") / "promptport.json").unlink()
    result = run_cli("eval", "bare", "--task", task_file)
    fails(result, "bare/adapter_config.json", "models", "--backbone")
    assert "--backbone" in run_cli("inspect", "capital")[2]


def test_a_folder_of_prompts_is_listed_and_named(run_cli, saved, run_printed) -> None:
    saved("all/one")
    saved("all/two")
    code, out, err = run_cli("inspect", "all")
    assert code == 0
    assert "one" in out
    assert "capitals" in out
    assert ["library", "list", "all"] in printed_commands(err)
    run_printed(err)
    told = json.loads(run_cli("inspect", "all", "--json")[1])
    assert [entry["name"] for entry in told["entries"]] == ["one", "two"]
    fails(run_cli("eval", "all"), "a folder of prompts (one, two)", "all/one")


def test_the_history_reads_well(run_cli, saved) -> None:
    steps = ({"step": "anchor", "words": 4}, {"source": "elsewhere", "method": "mixture.v1"})
    saved(history=steps)
    out = run_cli("inspect", "capital")[1]
    assert "fitted by a mixture of words: 4 words" in out
    assert "moved by the embedding tables (mixture.v1) from elsewhere" in out


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"the {word} film number {i},{word}" for word in ("good", "bad") for i in range(12)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *rows]) + "\n")


@pytest.mark.long
def test_a_table_becomes_a_task_and_the_printed_commands_run(run_cli, reviews, run_printed) -> None:
    code, out, err = run_cli("tasks", "init", "reviews.csv", "--out", "my reviews")
    assert code == 0
    assert "review" in out
    assert "bad" in out
    assert [words[0] for words in printed_commands(err)] == ["tasks", "tune"]
    first, _ = err.split("Tune a prompt for it")
    run_printed(first)
    words = next(words for words in printed_commands(err) if words[0] == "tune")
    code, _, told = run_cli(*words, "--epochs", 1, "--length", 1)
    assert code == 0, told
    assert "Verdict: on the dev rows" in told
    run_printed(told)
    refused = run_cli("tune", "--backbone", "nano-bert", "--task", "opposite", "--out", words[-1])
    fails(refused, "holds one for reviews", "--force")


def test_problems_of_a_task_are_listed_and_fail(run_cli, reviews) -> None:
    run_cli("tasks", "init", "reviews.csv", "--out", "reviews")
    assert run_cli("tasks", "check", "reviews/task.yaml")[0] == 0
    described = yaml.safe_load(Path("reviews/task.yaml").read_text())
    del described["labels"]["bad"]
    described["labels"]["fine"] = ["fine"]
    Path("reviews/broken.yaml").write_text(yaml.safe_dump(described))
    code, _, err = run_cli("tasks", "check", "reviews/broken.yaml")
    assert code == 1
    assert "problem: reviews/train.jsonl, line" in err
    assert "'bad'" in err
    code, out, _ = run_cli("tasks", "check", "reviews/broken.yaml", "--json")
    assert code == 1
    assert not json.loads(out)["ok"]
    code, _, err = run_cli("tasks", "show", "reviews/broken.yaml")
    assert "train is shown without its labels" in err


@pytest.mark.long
def test_prompts_that_a_template_does_as_well_as_are_named(run_cli, tmp_path) -> None:
    """nano-gpt2 was trained on the sentences of this template, so few updates do not beat it."""
    rows = ("--max-train-rows", 8, "--max-dev-rows", 12, "--epochs", 1, "--lr", 1e-9)
    line = ("tune", "--backbone", "nano-gpt2", "--task", "sentiment", *rows, "--device", "cpu")
    code, _, told = run_cli(*line, "--out", tmp_path / "one")
    assert code == 0
    assert "A template without a prompt does as well: tune longer" in " ".join(told.split())
    code, _, told = run_cli(*line, "--seed", 0, "--seed", 1, "--out", tmp_path / "two")
    named = "2 of 2 do not beat the manual template with its label prior taken off: "
    assert f"{named}sentiment-seed0, sentiment-seed1" in " ".join(told.split())
    made = json.loads(run_cli(*line, "--out", tmp_path / "one", "--json")[1])["prompts"][0]
    assert made["gains_over_template"] is False
    assert made["baselines"]["manual, prior off"] == 1


def test_labels_on_no_training_row_are_told(run_cli, model_folder, tmp_path) -> None:
    described = {
        **{"schema": 1, "name": "kinds", "kind": "classification", "metric": "accuracy"},
        "template": "{text} is {soft} {answer}",
        "labels": {"one": ["good"], "two": ["bad"], "last": ["old"]},
        "data": {split: "rows.jsonl" for split in ("train", "dev", "test")},
    }
    (tmp_path / "kinds.yaml").write_text(yaml.safe_dump(described))
    rows = [{"text": f"a film {i}", "label": ("one", "two")[i % 2]} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    line = ("tune", "--backbone", model_folder("bert"), "--task", tmp_path / "kinds.yaml")
    code, _, told = run_cli(*line, "--epochs", 1, "--length", 2, "--out", tmp_path / "P")
    assert code == 0
    told = " ".join(told.split())
    assert "note: no training row of kinds has the label last; look at its rows: " in told
    assert f"promptport tasks show {tmp_path / 'kinds.yaml'}" in told


def test_serve_says_which_tasks_are_not_at_hand(saved, capsys) -> None:
    saved("known", task="country-capital")
    saved("own", task="mine")
    saved("both", task="country-capital + mine")
    for given, told in (([], True), (["mine"], False)):
        serve._note_tasks([Path("known"), Path("own"), Path("both")], given, None)
        err = capsys.readouterr().err
        assert ("tasks that are not at hand: mine. Their prompts write" in err) is told
