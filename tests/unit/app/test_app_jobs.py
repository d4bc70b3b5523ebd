"""Jobs of the page: order, progress, cancelling, and processes that end."""

from __future__ import annotations

import sys
import textwrap
import time

import pytest

from promptport.app.jobs import Desk

# Answers like a worker: `echo` at once, `slow` never, `die` by ending.
FAKE = textwrap.dedent(
    """
    import json, os, sys, time
    for line in sys.stdin:
        job = json.loads(line)
        def tell(**event):
            print(json.dumps({"number": job["number"], **event}), flush=True)
        if job["kind"] == "slow":
            tell(progress="sleeping", share=0.5)
            time.sleep(600)
        elif job["kind"] == "die":
            os._exit(3)
        elif job["kind"] == "late":
            tell(progress="nearly", share=0.5)
            time.sleep(0.1)
            tell(result="x" * 10_000_000)
        elif job["kind"] == "refuse":
            tell(error="text: expected one, got none. Write it.")
        else:
            tell(note="on the way")
            tell(result={"asked": job["asked"], "process": os.getpid()})
    """
)


@pytest.fixture
def desk():
    made = Desk(command=(sys.executable, "-c", FAKE))
    yield made
    made.close()


def wait(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def over(job):
    wait(lambda: job.is_over)
    return job


def test_a_job_brings_its_result_and_what_was_said_on_the_way(desk) -> None:
    job = over(desk.submit("echo", "Echo", {"text": "<b>é</b>"}))
    assert (job.state, job.result["asked"], job.notes) == (
        "done",
        {"text": "<b>é</b>"},
        ["on the way"],
    )
    assert job.seconds >= 0
    assert desk.get(job.number) is job


def test_jobs_of_a_lane_share_a_process_and_lanes_do_not(desk) -> None:
    first, second = (over(desk.submit("echo", "Echo", {})) for _ in range(2))
    other = over(desk.submit("echo", "Echo", {}, lane="quick"))
    processes = [job.result["process"] for job in (first, second, other)]
    assert processes[0] == processes[1] != processes[2]


def test_a_running_job_is_cancelled_with_its_process_and_the_next_one_gets_another(desk) -> None:
    before = over(desk.submit("echo", "Echo", {})).result["process"]
    slow = desk.submit("slow", "Slow", {})
    waiting = desk.submit("echo", "Waits", {})
    wait(lambda: slow.share == 0.5)
    assert (slow.state, slow.progress, waiting.state) == ("running", "sleeping", "waiting")
    assert desk.running() == 2
    assert desk.cancel(slow.number)
    assert slow.state == "cancelled"
    assert over(waiting).result["process"] != before
    assert not desk.cancel(slow.number)  # it is over
    assert slow.state == "cancelled"


def test_a_waiting_job_is_cancelled_and_never_run(desk) -> None:
    slow = desk.submit("slow", "Slow", {})
    waiting = desk.submit("echo", "Waits", {})
    assert desk.cancel(waiting.number)
    wait(lambda: slow.share == 0.5)
    desk.cancel(slow.number)
    assert over(desk.submit("echo", "Echo", {})).state == "done"
    assert (waiting.state, waiting.result) == ("cancelled", None)


def test_of_jobs_with_one_key_only_the_newest_waits(desk) -> None:
    slow = desk.submit("slow", "Slow", {})
    wait(lambda: slow.state == "running")
    jobs = [desk.submit("echo", "Score", {"n": n}, key="sum") for n in range(5)]
    other = desk.submit("echo", "Score", {"n": 9}, key="another")
    assert [job.state for job in jobs] == ["cancelled"] * 4 + ["waiting"]
    desk.cancel(slow.number)
    assert over(jobs[-1]).result["asked"] == {"n": 4}
    assert over(other).result["asked"] == {"n": 9}


def test_a_process_that_dies_fails_its_job_in_a_line_and_the_next_job_runs(desk) -> None:
    died, refused = over(desk.submit("die", "Die", {})), over(desk.submit("refuse", "No", {}))
    assert (died.state, died.error) == ("failed", "worker: its process ended (exit status 3).")
    assert (refused.state, refused.error) == ("failed", "text: expected one, got none. Write it.")
    assert over(desk.submit("echo", "Echo", {})).state == "done"


def test_the_list_has_the_newest_first_and_not_what_pages_ask_by_themselves(desk) -> None:
    first = desk.submit("echo", "First", {})
    desk.submit("echo", "Hidden", {}, listed=False)
    second = desk.submit("refuse", "Second", {})
    over(second)
    assert desk.jobs() == [second, first]
    assert desk.jobs(kinds=["echo"]) == [first]
    assert desk.running() == 0


def test_old_jobs_are_forgotten_but_none_that_runs(desk, monkeypatch) -> None:
    monkeypatch.setattr("promptport.app.jobs._MOST_KEPT", 2)
    slow = desk.submit("slow", "Slow", {}, lane="long")
    old = [over(desk.submit("echo", "Echo", {}, lane="quick")) for _ in range(4)]
    desk.submit("echo", "Echo", {}, lane="quick")
    assert desk.get(slow.number) is slow
    assert [desk.get(job.number) for job in old] == [None, None, old[2], old[3]]


def test_closing_ends_what_runs(desk) -> None:
    slow = desk.submit("slow", "Slow", {})
    wait(lambda: slow.share == 0.5)
    began = time.monotonic()
    desk.close()
    assert slow.state == "cancelled"
    assert time.monotonic() - began < 30


def test_a_worker_that_cannot_be_started_is_told_in_a_line() -> None:
    desk = Desk(command=("/there/is/no/such/program",))
    job = over(desk.submit("echo", "Echo", {}))
    assert job.state == "failed"
    assert job.error.startswith("worker: it cannot be started")
    desk.close()


def test_a_job_cancelled_as_it_ends_does_not_take_the_next_one_with_it(desk) -> None:
    job = desk.submit("late", "Late", {})
    wait(lambda: job.share == 0.5)
    with desk._lock:
        time.sleep(0.3)  # its result has come by now, and nobody could look at it
        desk._lanes[job.lane].drop(job)
    after = over(desk.submit("echo", "Echo", {}))
    assert (job.state, after.state) == ("cancelled", "done")
