"""promptport curves, as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from tests.cli.conftest import fails

from promptport.storage import load_prompt, save_prompt
from promptport.tuning import random_prompt

TEMPLATE = "{soft} {text} It was {answer} ."
FILMS = {
    "schema": 1,
    "name": "films",
    "kind": "classification",
    "template": TEMPLATE,
    "metric": "accuracy",
    "labels": {"good": ["great", "good"], "bad": ["terrible", "unhappy"]},
    "data": {split: "rows.jsonl" for split in ("train", "dev", "test")},
}
ROWS = [("a great film", "good"), ("a terrible film", "bad"), ("a bad story", "bad")] * 4


@pytest.fixture
def library(backbone, model_folder, tmp_path, monkeypatch):
    """Two prompts in runs/ and one in own/, of one origin; the task file of the films."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    (tmp_path / "films.yaml").write_text(yaml.safe_dump(FILMS))
    start = random_prompt(backbone("bert"), 2, 0).with_provenance(
        backbone=str(model_folder("bert")), template=TEMPLATE
    )
    for i, place in enumerate(("runs/a", "runs/b", "own")):
        noise = torch.randn(start.vectors.shape, generator=torch.Generator().manual_seed(i))
        save_prompt(replace(start, vectors=start.vectors + noise, origin=start.vectors), place)
    return str(model_folder("bert"))


COMMON = ("library", "curves", "runs", "--task", "films.yaml", "--steps", 2)


def _means(found):
    return {curve["start"]: curve["means"] for curve in found["curves"]}


@pytest.mark.long
def test_curves_at_no_rows_are_what_eval_says(run_cli, library) -> None:
    starts = [("--start", way) for way in ("single", "sum", "adapt", "own", "random")]
    options = [part for option in starts for part in option]
    code, out, err = run_cli(*COMMON, "--rows", 0, "--rows", 4, *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert list(_means(found)) == ["single a", "single b", "sum", "adapt", "random", "own"]
    combined = run_cli(
        "vector", "combine", "a + b", "--load", "a=runs/a", "--load", "b=runs/b", "--out", "s"
    )
    assert combined[0] == 0, combined
    adapted = run_cli(
        "library", "adapt", "runs", "--task", "films.yaml", "--steps", 2, "--out", "p"
    )
    assert adapted[0] == 0, adapted
    places = {"single a": "runs/a", "single b": "runs/b", "own": "own", "sum": "s", "adapt": "p"}
    for start, place in places.items():
        scored = json.loads(run_cli("eval", place, "--task", "films.yaml", "--json")[1])
        assert _means(found)[start]["0"] == scored["value"], start
    assert found["majority"]["value"] == pytest.approx(2 / 3)
    assert found["folder"] is None


@pytest.mark.slow
def test_curves_are_kept_and_shown(run_cli, library, monkeypatch) -> None:
    some = ("--rows", 4, "--rows", 99, "--seed", 0, "--seed", 1, "--reference", "picked")
    kept = (*COMMON, *some, "--out", "out")
    code, out, err = run_cli(*kept)
    assert code == 0, err
    note, written, purpose, following = err.splitlines()
    assert note == "note: films has 12 training rows: 99 became 12"
    assert "films on" in out
    assert "area over picked [95%]" in out
    assert "of 2 seeds" in out
    assert "the text of 12 rows of train, no labels" in out
    assert "Majority answer of all training rows: 0.667" in out
    assert written == "Written to out: curves.json, curves.html."
    assert purpose.startswith("Go on with ")
    assert following.startswith(("  promptport tune --backbone", "  promptport library adapt"))
    first = json.loads(Path("out/curves.json").read_text())
    assert Path("out/curves.html").read_text().startswith("<!doctype html>")
    from promptport.experiments.few_shot import measuring as room

    monkeypatch.setattr(room, "tune", None)  # would fail if anything were tuned
    code, out, err = run_cli(*kept, "--json")
    assert code == 0, err
    again = json.loads(out)
    assert {key: again[key] for key in first} == first
    assert again["folder"] == "out"


def test_an_interrupted_run_says_how_to_go_on(run_cli, library, monkeypatch) -> None:
    from promptport.experiments.few_shot import measuring as room

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "tune", stopped)
    code, out, err = run_cli(*COMMON, "--rows", 0, "--rows", 4, "--out", "out")
    assert (code, out) == (130, "")
    assert err == "interrupted: the same command goes on from what is finished\n"
    kept = [json.loads(line) for line in Path("out/cells.jsonl").read_text().splitlines()]
    assert [cell["rows"] for cell in kept] == [0] * 6 + [4]  # of 4 rows what is adapted
    assert not Path("out/curves.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random", "single", "picked", "sum", "adapt", "own"])
