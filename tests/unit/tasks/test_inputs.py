"""Texts without answers: from files, lines and lists."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from promptport.errors import TaskError
from promptport.tasks import FileSource, Row, Template, read_inputs

TWO = [Row({"text": "one, two"}, ""), Row({"text": "three"}, "")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one, two\n\n three \n"),
        ("reviews", "\ufeffone, two\r\nthree"),
        ("a.csv", 'text,label\n"one, two",no such label\nthree,\n'),
        ("a.tsv", "text\none, two\nthree\n"),
        ("a.jsonl", '{"text": "one, two"}\n{"text": "three", "label": null}\n'),
        ("a.txt", '\n{"text": "one, two"}\n{"text": "three"}\n'),
    ],
)
def test_files(tmp_path, films, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert read_inputs(films, tmp_path / name) == tuple(TWO)
    assert read_inputs(films, str(tmp_path / name)) == tuple(TWO)


@pytest.mark.parametrize(
    "lines",
    [["one, two", "three"], io.StringIO("one, two\nthree\n"), iter(["one, two\n", "three"])],
)
def test_lines(films, lines):
    assert read_inputs(films, lines) == tuple(TWO)


def test_columns_of_the_task_file_or_our_own(films):
    task = replace(films, source=FileSource({}, {"text": "sentence"}))
    assert read_inputs(task, ['{"sentence": "one, two"}', '{"text": "three"}']) == tuple(TWO)
    assert read_inputs(task, ["one, two", "three"]) == tuple(TWO)


def test_second_texts_are_read_where_they_are(films):
    rows = read_inputs(films, ['{"text": "a", "text_b": "b"}'])
    assert rows == (Row({"text": "a", "text_b": "b"}, ""),)


def test_several_texts_need_columns(films):
    pair = replace(films, template=Template.parse("{text} {text_b} {soft} {answer}"))
    with pytest.raises(TaskError, match=r'Write for instance \{"text": "...", "text_b": "..."\}'):
        read_inputs(pair, ["one"])
    assert len(read_inputs(pair, ['{"text": "a", "text_b": "b"}'])) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "input: expected at least one text, got none"),
        (["", " \n"], "input: expected at least one text, got none"),
        (['{"text": "a"}', "", "{"], "input, line 3: expected a JSON object"),
        (['{"words": "a"}'], "input, line 1: expected the columns text, got no 'text'"),
        (['{"text": ""}'], "input, line 1: expected a text in 'text', got an empty one"),
    ],
)
def test_bad_lines(films, lines, message):
    with pytest.raises(TaskError, match=message):
        read_inputs(films, lines)


def test_bad_files(tmp_path, films):
    with pytest.raises(TaskError, match="expected a file with texts, got nothing at this path"):
        read_inputs(films, tmp_path / "gone.txt")
    (tmp_path / "a.txt").write_bytes(b"one\n\xff\n")
    with pytest.raises(TaskError, match="expected text in UTF-8, got byte 0xff"):
        read_inputs(films, tmp_path / "a.txt")
