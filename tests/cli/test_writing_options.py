"""eval and predict of tasks whose answers are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from tests.cli.conftest import fails
from tests.unit.backbone.test_chat import chatty

from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt

ROWS = [("a good dog", "dog"), ("the old river", "river"), ("a red stone", "stone")] * 2


@pytest.fixture
def task_of(tmp_path, monkeypatch):
    """A task file in the working directory."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"text": text, "target": target}) for text, target in ROWS]
    Path("rows.jsonl").write_text("\n".join(lines))

    def write(**changes):
        values = {
            **{"schema": 1, "name": "last word", "kind": "text2text", "metric": "token-f1"},
            **{"template": "{soft} {text} : {answer}", "manual": "{text} : {answer}"},
            "data": dict.fromkeys(("train", "dev", "test"), "rows.jsonl"),
        }
        Path("task.yaml").write_text(yaml.safe_dump(values | changes))
        return "task.yaml"

    return write


@pytest.fixture
def prompt(backbone, task_of):
    model = backbone("gpt2")
    made = Provenance(
        model.name,
        "causal",
        fingerprint=model.space.fingerprint,
        template="{soft} {text} : {answer}",
        task="last word",
    )
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(0))
    return save_prompt(SoftPrompt(vectors, made), "prompt")


@pytest.mark.long
def test_eval_writes_as_told_and_shows_other_metrics(run_cli, prompt, task_of) -> None:
    asked = ("eval", prompt, "--task", task_of(), "--max-new-tokens", 4)
    code, out, err = run_cli(*asked, "--metric", "chrf", "--metric", "rouge-l")
    assert code == 0
    assert "token-f1" in out
    shown = [line.split(":")[0] for line in err.splitlines() if ":" in line]
    assert shown[:3] == ["exact-match", "chrf", "rouge-l"]
    told = json.loads(run_cli(*asked, "--json")[1])
    assert told["metric"] == "token-f1"
    assert list(told["other_metrics"]) == ["exact-match"]
    assert told["other_metrics"]["exact-match"]["rows"] == 6


@pytest.mark.long
def test_predict_draws_and_stops(run_cli, prompt, task_of) -> None:
    asked = ("predict", prompt, "the old dog", "a red bird", "--task", task_of(), "--json")

    def answers(*options) -> list[str]:
        code, out, err = run_cli(*asked, *options)
        assert code == 0, err
        return [row["answer"] for row in json.loads(out)["rows"]]

    greedy = answers("--max-new-tokens", 12)
    assert all(greedy)
    assert greedy == answers("--max-new-tokens", 12, "--temperature", 0)
    drawn = ("--max-new-tokens", 12, "--temperature", 40, "--top-p", 0.99)
    assert answers(*drawn, "--seed", 1) == answers(*drawn, "--seed", 1)
    assert answers(*drawn, "--seed", 1) != answers(*drawn, "--seed", 2)
    stop = greedy[0][2:4]
    assert answers("--max-new-tokens", 12, "--stop", stop)[0] == greedy[0].split(stop)[0].strip()


def test_the_task_file_says_how_answers_are_written(run_cli, prompt, task_of) -> None:
    from promptport.tasks import load_task

    writing = {"max_new_tokens": 5, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": "\n"}
    task = load_task(task_of(writing=writing))
    assert task.writing.to_dict() == {**writing, "stop": ["\n"]}
    assert load_task(task_of(writing={"stop": [".", "\n"]})).writing.stop == (".", "\n")
    long = json.loads(run_cli("predict", prompt, "a dog", "--task", task_of(), "--json")[1])
    greedy = task_of(writing={"max_new_tokens": 5})
    drawing = task_of(writing={**writing, "stop": "never"}), "--temperature", 0
    said = [
        json.loads(run_cli("predict", prompt, "a dog", "--task", *way, "--json")[1])
        for way in ((greedy,), drawing)
    ]
    assert said[0]["rows"] == said[1]["rows"]
    short = task_of(writing={"max_new_tokens": 1})
    told = json.loads(run_cli("predict", prompt, "a dog", "--task", short, "--json")[1])
    assert len(told["rows"][0]["answer"]) < len(long["rows"][0]["answer"])


def test_wrong_settings_are_one_line(run_cli, prompt, task_of, task_file) -> None:
    asked = ("predict", prompt, "a dog", "--task", task_of())
    fails(run_cli(*asked, "--max-new-tokens", 0), "max_new_tokens: expected 1 or more, got 0")
    fails(run_cli(*asked, "--top-p", 0.5), "top_p: expected 1 without a temperature")
    fails(run_cli(*asked, "--temperature", -1), "temperature: expected 0 or more")
    fails(run_cli(*asked, "--stop", ""), "stop: expected texts of one character or more")
    fails(run_cli(*asked, "--temperature", 1, "--seed", -1), "seed: expected a number from 0")
    bad = task_of(writing={"max_new_tokens": 0})
    fails(run_cli("eval", prompt, "--task", bad), "task.yaml, max_new_tokens: expected 1 or more")
    bad = task_of(writing={"beams": 3})
    fails(run_cli("eval", prompt, "--task", bad), "task.yaml", "beams")


def test_options_of_writing_need_answers_that_are_written(run_cli, prompt, task_file) -> None:
    for command in (("eval", prompt), ("predict", prompt, "a dog")):
        found = run_cli(*command, "--task", task_file, "--max-new-tokens", 3, "--stop", ".")
        fails(found, "expected a task of kind 'text2text'", "Leave out --max-new-tokens, --stop")
    found = run_cli("eval", prompt, "--task", task_file, "--metric", "bleu")
    fails(found, "metric: expected one of p@1, p@K", "got 'bleu'")


@pytest.mark.long
def test_a_prompt_of_a_chat_is_asked_in_it_again(run_cli, task_of, tmp_path) -> None:
    model = chatty()
    model.model.save_pretrained("chatty")
    model.tokenizer.save_pretrained("chatty")
    asked = ("--backbone", "chatty", "--task", task_of(writing={"max_new_tokens": 3}))
    code, _, err = run_cli("tune", *asked, "--chat", "--epochs", 1, "--out", "chat")
    assert code == 0, err
    code, out, err = run_cli("eval", "chat", "--task", "task.yaml", "--json")
    assert code == 0, err
    assert json.loads(out)["template"] == "{soft} {chat} {text} : {answer}"
    assert run_cli("predict", "chat", "a dog", "--task", "task.yaml")[0] == 0
    code, out, _ = run_cli("eval", *asked, "--chat", "--json")
    assert json.loads(out)["template"] == "{chat} {text} : {answer}"
    task_of(chat=True, writing={"max_new_tokens": 3})
    assert (
        json.loads(run_cli("eval", *asked, "--json")[1])["template"] == "{chat} {text} : {answer}"
    )
    assert run_cli("tune", *asked, "--epochs", 1, "--out", "plain")[0] == 0
    told = json.loads(run_cli("eval", "plain", "--task", "task.yaml", "--json")[1])
    assert told["template"] == "{soft} {chat} {text} : {answer}"


def test_a_model_without_chats_says_so(run_cli, prompt, task_of) -> None:
    line = ("expected a tokenizer with a chat template", "Leave out --chat")
    asked = ("--task", task_of(), "--chat")
    fails(run_cli("eval", prompt, *asked), *line)
    fails(run_cli("predict", prompt, "a dog", *asked), *line)
