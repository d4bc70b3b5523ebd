"""What workers of the page do, beside what the library says to the same questions."""

from __future__ import annotations

import time

import pytest
import torch

from promptport.analysis import compare, forecast_pair
from promptport.app.asking import read_prompt, try_texts
from promptport.app.comparing import compare_prompts, forecast_sum, similar
from promptport.app.jobs import Desk
from promptport.app.making import combine_prompts, move_prompt, score_sum
from promptport.app.work import Session
from promptport.app.worker import Teller
from promptport.backbone import Backbone
from promptport.errors import BackboneError, PromptPortError, StorageError
from promptport.evaluation import score_prompts
from promptport.library.entry import TaskPrompt
from promptport.prediction import predict
from promptport.progress import listening, stage
from promptport.storage import load_prompt, save_prompt, save_vector
from promptport.tasks import open_task
from promptport.tuning.baselines import random_prompt
from promptport.vector import TaskPromptVector

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model():
    return Backbone.load("nano-bert", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def session(model):
    made = Session()
    made._models["nano-bert", None] = model
    return made


@pytest.fixture
def library(tmp_path, model):
    place = tmp_path / "lib"
    for seed, (name, task) in enumerate(
        {"warm": "sentiment", "news": "topic", EVIL: "sentiment"}.items()
    ):
        start = random_prompt(model, 3, 9).vectors
        prompt = random_prompt(model, 3, seed).with_provenance(
            task=task, template=open_task(task).template.text, tuning={"dev_score": 0.5}
        )
        moved = start + 0.1 * prompt.vectors
        save_prompt(type(prompt)(moved, prompt.provenance, start), place / name)
    return place


def named(library, *names):
    return [{"name": name, "path": str(library / name)} for name in names]


def silent(event) -> None:
    del event


@pytest.mark.long
def test_reading_tells_lengths_and_words(session, model, library) -> None:
    told = read_prompt(session, {"path": str(library / "warm")}, silent)
    prompt = load_prompt(library / "warm")
    assert told["norms"] == pytest.approx(prompt.vectors.norm(dim=1).tolist())
    assert told["mean_norm"] == pytest.approx(model.space.statistics.mean_norm)
    nearest = model.space.nearest(prompt.vectors, 5)
    assert [row[0][1] for row in told["nearest"]] == [row[0][1] for row in nearest]
    assert told["moved"] == pytest.approx((prompt.vectors - prompt.origin).norm(dim=1).tolist())
    assert (told["mixture"], told["problem"]) == (None, None)


@pytest.mark.long
def test_reading_a_prompt_whose_model_is_gone_tells_lengths_and_the_problem(
    session, library
) -> None:
    save_prompt(
        load_prompt(library / "warm").with_provenance(backbone="/no/such/model"), library / "lost"
    )
    told = read_prompt(session, {"path": str(library / "lost")}, silent)
    assert len(told["norms"]) == 3
    assert told["nearest"] is None
    assert "/no/such/model" in told["problem"]


def test_answers_are_those_of_predict_and_one_that_cannot_answer_harms_no_other(
    session, model, library
) -> None:
    save_prompt(
        load_prompt(library / "warm").with_provenance(backbone="/no/such/model"), library / "lost"
    )
    asked = {
        "prompts": named(library, "warm", "lost", "news", EVIL),
        "fields": {"text": "A warm <b>film</b> ."},
    }
    answers = try_texts(session, asked, silent)["answers"]
    assert [own["name"] for own in answers] == ["warm", "lost", "news", EVIL]
    for own in (answers[0], answers[2], answers[3]):
        (wanted,) = predict(library / own["name"], ["A warm <b>film</b> ."], backbone=model)
        assert own["answer"] == wanted.answer
        assert dict(own["probabilities"]) == pytest.approx(dict(wanted.probabilities), abs=1e-5)
    assert "/no/such/model" in answers[1]["error"]
    assert "answer" not in answers[1]


def test_an_empty_text_is_told_beside_its_prompt(session, library) -> None:
    asked = {"prompts": named(library, "warm"), "fields": {"text": " "}}
    (own,) = try_texts(session, asked, silent)["answers"]
    assert own["error"].startswith("text 1: expected a text in 'text'")


def test_cosines_are_those_of_compare_and_their_colours_are_readable(session, library) -> None:
    asked = {"prompts": named(library, "warm", "news", EVIL), "of": "prompts"}
    told = compare_prompts(session, asked, silent)
    wanted = compare({p["name"]: load_prompt(p["path"]) for p in asked["prompts"]})
    assert told["cosine"] == wanted.matrices["cosine"].tolist()
    assert told["names"] == ["warm", "news", EVIL]
    assert told["colours"][0][0][1] == "#ffffff"
    vectors = compare_prompts(session, asked | {"of": "vectors"}, silent)
    assert vectors["cosine"][0][1] < told["cosine"][0][1]  # one origin makes prompts alike


def test_the_most_similar_prompt_comes_first_and_other_sizes_are_left_out(
    session, model, library
) -> None:
    save_prompt(load_prompt(library / "warm"), library / "twin")
    save_prompt(random_prompt(model, 4, 0), library / "longer")
    vector = TaskPromptVector.of(load_prompt(library / "news"), "topic")
    save_vector(vector, library / "vector")
    others = named(library, "news", "longer", "twin", "vector")
    told = similar(session, {"path": str(library / "warm"), "others": others}, silent)
    assert told["left_out"] == 1
    assert told["similar"][0]["name"] == "twin"
    assert told["similar"][0]["tuned"] == pytest.approx(1.0, abs=1e-6)
    assert {own["name"] for own in told["similar"]} == {"twin", "news", "vector"}


def test_the_forecast_is_that_of_the_library(session, model, library) -> None:
    asked = {"prompts": named(library, "warm", "news"), "rows": 16}
    told = forecast_sum(session, asked, silent)
    parts = [
        TaskPrompt(load_prompt(library / name), open_task(task))
        for name, task in (("warm", "sentiment"), ("news", "topic"))
    ]
    wanted = forecast_pair(model, *parts, rows=16, truncate=True)
    assert [own["probability"] for own in told["tasks"]] == [
        own.probability for own in wanted.tasks
    ]
    assert [own["name"] for own in told["tasks"]] == ["warm", "news"]
    assert all(record["said"] > 0 for record in told["reliability"].values())


def test_scores_of_a_sum_are_those_of_the_prompt_that_it_makes(session, model, library) -> None:
    parts = [
        each | {"coefficient": value}
        for each, value in zip(named(library, "warm", "news"), (1.5, -0.5), strict=True)
    ]
    told = score_sum(session, {"parts": parts, "rows": 16}, silent)
    warm, news = load_prompt(library / "warm"), load_prompt(library / "news")
    vectors = warm.origin + 1.5 * (warm.vectors - warm.origin) - 0.5 * (news.vectors - news.origin)
    made = type(warm)(vectors, warm.provenance)
    tasks = [open_task("sentiment"), open_task("topic")]
    for own, task, alone in zip(told["scores"], tasks, (warm, news), strict=True):
        score = score_prompts(model, [made, alone], [task], split="dev", rows=16)
        assert own["sum"] == score[0][0].score.to_dict()
        assert own["alone"] == score[1][0].score.to_dict()
    assert told["left_out"] == []


def test_with_one_prompt_alone_the_sum_scores_as_it_does(session, library) -> None:
    parts = [
        each | {"coefficient": value}
        for each, value in zip(named(library, EVIL, "news"), (1.0, 0.0), strict=True)
    ]
    (first, _) = score_sum(session, {"parts": parts, "rows": 16}, silent)["scores"]
    assert first["sum"] == first["alone"]


def test_a_sum_is_kept_whole_and_never_over_another_prompt(session, library) -> None:
    parts = [each | {"coefficient": 1.0} for each in named(library, EVIL, "news")]
    asked = {"parts": parts, "name": "<b>sum</b>".replace("/", ""), "library": str(library)}
    told = combine_prompts(session, asked, silent)
    first, news = load_prompt(library / EVIL), load_prompt(library / "news")
    kept = load_prompt(told["folder"])
    assert torch.allclose(kept.vectors, first.vectors + news.vectors - news.origin, atol=1e-6)
    before = sorted(path.name for path in library.iterdir())
    with pytest.raises(StorageError, match="expected a name that is free"):
        combine_prompts(session, asked, silent)
    with pytest.raises(PromptPortError, match="without a slash"):
        combine_prompts(session, asked | {"name": "../out"}, silent)
    assert sorted(path.name for path in library.iterdir()) == before


@pytest.mark.slow
def test_a_moved_prompt_is_kept_and_reported(session, library) -> None:
    notes = []
    asked = {
        "prompt": named(library, "warm")[0],
        "to": "nano-gpt2",
        "name": "warm-gpt2",
        "library": str(library),
        "texts": "auto",
        "steps": 3,
        "score": True,
    }
    told = move_prompt(session, asked, notes.append)
    assert load_prompt(library / "warm-gpt2").provenance.backbone == "nano-gpt2"
    assert notes[0]["note"] == told["road"]
    assert told["expected"]["low"] <= told["expected"]["value"] <= told["expected"]["high"]
    assert list(told["scores"]) == ["source on nano-bert", "moved to nano-gpt2"]
    with pytest.raises(StorageError, match="warm-gpt2: expected a name that is free"):
        move_prompt(session, asked, notes.append)


def test_progress_is_told_of_the_outermost_stage_that_counts() -> None:
    told = []
    with listening(Teller(told.append)), stage("moving") as outer:
        outer.at(3, 10)
        with stage("scoring"), stage() as inner:
            inner.at(1, 4)
    lines = [event["progress"] for event in told]
    assert lines[0] == "moving"
    assert "moving 3/10, scoring" in lines
    assert {event["share"] for event in told} <= {None, 0.3}


@pytest.mark.slow
def test_a_worker_reads_a_prompt_and_tells_what_it_cannot_do_in_a_line(library) -> None:
    desk = Desk()
    try:
        read = desk.submit("read", "Read", {"path": str(library / "warm")}, lane="quick")
        wrong = desk.submit("read", "Read", {"path": str(library / "none")}, lane="quick")
        fault = desk.submit("read", "Read", {}, lane="quick")
        for job in (read, wrong, fault):
            while not job.is_over:
                time.sleep(0.02)
        assert len(read.result["norms"]) == 3
        assert wrong.error.startswith(str(library / "none"))
        assert fault.error == "a fault of promptport: KeyError: 'path'"
    finally:
        desk.close()


def test_a_model_that_is_elsewhere_is_found_by_its_words(model_folder, tmp_path) -> None:
    """A prompt of a stranger names a place on another machine."""
    places = [str(model_folder(name)) for name in ("gpt2", "bert")]
    elsewhere = Backbone.load(places[1], device="cpu", dtype="float32")
    moved = random_prompt(elsewhere, 2, 0).with_provenance(backbone="/on/another/machine")
    with pytest.raises(BackboneError, match="/on/another/machine"):
        Session().backbone_of(moved)
    session = Session(models=places)
    found = session.backbone_of(moved)
    assert found.space.fingerprint == elsewhere.space.fingerprint
    assert session.backbone_of(moved) is found
    with pytest.raises(BackboneError, match="/on/another/machine"):
        session.backbone_of(moved.with_provenance(fingerprint="0" * 32))
