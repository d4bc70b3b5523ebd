"""Rows from files and data sets, and every way in which they can be wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from promptport.errors import TaskError
from promptport.tasks import FileSource, HubSource, MemorySource, Row
from promptport.tasks.data import RowSpec, load_rows
from promptport.tasks.reading import count_records

PROBE = RowSpec("probe", ("subject",))
CLASSES = RowSpec("classification", ("text",), ("bad", "good"))
NUMBERS = RowSpec("classification", ("text",), ("0", "5"), (0.0, 5.0))
TARGETS = RowSpec("text2text", ("text",))
FACTS = '{"subject": "Peru", "object": "Lima"}\n'


@pytest.fixture
def load(tmp_path):
    """Write a file and load it as the split `train`."""

    def write_and_load(name, content, spec=PROBE, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_rows(FileSource({"train": path}, **options), "train", spec)

    return write_and_load


def test_jsonl_with_bom_blank_lines_and_extra_columns(load):
    content = "\ufeff" + FACTS + '\n{"object": " Rome ", "subject": "Italy\\t", "id": [1]}\n'
    assert load("a.jsonl", content) == (
        Row({"subject": "Peru"}, "Lima"),
        Row({"subject": "Italy"}, "Rome"),
    )


def test_csv_with_quotes_and_breaks(load):
    content = 'label,text\ngood,"one, ""two""\nthree"\nbad,four\n'
    assert load("a.csv", content, CLASSES) == (
        Row({"text": 'one, "two"\nthree'}, "good"),
        Row({"text": "four"}, "bad"),
    )


def test_tsv_takes_quotes_as_they_are(load):
    assert load("a.tsv", 'text\tlabel\n"a\tgood\n', CLASSES) == (Row({"text": '"a'}, "good"),)


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 0]}), path)
    source = FileSource({"dev": path}, label_names=("bad", "good"))
    rows = load_rows(source, "dev", CLASSES)
    assert rows == (Row({"text": "a"}, "good"), Row({"text": "b"}, "bad"))
    assert count_records(path) == 2
    path.write_bytes(b"PAR1 no PAR1")
    with pytest.raises(TaskError, match="expected a Parquet file, got something else"):
        load_rows(source, "dev", CLASSES)


def test_parquet_without_pyarrow(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TaskError, match=r"pip install 'promptport\[datasets\]'"):
        load("a.parquet", b"", CLASSES)


def test_columns_are_renamed_and_text_b_kept(load):
    content = '{"sentence": "a", "second": "b", "label": "good"}\n'
    rows = load("a.jsonl", content, CLASSES, columns={"text": "sentence", "text_b": "second"})
    assert rows == (Row({"text": "a", "text_b": "b"}, "good"),)


def test_label_numbers_get_names(load):
    content = "text,label\na,1\nb,0\nc,good\n"
    rows = load("a.csv", content, CLASSES, label_names=("bad", "good"))
    assert [row.answer for row in rows] == ["good", "bad", "good"]
    with pytest.raises(TaskError, match="line 2: expected a label number from 0 to 1, got '-1'"):
        load("a.csv", "text,label\na,-1\n", CLASSES, label_names=("bad", "good"))


def test_numbers_in_cells_are_text(load):
    assert load("a.jsonl", '{"subject": 1984, "object": 7.5}\n') == (
        Row({"subject": "1984"}, "7.5"),
    )
    assert load("a.jsonl", '{"text": "a", "label": 2.5}\n', NUMBERS)[0].answer == "2.5"


def test_boolean_labels_are_named_true_and_false(load):
    spec = RowSpec("classification", ("text",), ("true", "false"))
    assert load("a.jsonl", '{"text": "a", "label": true}\n', spec)[0].answer == "true"


def test_text_to_text(load):
    rows = load("a.jsonl", '{"text": "a", "target": "b c"}\n', TARGETS)
    assert rows == (Row({"text": "a"}, "b c"),)


def test_memory():
    rows = (Row({"subject": "Peru"}, "Lima"),)
    assert load_rows(MemorySource({"dev": rows}), "dev", PROBE) == rows
    with pytest.raises(
        TaskError, match="expected the split 'test', which is needed here, got only dev"
    ):
        load_rows(MemorySource({"dev": rows}), "test", PROBE)


@pytest.mark.parametrize(
    ("name", "content", "spec", "message"),
    [
        ("a.jsonl", "", PROBE, r"a\.jsonl: expected at least one row, got an empty file"),
        ("a.jsonl", " \n\n", PROBE, "got an empty file"),
        ("a.csv", "", CLASSES, "got an empty file"),
        ("a.csv", "text,label\n", CLASSES, "got an empty file"),
        ("a.jsonl", FACTS + '{"subject": ', PROBE, r"a\.jsonl, line 2: expected a JSON object"),
        ("a.jsonl", "[" * 100_000 + "\n", PROBE, "line 1: expected a JSON object"),
        ("a.jsonl", "[1]\n", PROBE, "expected a JSON object, got list"),
        (
            "a.jsonl",
            FACTS + '{"subject": "x"}\n',
            PROBE,
            r"line 2: expected the columns subject, object, got no 'object' \(there are: subject\)",
        ),
        ("a.jsonl", '{"subject": null, "object": "x"}\n', PROBE, "got no 'subject'"),
        ("a.csv", "text,label\na\n", CLASSES, "line 2: expected the columns text, label"),
        ("a.csv", "text,label\na,b,c\n", CLASSES, "line 2: expected 2 cells, got more"),
        ("a.csv", 'text,label\n"a"b,c\n', CLASSES, "line 2: expected a well-formed line"),
        (
            "a.jsonl",
            '{"subject": " ", "object": "x"}\n',
            PROBE,
            "expected a text in 'subject', got an empty one",
        ),
        ("a.jsonl", '{"subject": ["x"], "object": "x"}\n', PROBE, "in 'subject', got list"),
        ("a.jsonl", '{"subject": "x", "object": ""}\n', PROBE, "in 'object', got an empty one"),
        (
            "a.csv",
            "text,label\na,god\n",
            CLASSES,
            "line 2: expected a label among bad, good, got 'god'. Did you mean 'good'?",
        ),
        ("a.csv", "text,label\na,6\n", NUMBERS, "expected a number from 0 to 5, got '6'"),
        ("a.csv", "text,label\na,nan\n", NUMBERS, "got 'nan'"),
        ("a.csv", "text,label\na,x\n", NUMBERS, "got 'x'"),
        ("a.csv", b"text,label\n\xff,good\n", CLASSES, "expected text in UTF-8, got byte 0xff"),
        ("a.txt", "x", CLASSES, r"expected a file ending in \.jsonl.*, got '\.txt'"),
    ],
)
def test_bad_files(load, name, content, spec, message):
    with pytest.raises(TaskError, match=message) as caught:
        load(name, content, spec)
    assert "\n" not in str(caught.value)


def test_second_text_must_be_in_every_row(load):
    content = '{"text": "a", "text_b": "b", "label": "bad"}\n{"text": "a", "label": "bad"}\n'
    with pytest.raises(TaskError, match="line 2: expected the columns text, text_b, label"):
        load("a.jsonl", content, CLASSES)


def test_missing_file_and_split(tmp_path):
    source = FileSource({"train": tmp_path / "a.jsonl"})
    with pytest.raises(TaskError, match=r"a\.jsonl: expected a data file, got nothing"):
        load_rows(source, "train", PROBE)
    with pytest.raises(
        TaskError, match="expected the split 'dev', which is needed here, got only train"
    ):
        load_rows(source, "dev", PROBE)
    assert count_records(tmp_path / "a.jsonl") == 0


def test_count_records(tmp_path):
    (tmp_path / "a.jsonl").write_text(FACTS + "\n" + FACTS)
    (tmp_path / "a.csv").write_text('text,label\n"a\nb",good\n')
    assert count_records(tmp_path / "a.jsonl") == 2
    assert count_records(tmp_path / "a.csv") == 1


class FakeDataset(list):
    features = {"label": SimpleNamespace(names=["bad", "good"]), "sentence": None}  # noqa: RUF012


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the package `datasets`; returns the calls that it got."""
    calls = []

    def load_dataset(name, config, *, split):
        calls.append((name, config, split))
        if name == "gone":
            raise ConnectionError("Couldn't reach 'gone'\non the Hub (offline).")
        return FakeDataset([{"sentence": "a", "label": 1}, {"sentence": "b", "label": 0}])

    module = ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_hub_labels_take_the_names_of_the_data_set(hub):
    source = HubSource("glue", "sst2", {"dev": "validation"}, {"text": "sentence"})
    rows = load_rows(source, "dev", CLASSES)
    assert rows == (Row({"text": "a"}, "good"), Row({"text": "b"}, "bad"))
    assert hub == [("glue", "sst2", "validation")]


