"""What library code tells of its progress, and who is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport.evaluation import evaluate
from promptport.progress import counted, listening, stage
from promptport.tuning import TuneConfig, TuneJob, tune


class Recorder:
    """Keeps what it is told: (labels of the open stages, done, total, note)."""

    def __init__(self) -> None:
        self.open, self.told = [], []

    def begins(self, told) -> None:
        self.open.append(told)
        self._keep(told)

    def moves(self, told) -> None:
        self._keep(told)

    def ends(self, told) -> None:
        self.open.remove(told)

    def _keep(self, told) -> None:
        labels = " > ".join(each.label for each in self.open)
        self.told.append((labels, told.done, told.total, told.note))

    def of(self, labels: str) -> list[tuple[int, int]]:
        return [(done, total) for own, done, total, _ in self.told if own == labels]


@pytest.fixture
def recorder():
    recorder = Recorder()
    with listening(recorder):
        yield recorder
    assert recorder.open == []


def test_nobody_need_listen() -> None:
    with stage("loading") as told:
        told.at(1, 2)
    assert (told.done, told.total, told.share) == (1, 2, 0.5)
    assert list(counted("ab", [1, 1], [1.0, 1.0])) == ["a", "b"]


def test_a_listener_is_told_what_begins_moves_and_ends(recorder) -> None:
    with stage("outer"), stage("inner") as told:
        told.at(3, 4, "a note")
    assert recorder.told == [
        ("outer", 0, 0, ""),
        ("outer > inner", 0, 0, ""),
        ("outer > inner", 3, 4, "a note"),
    ]


def test_a_stage_ends_when_it_fails(recorder) -> None:
    with pytest.raises(ValueError, match="no"), stage("outer"):
        raise ValueError("no")
    assert recorder.open == []


def test_whoever_listened_listens_again(recorder) -> None:
    with listening(None), stage("not told"):
        pass
    with stage("told"):
        pass
    assert [labels for labels, *_ in recorder.told] == ["told"]


def test_parts_count_by_size_and_last_by_cost(recorder) -> None:
    shares = []
    with stage("scoring"):
        for _ in counted(["long", "short"], [10, 30], [3.0, 1.0]):
            shares.append(recorder.open[-1].share)
        assert recorder.told[-1][1:3] == (40, 40)
    assert shares == [0.0, 0.75]
    assert recorder.of("scoring > ") == [(0, 0), (0, 40), (10, 40), (40, 40)]


def test_nothing_to_count_ends_at_once(recorder) -> None:
    assert list(counted([], [], [])) == []
    assert recorder.told[-1][1:3] == (0, 0)


def test_scoring_counts_its_rows_where_they_are_scored(recorder, backbone, films) -> None:
    with stage("scoring the manual template"):
        evaluate(backbone("bert"), films)
    counts = recorder.of("scoring the manual template > ")
    assert counts[0] == (0, 0)
    assert counts[1] == (0, len(films.load("test")))
    assert counts[-1] == (len(films.load("test")), len(films.load("test")))


def test_tuning_tells_of_steps_and_of_dev_rows(recorder, backbone, capitals) -> None:
    job = TuneJob(capitals, length=2)
    tune(backbone("bert"), [job, replace(job, seed=1)], TuneConfig(epochs=2, batch_size=3))
    steps = recorder.of("tuning")
    assert steps[:2] == [(0, 0), (0, 4)]
    assert steps[-1] == (4, 4)
    notes = [note for labels, _, _, note in recorder.told if labels == "tuning"]
    assert notes[2] == "2 running"
    assert "best dev score" in notes[-1]
    dev = len(capitals.load("dev"))
    assert recorder.of("tuning > scoring dev rows > ")[-1] == (2 * dev, 2 * dev)
