"""Inputs of benchmarks: digests of weights, samples of tasks."""

from __future__ import annotations

from benchmarks._inputs import limited, weights_of

from promptport.tasks import open_task


def test_weights_of_several_are_joined() -> None:
    one, other = weights_of("nano-bert"), weights_of("nano-t5")
    assert len(one) == len(other) == 8
    assert one != other
    assert weights_of("nano-bert", "nano-t5") == f"{one}-{other}"


def test_limited_takes_the_same_rows_and_first_words() -> None:
    task = open_task("topic")
    less = limited(task, {"train": 7, "test": 5}, words=3)
    assert [len(less.load(split)) for split in ("train", "test")] == [7, 5]
    assert limited(task, {"train": 7}, words=3).load("train") == less.load("train")
    whole = limited(task, {"train": 7}).load("train")
    assert all(row in task.load("train") for row in whole)
    for row, cut in zip(whole, less.load("train"), strict=True):
        for name, text in row.fields.items():
            assert cut.fields[name] == " ".join(text.split()[:3])
