"""What tuning does where nobody says otherwise; budgets in steps."""

from __future__ import annotations

import pytest

from promptport.backbone import Backbone
from promptport.parameters import OriginSpec
from promptport.tasks import Row, Template, open_task
from promptport.tuning import TuneConfig, TuneJob, tune, usual, usual_settings
from promptport.tuning.usual import placed, usual_place


@pytest.fixture(scope="module")
def gpt2():
    return Backbone.load("nano-gpt2")


def test_small_backbones_read_all_rows_many_times(gpt2):
    settings = usual_settings(gpt2)
    assert settings.config == TuneConfig()
    assert settings.length == 5


def test_large_causal_backbones_take_so_many_updates(gpt2, monkeypatch):
    monkeypatch.setattr(usual, "LARGE", 1000)
    settings = usual_settings(gpt2)
    assert settings.length == 10
    assert settings.config.max_steps == 200
    assert settings.relative_lr == 2 * TuneJob.relative_lr


def test_short_texts_stay_behind_the_virtual_tokens(gpt2, monkeypatch):
    rows = open_task("sentiment").load("train")
    words = {n: [Row({"text": " ".join(["film"] * n)}, r.answer) for r in rows] for n in (16, 17)}
    tasks = {n: open_task("sentiment").with_rows(own) for n, own in words.items()}
    assert len(gpt2.tokenizer("film film", add_special_tokens=False)["input_ids"]) == 2
    assert usual_place(gpt2, tasks[17]) == "template"  # of small models, whatever the text
    monkeypatch.setattr(usual, "LARGE", 1000)
    assert usual_place(gpt2, tasks[16]) == "template"
    assert usual_place(gpt2, tasks[17]) == "behind"
    assert usual_place(gpt2, open_task("sentiment").with_rows([])) == "behind"
    assert usual_place(Backbone.load("nano-bert"), tasks[17]) == "template"
    assert usual_place(gpt2, tasks[16], tasks[17]) == "behind"  # of one prompt: one place
    assert usual_place(gpt2, tasks[16], tasks[16]) == "template"
    assert usual_place(gpt2, open_task("plural")) == "behind"  # no classification


@pytest.mark.parametrize(
    ("text", "front", "behind"),
    [
        (
            "{soft} {text} It was {answer} .",
            "{soft} {text} It was {answer} .",
            "{text} {soft} It was {answer} .",
        ),
        (
            "{soft} {text} ? {answer} , yes",
            "{soft} {text} ? {answer} , yes",
            "{text} {soft} ? {answer} , yes",
        ),
        (
            "{soft} {a} and {b}, {answer}",
            "{soft} {a} and {b}, {answer}",
            "{a} and {b} {soft}, {answer}",
        ),
        ("{text} {soft} {answer}", "{soft} {text} {answer}", "{text} {soft} {answer}"),
        ("{soft} say {answer}", "{soft} say {answer}", "{soft} say {answer}"),
    ],
)
def test_places_of_virtual_tokens(text, front, behind):
    template = Template.parse(text)
    assert placed(template, "template") is template
    assert placed(template, "front").text == front
    assert placed(template, "behind").text == behind


@pytest.mark.long
@pytest.mark.parametrize(
    ("limits", "steps", "looks"),
    [
        ({"epochs": 2}, 6, 2),
        ({"epochs": 2, "max_steps": 5}, 5, 2),
        ({"epochs": 9, "max_steps": 7, "check": 3}, 7, 3),
        ({"epochs": 1, "check": 50}, 3, 1),
    ],
)
def test_steps_and_looks(gpt2, limits, steps, looks):
    task = open_task("sentiment")
    small = task.with_rows(task.load("train")[:24], task.load("dev")[:8])
    config = TuneConfig(batch_size=8, patience=0, **limits)
    result = tune(gpt2, [TuneJob(small, OriginSpec(), 3)], config)[0]
    assert (result.steps, result.epochs, len(result.curve)) == (steps, looks, looks)
    assert result.stopped == "finished"
    assert all(loss > 0 for loss, *_ in result.curve)
    made = result.prompt.provenance.tuning
    assert made["steps"] == steps
    assert made.get("max_steps") == limits.get("max_steps")
