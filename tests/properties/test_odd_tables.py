"""Tables with signs and values that somebody has: the rows are those that were written."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptport.errors import TaskError
from promptport.tasks import import_task, open_task

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
ODD = {
    "composed": NFC,
    "decomposed": NFD,
    "right to left": "\u0633\u0644\u0627\u0645",
    "turned": "a\u202eb\u202c",
    "zero width": "a\u200bb\u200d",
    "emoji": "👩‍🚀",
    "Chinese": "这部电影很好看",
    "Japanese": "とても良い映画でした",
    "quotes": "\"a\" 'b' «c» “d”",
    "braces": "{text} {{answer}} {soft}",
    "separators": "a, b; c\td | e",
    "lines": "a\nb\r\nc",
    "a byte order mark": "a\ufeffb",
    "a number": "3.50",
    "the word": "nan",
}


def _table(rows, ending: str, *, newline: str = "\n", mark: bool = False) -> bytes:
    if ending == "jsonl":
        lines = [json.dumps({"text": t, "label": a}, ensure_ascii=False) for t, a in rows]
        text = newline.join(lines) + newline
    else:
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator=newline)
        writer.writerows([("text", "label"), *rows])
        text = stream.getvalue()
    return (("\ufeff" if mark else "") + text).encode()


def _imported(folder, data: bytes, ending: str):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"t.{ending}").write_bytes(data)
    made = import_task(folder / f"t.{ending}", folder / "task")
    task = open_task(str(made.file))
    rows = {r.fields["text"]: r.answer for s in task.splits for r in task.load(s)}
    return made, task, rows


@pytest.mark.parametrize("mark", [False, True], ids=["", "mark"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_texts_and_labels_come_back_as_written(tmp_path, ending, newline, mark) -> None:
    rows = [
        (f"{text} {i}", label)
        for label, text in (("yes", "x"), ("no", "y"), (NFD, "z"), ("\u0644\u0627", "w"))
        for i in range(3)
    ]
    rows += [(text, "yes") for text in ODD.values() if text not in (NFD,)]
    _, task, found = _imported(tmp_path, _table(rows, ending, newline=newline, mark=mark), ending)
    assert found == dict(rows)
    assert set(task.labels) == {"yes", "no", NFD, "\u0644\u0627"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("Yes", "yes"), (NFC, NFD), ("yes", "ye\u200bs"), ("yes", "\ufeffyes"), ("ok", "ｏｋ")],
    ids=ascii,
)
def test_labels_that_look_alike_are_refused(tmp_path, one, other) -> None:
    rows = [(f"{label!a} {i}", label) for label in (one, other, "no") for i in range(3)]
    with pytest.raises(TaskError, match="expected labels that differ in more than"):
        _imported(tmp_path, _table(rows, "jsonl"), "jsonl")


def test_a_text_in_both_forms_is_one_row(tmp_path) -> None:
    rows = [(f"{w} {i}", w) for w in ("yes", "no") for i in range(3)]
    rows += [(NFC, "yes"), (NFD, "yes"), (f"{NFD} 2", "yes"), (f"{NFC} 2", "no")]
    made, _, found = _imported(tmp_path, _table(rows, "csv"), "csv")
    assert len(found) == 8
    assert any("Left out 1 row that" in line or "twice" in line for line in made.notes)
    assert any("under another label" in line for line in made.notes)


@pytest.mark.parametrize("missing", ["NaN", "null", '""', '"  "'])
def test_what_is_missing_is_no_label_and_no_text(tmp_path, missing) -> None:
    lines = [f'{{"text": "{w} {i}", "label": "{w}"}}' for w in ("yes", "no") for i in range(4)]
    lines += [f'{{"text": "x {i}", "label": {missing}}}' for i in range(3)]
    lines += [f'{{"text": {missing}, "label": "yes"}}']
    made, task, found = _imported(tmp_path, "\n".join(lines).encode(), "jsonl")
    assert set(task.labels) == {"yes", "no"}
    assert len(found) == 8
    assert any("Left out 4 rows without a text or a label" in line for line in made.notes)


def test_a_missing_text_of_a_task_is_refused(tmp_path) -> None:
    rows = [(f"{w} {i}", w) for w in ("yes", "no") for i in range(4)]
    made, _, _ = _imported(tmp_path, _table(rows, "jsonl"), "jsonl")
    with (made.file.parent / "test.jsonl").open("a") as stream:
        stream.write('{"text": NaN, "label": "yes"}\n')
    with pytest.raises(TaskError, match="expected a text in 'text', got float nan"):
        open_task(str(made.file)).load("test")


def test_numbers_as_labels_are_one_however_they_are_written(tmp_path) -> None:
    lines = [
        f'{{"text": "{n} {i}", "label": {n}{end}}}'
        for n in (0, 1)
        for i, end in enumerate(("", ".0", ""))
    ]
    made, task, found = _imported(tmp_path, "\n".join(lines).encode(), "jsonl")
    assert dict(made.labels) == {"0": 3, "1": 3}
    assert set(found.values()) == {"0", "1"} == set(task.labels)


def test_one_class_alone_is_refused(tmp_path) -> None:
    rows = [(f"a {i}", "yes") for i in range(9)]
    with pytest.raises(TaskError, match="expected at least two labels, got only 'yes'"):
        _imported(tmp_path, _table(rows, "csv"), "csv")


def test_repeated_rows_are_in_one_split(tmp_path) -> None:
    rows = [(f"{w} {i % 4}", w) for w in ("yes", "no") for i in range(40)]
    _, task, found = _imported(tmp_path, _table(rows, "csv"), "csv")
    counts = [len(task.load(split)) for split in task.splits]
    assert sum(counts) == len(found) == 8


_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@pytest.mark.long
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(_TEXT.filter(str.strip), min_size=8, max_size=12), crlf=st.booleans())
def test_any_text_comes_back_as_written(texts, crlf, tmp_path_factory) -> None:
    wanted = {}
    for i, text in enumerate(texts):
        wanted[f"{i} {text}".strip()] = ("yes", "no")[i % 2]
    for ending in ("csv", "jsonl"):
        data = _table(wanted.items(), ending, newline="\r\n" if crlf else "\n")
        _, _, found = _imported(tmp_path_factory.mktemp("odd"), data, ending)
        assert found == wanted