def test_hub_labels_can_be_named_by_the_task(hub):
    source = HubSource("glue", None, {"dev": "v"}, {"text": "sentence"}, ("no", "yes"))
    rows = load_rows(source, "dev", RowSpec("classification", ("text",), ("yes", "no")))
    assert [row.answer for row in rows] == ["yes", "no"]


def test_hub_errors(hub, monkeypatch):
    source = HubSource("gone", None, {"dev": "validation"})
    with pytest.raises(TaskError, match=r"'gone:validation'.*ConnectionError.*network\.") as caught:
        load_rows(source, "dev", CLASSES)
    assert "\n" not in str(caught.value)
    with pytest.raises(TaskError, match="glue:validation, row 0: expected the columns text, label"):
        load_rows(HubSource("glue", None, {"dev": "validation"}), "dev", CLASSES)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(TaskError, match="expected the package 'datasets', got none"):
        load_rows(source, "dev", CLASSES)


def test_unlabelled_hub_rows_are_refused(hub, monkeypatch):
    monkeypatch.setattr(
        sys.modules["datasets"],
        "load_dataset",
        lambda *_, **__: FakeDataset([{"text": "a", "label": -1}]),
    )
    with pytest.raises(TaskError, match="row 0: expected a label among bad, good, got '-1'"):
        load_rows(HubSource("glue", None, {"test": "test"}), "test", CLASSES)


