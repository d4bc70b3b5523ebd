"""Length, place and budget of `tune` where nobody says otherwise."""

from __future__ import annotations

import json

import pytest

from promptport.storage import load_prompt
from promptport.tuning import usual

LONG = " of a man who comes home to a house by the sea and is not what he was"
ROWS = [
    ("a great film", "positive"),
    ("a good story", "positive"),
    ("a terrible film", "negative"),
    ("a bad story", "negative"),
] * 4


@pytest.fixture
def reviews(tmp_path):
    return written(tmp_path, LONG)


def written(folder, more):
    """A task whose texts go on with some words."""
    lines = [json.dumps({"text": text + more, "label": label}) for text, label in ROWS]
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    (folder / "task.yaml").write_text(
        "schema: 1\nname: reviews\nkind: classification\n"
        "template: '{soft} {text} It was {answer} .'\n"
        "manual: '{text} It was {answer} .'\nmetric: accuracy\n"
        "labels: {negative: [bad], positive: [good]}\n"
        "data: {train: train.jsonl, dev: dev.jsonl, test: test.jsonl}\n"
    )
    return folder / "task.yaml"


def tuned(run_cli, task, out, *more):
    base = ["tune", "--backbone", "nano-gpt2", "--task", str(task), "--out", str(out)]
    code, _, err = run_cli(*base, *more)
    assert code == 0, err
    assert ("virtual tokens stand behind the text" in err) == out.name.startswith("behind")
    return load_prompt(out)


@pytest.mark.long
def test_large_models_take_so_many_updates_behind_the_text(run_cli, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(usual, "LARGE", 1000)
    prompt = tuned(run_cli, reviews, tmp_path / "behind", "--steps", "3")
    assert prompt.length == 10
    assert prompt.provenance.template == "{text} {soft} It was {answer} ."
    assert prompt.provenance.tuning["steps"] == 3
    front = tuned(
        run_cli, reviews, tmp_path / "front", "--place", "front", "--epochs", "2", "--length", "4"
    )
    assert (front.length, front.provenance.tuning["steps"]) == (4, 2)
    assert front.provenance.template == "{soft} {text} It was {answer} ."


@pytest.mark.long
def test_short_texts_stay_behind_their_virtual_tokens(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(usual, "LARGE", 1000)
    prompt = tuned(run_cli, written(tmp_path, ""), tmp_path / "short", "--steps", "2")
    assert (prompt.length, prompt.provenance.tuning["steps"]) == (10, 2)
    assert prompt.provenance.template == "{soft} {text} It was {answer} ."
    own = ["--template", "{soft} {text} So it is {answer} .", "--steps", "2"]
    prompt = tuned(run_cli, written(tmp_path, LONG), tmp_path / "own", *own)
    assert prompt.provenance.template == own[1]


@pytest.mark.slow
def test_a_prompt_to_start_from_stays_where_it_stood(run_cli, reviews, tmp_path, monkeypatch):
    tuned(run_cli, reviews, tmp_path / "p", "--epochs", "1", "--length", "4")
    monkeypatch.setattr(usual, "LARGE", 1000)
    more = ["--origin", str(tmp_path / "p"), "--length", "4", "--steps", "2"]
    again = tuned(run_cli, reviews, tmp_path / "again", *more)
    assert again.provenance.template == "{soft} {text} It was {answer} ."


@pytest.mark.long
def test_small_models_do_as_before(run_cli, reviews, tmp_path):
    prompt = tuned(run_cli, reviews, tmp_path / "p", "--epochs", "1")
    assert prompt.length == 5
    assert prompt.provenance.template == "{soft} {text} It was {answer} ."


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--place", "middle"], "expected template or front or behind, got 'middle'"),
        (["--place", "front", "--template", "{soft} {text} {answer}"], "--template"),
        (["--schedule", "cosine"], "expected linear or constant, got 'cosine'"),
        (["--steps", "-1"], "max_steps: expected 0 or more, got -1"),
        (["--check", "-1"], "check: expected 0 or more, got -1"),
    ],
)
def test_bad_options_are_refused(run_cli, reviews, tmp_path, more, message):
    base = ["tune", "--backbone", "nano-gpt2", "--task", str(reviews), "--out", str(tmp_path / "p")]
    code, _, err = run_cli(*base, *more)
    assert code == 1
    assert message in err
    assert not (tmp_path / "p").exists()