def test_the_printed_command_goes_on_with_the_best(run_cli, run_printed, library, start) -> None:
    (code, _, err) = run_cli(*COMMON, "--rows", 4, "--start", start, "--reference", start)
    if start == "single":  # two curves, so none of them is called like the way
        (code, _, err) = run_cli(*COMMON, "--rows", 4, "--start", start, "--reference", "single a")
    assert code == 0, err
    run_printed(err, *(() if start == "adapt" else ("--epochs", "1")))


def test_prompts_of_the_task_itself_are_told(run_cli, library) -> None:
    told = "note: made for films itself: b, own; what starts from them may know more labels than"
    for place in ("runs/b", "own"):
        prompt = load_prompt(place)
        save_prompt(prompt.with_provenance(task="trips + films"), place)
    starts = ("--start", "random", "--start", "own", "--rows", 0)
    code, _, err = run_cli(*COMMON, *starts)
    assert code == 0
    assert f"{told} the few rows" in err.splitlines()


@pytest.mark.long
def test_starts_may_be_folders(run_cli, library) -> None:
    save = ("--start", "own", "--start", "runs/../own", "--reference", "runs/../own")
    code, out, err = run_cli(*COMMON, *save, "--rows", 0, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert list(_means(found)) == ["own", "runs/../own"]
    assert found["reference"] == "runs/../own"
    assert found["curves"][0]["gain"] == 0
    Path("own").rename("mean")
    for reference in ("./mean", "mean"):
        both = ("--start", "mean", "--start", "./mean", "--reference", reference, "--rows", 0)
        code, out, err = run_cli(*COMMON, *both, "--json")
        assert code == 0, err
        assert list(_means(json.loads(out))) == ["mean", "./mean"]
        assert json.loads(out)["reference"] == reference


def test_bad_curves(run_cli, library, model_folder) -> None:
    fails(run_cli(*COMMON, "--start", "luck"), "--start: expected random, single", "got 'luck'")
    fails(run_cli(*COMMON, "--start", "runs", "--reference", "runs"), "a prompt folder with")
    reference = "reference: expected one of the starts (picked, sum), got 'random'"
    fails(run_cli(*COMMON, "--start", "picked", "--start", "sum"), reference)
    fails(run_cli(*COMMON, "--start", "sum", "--start", "sum"), "starts: expected", "each once")
    fails(run_cli(*COMMON, "--rows", -1), "rows: expected one number or more, each 0 or more")
    fails(run_cli(*COMMON, "--seed", 1, "--seed", 1), "seeds: expected", "each once")
    fails(run_cli("library", "curves", "nowhere", "--task", "films.yaml"), "no such folder")
    Path("empty").mkdir()
    fails(
        run_cli("library", "curves", "empty", "--task", "films.yaml"), "a prompt or vector folder"
    )
    other = ("--backbone", model_folder("distilbert"))
    fails(run_cli(*COMMON, *other), "prompt: expected the embedding matrix")
    free = {key: value for key, value in FILMS.items() if key != "labels"}
    free |= {"kind": "text2text", "metric": "exact-match", "columns": {"target": "label"}}
    Path("free.yaml").write_text(yaml.safe_dump(free))
    answers = "Leave out picked, ranked, adapt: they compare answers"
    fails(run_cli("library", "curves", "runs", "--task", "free.yaml"), "got text to text", answers)
    Path("file").write_text("")
    fails(run_cli(*COMMON, "--out", "file"), "file: expected a folder that can be written")
    fails(run_cli(*COMMON, "--out", "runs"), "--out: expected another folder than the one")
    Path("page").mkdir()
    Path("page/curves.html").write_text("mine")
    fails(run_cli(*COMMON, "--out", "page"), "--out", "page/curves.html, which is another")
    assert run_cli(*COMMON, "--rows", "five")[0] == 2