def test_large_file_is_quick(load):
    lines = "".join(json.dumps({"subject": f"s{i}", "object": "o"}) + "\n" for i in range(20_000))
    assert len(load("a.jsonl", lines)) == 20_000


@pytest.mark.parametrize("rows", [
    [{"text": "a film"}, {"text": "another", "label": -1}],
    [{"text": "a film", "label": "no such"}],
])  # fmt: skip
def test_texts_need_no_labels(tmp_path, films, rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    source = FileSource({"train": file})
    task = replace(films, source=source)
    found = task.texts("train")
    assert [(row.fields["text"], row.answer) for row in found] == [(r["text"], "") for r in rows]
    with pytest.raises(TaskError):
        task.load("train")
    file.write_text('{"label": "good"}')
    with pytest.raises(TaskError, match="expected the columns text, got no 'text'"):
        replace(films, source=replace(source)).texts("train")
    assert [row.answer for row in films.texts("train")] == [""] * 6


@pytest.mark.parametrize("value", ["0.69", "-0.3"])
def test_a_score_is_not_a_label_number(tmp_path, value):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "label": {value}}}\n')
    source = FileSource({"train": tmp_path / "a.jsonl"}, label_names=("bad", "good"))
    with pytest.raises(TaskError, match="expected a label among bad, good, got"):
        load_rows(source, "train", CLASSES)
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 1.0}\n')
    assert load_rows(source, "train", CLASSES)[0].answer == "good"
