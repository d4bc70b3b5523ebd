"""Inputs that users of prompt tuning reported elsewhere, made small, through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers as hf
from tests.cli.conftest import fails


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
