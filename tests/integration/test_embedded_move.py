"""`move` on the embedded models: what a free prompt keeps by answers, and what by the tables."""

from __future__ import annotations

import pytest

from promptport.backbone import Backbone
from promptport.distillation import DistillConfig
from promptport.evaluation import evaluate
from promptport.moving import MoveConfig, move
from promptport.parameters import OriginSpec
from promptport.storage import save_prompt
from promptport.tasks import open_task
from promptport.tuning import TuneConfig, TuneJob, tune


@pytest.fixture(scope="module")
def capital():
    """A free prompt for country-capital on nano-bert, as `promptport tune` makes it."""
    job = TuneJob(open_task("country-capital"), OriginSpec("vocabulary", 0), 5, 0)
    return tune(Backbone.load("nano-bert"), [job], TuneConfig())[0].prompt


@pytest.mark.slow
def test_a_free_prompt_keeps_by_answers_what_the_benchmark_says(capital) -> None:
    task, target = open_task("country-capital"), Backbone.load("nano-roberta")
    moved = move(capital, to=target, config=MoveConfig(distill=DistillConfig("words", rows=128)))
    # The task is remembered, and has texts: both models are asked these.
    assert (moved.plan.method, moved.plan.texts) == ("answers", "task")
    source = evaluate(Backbone.load("nano-bert"), task, capital).score.value
    # benchmarks/transfer_quality: `calibrated` keeps 0.94 on average, 0.90 and more of every seed.
    assert evaluate(target, task, moved.prompt).score.value >= 0.86 * source
    assert moved.check.verdict == "good"
    assert moved.check.answers > 5000


@pytest.mark.slow
def test_by_its_tables_it_keeps_next_to_nothing_and_that_is_told(capital) -> None:
    task, target = open_task("country-capital"), Backbone.load("nano-roberta")
    moved = move(capital, to=target, method="embeddings")
    assert evaluate(target, task, moved.prompt).score.value <= 0.36
    assert moved.check.verdict in ("weak", "at chance")
    assert moved.check.same < 0.25
    assert "0.36" in moved.warnings[0]
    assert moved.plan.better


@pytest.mark.slow
def test_a_peft_folder_into_nano_llama_is_warned_of(capital, run_cli, tmp_path) -> None:
    folder = save_prompt(capital, tmp_path / "P")
    (folder / "promptport.json").unlink()  # what PEFT knows: rows and the name of the model
    ask = (folder, "--to", "nano-llama", "--out", tmp_path / "Q")
    code, _, err = run_cli("transfer", *ask)
    assert code == 0
    assert "warning: The embedding tables say next to nothing about a free prompt" in err
    assert "(name the task: --task)" in err
    code, out, err = run_cli("move", *ask)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--task: expected a task" in err
