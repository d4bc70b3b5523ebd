"""demo --real on tiny models: what it prints, and what it refuses."""

from __future__ import annotations

import json
from functools import partial

import pytest
from tests.cli.conftest import fails

from promptport.experiments import real_demo
from promptport.tasks import open_task

MODELS = ("--source", "nano-gpt2", "--target", "nano-llama")


@pytest.fixture
def tiny(monkeypatch):
    """Few rows and a short search."""

    def opened(reference):
        task = open_task(reference)
        rows = {"train": task.load("train")[:24], "dev": task.load("dev")[:8]}
        return task.with_rows(**rows, test=task.load("test")[:12])

    monkeypatch.setattr(real_demo, "open_task", opened)
    short = partial(real_demo.RealDemoSettings, paper_steps=5)
    monkeypatch.setattr(real_demo, "RealDemoSettings", short)


@pytest.mark.slow
def test_the_table_the_page_and_the_json(run_cli, tiny, tmp_path) -> None:
    command = ("demo", "--real", *MODELS, "--steps", 4, "--work", tmp_path / "w")
    code, out, err = run_cli(*command)
    assert code == 0, err
    for part in ("on nano-gpt2", "on nano-llama", "moved, paper A's search", "all of it"):
        assert part in out
    assert "... tuning a prompt on nano-gpt2: 4 updates" in err
    assert "Moved by answers, the prompt keeps" in err
    assert (tmp_path / "w" / "report.html").is_file()
    code, out, err = run_cli(*command, "--json", "--out", tmp_path / "own.html")
    values = json.loads(out)
    assert (code, err) == (0, "")
    assert values["retention"]["tuned here"] == 1.0
    assert values["report"] == str(tmp_path / "own.html")


@pytest.mark.slow
def test_what_it_prints_runs(run_cli, run_printed, tiny, tmp_path) -> None:
    code, _, err = run_cli("demo", "--real", *MODELS, "--steps", 2, "--work", tmp_path / "w")
    assert code == 0, err
    assert len(run_printed(err)) == 4


def test_what_is_refused(run_cli, tmp_path) -> None:
    real = ("demo", "--real", *MODELS, "--work", tmp_path / "w")
    fails(run_cli(*real, "--epochs", 3), "--real: expected no --task, --epochs with it")
    fails(run_cli(*real, "--task", "plural"), "--real: expected no --task, --epochs with it")
    fails(run_cli("demo", "--steps", 3), "--steps: expected --real with it, got none")
    fails(run_cli("demo", "--work", tmp_path), "--work: expected --real with it, got none")
    (tmp_path / "mine.html").write_text("mine")
    fails(run_cli(*real, "--out", tmp_path / "mine.html"), "--out: expected a new file")
    (tmp_path / "file").write_text("x")
    fails(run_cli("demo", "--real", "--work", tmp_path / "file"), "a folder that can be written")


def test_an_interrupted_demo_says_how_it_goes_on(run_cli, monkeypatch, tmp_path) -> None:
    def stopped(*_, **__) -> None:
        (tmp_path / "w" / "steps").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(real_demo, "run_real_demo", stopped)
    code, out, err = run_cli("demo", "--real", *MODELS, "--work", tmp_path / "w")
    assert (code, out) == (130, "")
    assert "interrupted: the same command goes on from its last finished step" in err
