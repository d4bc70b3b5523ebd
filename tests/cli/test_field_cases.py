"""Inputs that users of prompt tuning reported elsewhere, made small, through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as hf
from tests.cli.conftest import fails

from promptport.objective import Objective
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt
from promptport.tasks import load_task


@pytest.fixture
def grown(model_folder, tmp_path) -> Path:
    """A model whose tokenizer has learned four tokens more, of which one has no row."""
    folder = tmp_path / "grown"
    hf.AutoModelForCausalLM.from_pretrained(model_folder("llama")).save_pretrained(folder)
    tokenizer = hf.AutoTokenizer.from_pretrained(model_folder("llama"))
    # The tiny models have three spare rows.
    tokenizer.add_tokens(["wombat", "numbat", "dingo", "quokka"])
    tokenizer.save_pretrained(folder)
    return folder


def _task_with(word: str, place: Path) -> Path:
    lines = [
        {"text": f"a {kind} {thing}", "label": kind}
        for kind in ("good", "bad")
        for thing in ("film", word)
    ]
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    path = place / "animals.yaml"
    path.write_text(
        "schema: 1\nname: animals\nkind: classification\nmetric: accuracy\n"
        'template: "{soft} {text} It was {answer} ."\nmanual: "{text} It was {answer} ."\n'
        "labels: {good: [good], bad: [bad]}\n"
        "data: {train: rows.jsonl, dev: rows.jsonl, test: rows.jsonl}\n"
    )
    return path


@pytest.mark.parametrize("command", ["tune", "eval"])
def test_a_token_without_a_row_is_named(run_cli, grown, tmp_path, command) -> None:
    rest = ("--out", tmp_path / "P", "--steps", 1) if command == "tune" else ()
    asked = (command, "--backbone", grown, "--task", _task_with("quokka", tmp_path), *rest)
    told = "got token 'quokka' with id", "rows. Resize the model to its tokenizer"
    fails(run_cli(*asked), "an embedding row for every token", *told)


def test_tokens_without_rows_stop_no_other_text(run_cli, grown, tmp_path) -> None:
    code, out, _ = run_cli(
        "eval", "--backbone", grown, "--task", _task_with("numbat", tmp_path), "--json"
    )
    assert code == 0
    assert json.loads(out)


def test_a_text_origin_of_a_token_without_a_row(run_cli, grown, tmp_path) -> None:
    asked = ("tune", "--backbone", grown, "--task", _task_with("film", tmp_path))
    made = run_cli(*asked, "--origin", "text:a quokka", "--out", tmp_path / "P", "--steps", 1)
    fails(made, "got token 'quokka'")


def test_inspect_and_compat_warn_of_tokens_without_rows(run_cli, grown, model_folder) -> None:
    code, _, err = run_cli("inspect", grown)
    assert code == 0
    assert "has no embedding row for token 'quokka'" in err
    described = json.loads(run_cli("inspect", grown, "--json")[1])
    assert described["tokens_without_row"] == len(described["warnings"]) == 1
    code, _, err = run_cli("compat", grown, model_folder("bert"))
    assert code == 0
    assert "warning: " in err
    assert "token 'quokka'" in err
    assert json.loads(run_cli("inspect", model_folder("bert"), "--json")[1])["warnings"] == []
    plain = json.loads(run_cli("compat", model_folder("bert"), model_folder("t5"), "--json")[1])
    assert plain["rowless_tokens"] == []


@pytest.fixture
def asked_alone(tmp_path) -> Path:
    """The task on films, asked without a sentinel."""
    path = _task_with("story", tmp_path)
    path.write_text(path.read_text() + "sentinel: false\n")
    return path


def test_without_a_sentinel_labels_are_scored_as_the_model_writes_them(
    backbone, asked_alone
) -> None:
    """The same probabilities as transformers gives to the label as the target of the text."""
    model = backbone("t5")
    task = load_task(asked_alone)
    objective = Objective(model, task, task.manual, length=0)
    rows = task.load("test")
    questions = objective.prepare(rows).questions
    inputs = [encoded for question in questions for encoded in question.inputs]
    nothing = torch.zeros(1, model.width)
    with torch.no_grad():
        logits = model.answer_logits(inputs, nothing, [0] * len(inputs))
        scores = objective.scores(logits, questions)
    for row, own in zip(rows, scores, strict=True):
        ids = model.tokenizer(f"{row.fields['text']} It was .", return_tensors="pt").input_ids
        words = [model.tokenizer(w, add_special_tokens=False).input_ids for w in ("good", "bad")]
        assert [len(word) for word in words] == [1, 1]
        with torch.no_grad():
            theirs = model.model(input_ids=ids, decoder_input_ids=torch.zeros(1, 1).long()).logits
        wanted = theirs[0, 0, [word[0] for word in words]]
        difference = own[0] - own[1]
        torch.testing.assert_close(difference, wanted[0] - wanted[1], rtol=1e-4, atol=1e-4)


def test_other_models_know_no_sentinel(backbone, tmp_path) -> None:
    model = backbone("gpt2")
    plain = load_task(_task_with("story", tmp_path))
    alone = load_task(_alone(tmp_path))
    asked = [
        Objective(model, t, t.manual, length=0).prepare(t.load("test")) for t in (plain, alone)
    ]
    assert [q.inputs for q in asked[0].questions] == [q.inputs for q in asked[1].questions]


def _alone(place: Path) -> Path:
    path = place / "animals.yaml"
    path.write_text(path.read_text() + "sentinel: false\n")
    return path


def test_a_prompt_of_pefts_that_is_asked_through_a_sentinel_is_told(
    run_cli, backbone, tmp_path
) -> None:
    model = backbone("t5")
    bare = SoftPrompt(model.space.rows([5, 6, 7]), Provenance(model.name, "seq2seq"))
    save_prompt(bare, tmp_path / "P")
    task = _task_with("story", tmp_path)
    asked = ("eval", tmp_path / "P", "--template", "{soft} {text} {answer}", "--json")
    code, _, err = run_cli(*asked, "--task", task)
    assert code == 0
    assert "needs 'sentinel: false' in the task file" in err
    code, _, err = run_cli(*asked, "--task", _alone(tmp_path))
    assert code == 0
    assert "sentinel" not in err


@pytest.fixture
def questions(tmp_path) -> Path:
    table = tmp_path / "faq.csv"
    rows = [f"What is {n} and {n} ?,It is {2 * n} ." for n in range(10)]
    table.write_text("\n".join(["question,reply", *rows]))
    return table


def test_init_makes_text_to_text_of_free_answers(run_cli, questions, tmp_path) -> None:
    out = tmp_path / "faq"
    made = ("tasks", "init", questions, "--target", "reply", "--out", out)
    code, text, err = run_cli(*made, "--json")
    assert code == 0, err
    described = json.loads(text)
    assert described["rows"] == {"train": 6, "dev": 2, "test": 2}
    assert (described["text_column"], described["label_column"]) == ("question", "reply")
    assert described["labels"] == {}
    task = load_task(out / "task.yaml")
    assert task.kind == "text2text"
    answers = {row.answer for split in task.splits for row in task.load(split)}
    assert answers == {f"It is {2 * n} ." for n in range(10)}
    assert run_cli("tasks", "check", out / "task.yaml")[0] == 0
    shown = json.loads(run_cli("tasks", "show", out / "task.yaml", "--json")[1])
    assert shown["kind"] == "text2text"
    assert set(shown["examples"][0]) == {"text", "answer"}


def test_init_tells_of_free_answers(run_cli, questions, tmp_path) -> None:
    code, out, err = run_cli(
        "tasks", "init", questions, "--target", "reply", "--out", tmp_path / "faq"
    )
    assert code == 0
    assert "answers from column" in out + err
    assert "--backbone nano-t5" in err


def test_init_refuses_what_is_no_text_to_text(run_cli, questions, tmp_path) -> None:
    init = ("tasks", "init", questions, "--out", tmp_path / "faq")
    fails(run_cli(*init, "--target", "replly"), "--target", "Did you mean 'reply'?")
    fails(run_cli(*init, "--target", "reply", "--label", "reply"), "expected one of them, got both")
    questions.write_text("question,reply\nWhat ?,That .")
    fails(run_cli(*init, "--target", "reply"), "expected at least 3 rows with a text and an answer")
