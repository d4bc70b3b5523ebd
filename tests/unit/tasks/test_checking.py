"""Checking a task: every problem of its rows is told, and nothing is raised."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from promptport.tasks import FileSource, Row, check_task
from promptport.tasks.checking import SplitCheck


@pytest.fixture
def written(tmp_path, films):
    """The film task on files of these splits; a row is (text, label) or a line."""

    def write(**splits):
        files = {}
        for split, rows in splits.items():
            files[split] = tmp_path / f"{split}.jsonl"
            lines = [
                row if isinstance(row, str) else json.dumps({"text": row[0], "label": row[1]})
                for row in rows
            ]
            files[split].write_text("\n".join(lines) + "\n")
        return replace(films, source=FileSource(files))

    return write


def rows(start, count=40):
    return [(f"text {i}", ("good", "bad")[i % 2]) for i in range(start, start + count)]


def test_a_sound_task_has_nothing_to_tell(written):
    report = check_task(written(train=rows(0), dev=rows(100), test=rows(200)))
    assert (report.ok, report.problems, report.warnings) == (True, (), ())
    assert report.splits["dev"] == SplitCheck(40, 0, {"good": 20, "bad": 20}, 0)
    assert json.loads(json.dumps(report.to_dict()))["splits"]["dev"]["rows"] == 40


def test_unknown_and_missing_labels_and_empty_texts_are_problems(written):
    bad = ['{"text": "no label"}', ("x", "goood"), (" ", "good"), "{", *rows(0)]
    report = check_task(written(train=bad, dev=rows(100), test=rows(200)))
    assert not report.ok
    assert report.splits["train"].rows == 0  # a line that does not parse ends the file
    bad.remove("{")
    report = check_task(written(train=bad, dev=rows(100), test=rows(200)))
    assert (report.splits["train"].rows, report.splits["train"].bad) == (40, 3)
    places = [problem.partition(":")[0].rpartition(", ")[2] for problem in report.problems]
    assert places == ["line 1", "line 2", "line 3"]
    assert "no 'label'" in report.problems[0]
    assert "Did you mean 'good'?" in report.problems[1]
    assert "expected a text in 'text', got an empty one" in report.problems[2]


def test_many_problems_are_counted(written):
    report = check_task(written(train=[("x", "nothing")] * 9))
    assert len(report.problems) == 6
    assert report.problems[-1].endswith("4 more rows cannot be used.")


def test_a_missing_file_is_a_problem(written, tmp_path):
    task = written(train=rows(0), dev=rows(100))
    (tmp_path / "dev.jsonl").unlink()
    report = check_task(task)
    assert "expected a data file, got nothing at this path" in report.problems[0]
    assert report.warnings == ("There is no split 'test': 'promptport eval' scores it.",)


def test_an_empty_file_is_a_problem(written):
    report = check_task(written(train=rows(0), dev=rows(100), test=[]))
    assert report.problems[0].endswith("test.jsonl: the file holds no rows.")


def test_duplicates_within_and_across_splits(written):
    report = check_task(
        written(train=[*rows(0), *rows(0, 2)], dev=rows(39), test=[*rows(200), *rows(77, 2)])
    )
    assert report.ok
    assert report.splits["train"].repeated == 2
    assert [warning.split(":")[0] for warning in report.warnings] == [
        "train",
        "1 row of dev stand in train as well",
        "2 rows of test stand in dev as well",
    ]


def test_labels_without_rows_and_with_few(written):
    one = [(text, "good") for text, _ in rows(0)]
    few = [*[(text, "good") for text, _ in rows(0)], ("y", "bad")]
    report = check_task(written(train=few, dev=one[:0] or rows(100), test=rows(200)))
    assert report.warnings == ("train: some labels have few rows (bad 1).",)
    report = check_task(written(train=one, dev=rows(100), test=rows(200)))
    assert report.warnings == ("train: no row has the label bad.",)


def test_label_words_in_a_backbone(films):
    counts = {"great": 1, "good": 1, "terrible": 2, "unhappy": 0}
    report = check_task(films, lambda words: [counts[word] for word in words], "tiny")
    assert report.problems == (
        "label 'bad': tiny cannot write the word 'unhappy'. Choose another.",
    )
    assert "label 'bad': the word 'terrible' is 2 tokens of tiny" in " ".join(report.warnings)


def test_objects_in_a_backbone(capitals):
    report = check_task(
        capitals.with_rows(train=capitals.load("train"), dev=[Row({"subject": "Peru"}, "Lima")]),
        lambda words: [1 if word.startswith("P") else 2 for word in words],
        "tiny",
    )
    assert report.problems == ("dev: no object is a single token of tiny.",)
    assert any("5 rows of 6 will be left out" in warning for warning in report.warnings)
    assert report.splits["train"].answers == {}


def test_answer_tokens_of_an_embedded_backbone():
    from promptport.backbone import answer_tokens

    count = answer_tokens("nano-gpt2")
    assert count(["good", "bad", "incomprehensibilities"])[:2] == [1, 1]
    assert count(["incomprehensibilities"])[0] > 1
