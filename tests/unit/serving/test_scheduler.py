"""The loop that puts the rows of many requests into batches."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from promptport.serving.asks import Ask
from promptport.serving.scheduler import BatchLimits, Job, Listing, Scheduler
from promptport.serving.server import PromptServer
from promptport.tasks import Template
from promptport.tuning.baselines import random_prompt


@pytest.fixture
def server(backbone, films) -> PromptServer:
    model = backbone("gpt2")
    prompts = {}
    for seed in range(3):
        made = random_prompt(model, 3, seed)
        prompts[f"p{seed}"] = replace(made, vectors=4 * made.vectors).with_provenance(
            task=films.name, template=films.template.text
        )
    free = random_prompt(model, 3, 9)
    prompts["free"] = replace(free, vectors=4 * free.vectors).with_provenance(
        template=Template.parse("{soft} {text} {answer}").text
    )
    return PromptServer(model, prompts, tasks=[films])


def events_of(server, jobs, limits=None, before=None):
    """All events of some jobs that are there before the loop begins."""
    events: list[dict] = []
    scheduler = Scheduler(server, lambda event: events.append(dict(event)), limits)
    for job in jobs:
        scheduler.submit(job)
    if before is not None:
        before(scheduler)
    scheduler.close()
    scheduler.run()
    return events


def test_every_job_gets_the_replies_of_its_own_rows(server) -> None:
    texts = [f"{word} film" for word in ("a great", "bad", "the old", "sad")]
    jobs = [
        Job(number, [Ask(f"p{(number + i) % 3}", text) for i, text in enumerate(texts)])
        for number in range(6)
    ]
    events = events_of(server, jobs, BatchLimits(rows=5))
    assert sorted(event["number"] for event in events) == list(range(6))
    for event in events:
        wanted = server.answer(jobs[event["number"]].asks)
        assert [r["text"] for r in event["replies"]] == [r.text for r in wanted]
        for got, own in zip(event["replies"], wanted, strict=True):
            assert got["probabilities"] == pytest.approx(dict(own.probabilities), abs=2e-5)


def test_pieces_join_to_the_reply_and_short_answers_overtake_long_ones(server) -> None:
    long = {"max_new_tokens": 40, "temperature": 2.0, "seed": 3}
    jobs = [Job(1, [Ask("free", "a film", writing=long)], streams=True)]
    seen: list[dict] = []
    scheduler = Scheduler(server, lambda event: take(dict(event)))

    def take(event: dict) -> None:
        seen.append(event)
        if len(seen) == 3:  # another request comes while the first one is being written
            scheduler.submit(Job(2, [Ask("p0", "a film")]))
        if event["number"] == 1 and "replies" in event:
            scheduler.close()

    scheduler.submit(jobs[0])
    scheduler.run()
    pieces = [event["piece"] for event in seen if "piece" in event]
    (last,) = [e for e in seen if e["number"] == 1 and "replies" in e]
    assert len(pieces) > 5
    assert "".join(pieces) == last["replies"][0]["text"]
    assert seen.index(last) > next(i for i, e in enumerate(seen) if e["number"] == 2)


def test_a_bad_row_takes_no_other_job_with_it(server, monkeypatch) -> None:
    real = server.choose

    def choose(laid_out):
        if any(own.ask.text == "poison" for own in laid_out):
            raise RuntimeError("out of memory")
        return real(laid_out)

    monkeypatch.setattr(server, "choose", choose)
    jobs = [
        Job(1, [Ask("p0", "a film")]),
        Job(2, [Ask("p0", "poison")]),
        Job(3, [Ask("nothing", "a film")]),
        Job(4, [Ask("p1", "a film"), Ask("p1", " ")]),
    ]
    events = {event["number"]: event for event in events_of(server, jobs)}
    assert "replies" in events[1]
    assert events[2]["error"] == {"message": "the server failed: RuntimeError", "status": 500}
    assert events[3]["error"]["status"] == 404
    assert events[4]["error"]["status"] == 400


def test_a_failure_while_writing_ends_its_batch_alone(server, monkeypatch) -> None:
    from promptport.backbone.generation import Writing

    real, steps = Writing.step, []

    def step(writing):
        steps.append(1)
        if len(steps) == 3:
            raise RuntimeError("out of memory")
        return real(writing)

    monkeypatch.setattr(Writing, "step", step)
    long = {"max_new_tokens": 20, "temperature": 2.0}
    events = events_of(
        server,
        [Job(1, [Ask("free", "a film", writing=long)]), Job(2, [Ask("p0", "a film")])],
    )
    assert {event["number"]: "error" in event for event in events} == {1: True, 2: False}


def test_a_job_that_nobody_waits_for_is_not_answered(server) -> None:
    jobs = [
        Job(1, [Ask("p0", "a film")]),
        Job(2, [Ask("free", "a film")]),
        Job(3, [Ask("p1", "a")]),
    ]
    kept: list[Scheduler] = []

    def cancel(scheduler: Scheduler) -> None:
        kept.append(scheduler)
        for number in (1, 2, 99):
            scheduler.cancel(number)

    events = events_of(server, jobs, before=cancel)
    assert [event["number"] for event in events] == [3]
    assert kept[0]._jobs == {}


def test_prompts_are_listed_between_requests(server) -> None:
    events = events_of(server, [Listing(1), Listing(2, "p0"), Listing(3, "nothing")])
    assert events[0]["prompts"] == ["p0", "p1", "p2", "free"]
    assert events[1]["prompts"][0]["labels"] == ["good", "bad"]
    assert events[2]["error"]["status"] == 404


def test_many_threads_may_submit(server) -> None:
    events: list[dict] = []
    scheduler = Scheduler(server, lambda event: events.append(dict(event)), BatchLimits(wait=0.0))
    loop = threading.Thread(target=scheduler.run)
    loop.start()

    def submit(first: int) -> None:
        for number in range(first, first + 10):
            scheduler.submit(Job(number, [Ask(f"p{number % 3}", f"film {number}")]))

    threads = [threading.Thread(target=submit, args=(10 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scheduler.close()
    loop.join(60)
    assert sorted(event["number"] for event in events) == list(range(40))
    for event in events:
        number = event["number"]
        (wanted,) = server.answer([Ask(f"p{number % 3}", f"film {number}")])
        assert event["replies"][0]["text"] == wanted.text
