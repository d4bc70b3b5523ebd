"""A table of labelled texts becomes a task: what is guessed, split, noted and refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml

from promptport.errors import TaskError
from promptport.tasks.importing import ImportConfig, import_task, label_word

MOODS = [(f"the {i}th film", "Good" if i % 2 else "Bad") for i in range(40)]


@pytest.fixture
def made(tmp_path):
    """Write a table and import it into the folder `out`."""

    def write_and_import(content, name="my reviews.csv", **config):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_task(path, tmp_path / "out", ImportConfig(**config))

    return write_and_import


def csv_text(rows, header="review,sentiment", line="\n"):
    return line.join([header, *(f"{text},{label}" for text, label in rows)]) + line


def all_rows(imported):
    return [row for split in imported.task.splits for row in imported.task.load(split)]


def test_a_table_becomes_a_task_with_three_splits(made, tmp_path):
    imported = made(csv_text(MOODS))
    assert imported.file == tmp_path / "out" / "task.yaml"
    assert (imported.text, imported.label, imported.task.name) == (
        "review",
        "sentiment",
        "my-reviews",
    )
    assert imported.rows == {"train": 24, "dev": 8, "test": 8}
    assert imported.labels == {"Bad": 20, "Good": 20}
    assert imported.task.labels == {"Bad": ("bad",), "Good": ("good",)}
    assert imported.task.template.has_soft
    assert imported.task.metric == "accuracy"
    assert sorted((r.fields["text"], r.answer) for r in all_rows(imported)) == sorted(MOODS)
    for split in imported.task.splits:  # each label is divided on its own
        assert len(set(Counter(r.answer for r in imported.task.load(split)).values())) == 1
    assert imported.notes == ()
    described = imported.to_dict()
    assert described["label_words"] == {"Bad": ["bad"], "Good": ["good"]}
    assert json.dumps(described)


def test_the_seed_decides_and_rows_keep_their_order(made, tmp_path):
    first = made(csv_text(MOODS), seed=1).task.load("train")
    (tmp_path / "out" / "task.yaml").unlink()
    same = made(csv_text(MOODS), seed=1).task.load("train")
    (tmp_path / "out" / "task.yaml").unlink()
    other = made(csv_text(MOODS), seed=2).task.load("train")
    assert same == first != other
    order = [int(row.fields["text"].split()[1][:-2]) for row in first]
    assert order == sorted(order)


def test_quotes_byte_order_mark_and_windows_line_ends(made):
    rows = [('"one, ""two"""', "a"), *((f"text {i}", "ab"[i % 2]) for i in range(9))]
    content = b"\xef\xbb\xbf" + csv_text(rows, "text,label", "\r\n").encode()
    texts = [row.fields["text"] for row in all_rows(made(content))]
    assert 'one, "two"' in texts
    assert not any("\r" in text for text in texts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text;label\n" + "".join(f"t, {i};{'ab'[i % 2]}\n" for i in range(8))),
        ("a.tsv", "text\tlabel\n" + "".join(f"t, {i}\t{'ab'[i % 2]}\n" for i in range(8))),
        (
            "a.jsonl",
            "".join(json.dumps({"text": f"t, {i}", "label": "ab"[i % 2]}) + "\n" for i in range(8)),
        ),
    ],
)
def test_other_tables(made, name, content):
    imported = made(content, name)
    assert sorted(row.fields["text"] for row in all_rows(imported)) == [f"t, {i}" for i in range(8)]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"text": [f"t {i}" for i in range(8)], "label": [i % 2 for i in range(8)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    imported = import_task(tmp_path / "a.parquet", tmp_path / "out")
    assert imported.labels == {"0": 4, "1": 4}


def test_numbers_as_labels_are_noted(made):
    rows = "".join(json.dumps({"text": f"t {i}", "stars": i % 3 + 9.0}) + "\n" for i in range(60))
    imported = made(rows, "a.jsonl")
    assert list(imported.labels) == ["9", "10", "11"]  # by number, not by letter
    assert imported.task.labels == {"9": ("9",), "10": ("10",), "11": ("11",)}
    assert len(imported.notes) == 1
    assert "labels are numbers: write a word for each" in imported.notes[0]


def test_repeated_torn_and_empty_rows_are_noted(made):
    rows = [*MOODS, MOODS[0], MOODS[1], ("the 0th film", "Good"), ("", "Good"), ("no label", "")]
    imported = made(csv_text(rows))
    assert sum(imported.rows.values()) == 40
    assert [note.split(" (")[0] for note in imported.notes] == [
        "Left out 2 rows without a text or a label",
        "Left out 2 rows that stand in the file twice.",
        "1 row repeat a text under another label; the first label of each text was taken",
    ]
    assert "line 45" in imported.notes[0]


def test_few_rows_and_uneven_labels_are_noted(made):
    imported = made(csv_text([(f"t {i}", "no" if i < 5 else "yes") for i in range(40)]))
    assert "few rows (no 5)" in imported.notes[0]
    assert "88% of the rows are 'yes': 'metric: macro-f1'" in imported.notes[1]
    assert all(Counter(r.answer for r in imported.task.load(s))["no"] for s in imported.task.splits)


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("id,Sentence,Class", "Sentence", "Class"),
        ("n,words,kind", "words", "kind"),
        (",words,kind", "words", "kind"),
    ],
)
def test_columns_are_guessed(made, header, text, label):
    rows = "".join(f"{i},some words {i},{'ab'[i % 2]}\n" for i in range(20))
    imported = made(f"{header}\n{rows}")
    assert (imported.text, imported.label) == (text, label)


def test_columns_can_be_named(made):
    rows = "".join(f"text {i},title {i},{'ab'[i % 2]},{'cd'[i % 2]}\n" for i in range(20))
    imported = made(f"text,title,label,other\n{rows}", text="title", label="other")
    assert set(imported.labels) == {"c", "d"}
    assert all(row.fields["text"].startswith("title") for row in all_rows(imported))


def test_pairs_of_texts(made):
    rows = "".join(f"left {i},right {i},{'ab'[i % 2]}\n" for i in range(8))
    imported = made(f"text,hypothesis,label\n{rows}", text_b="hypothesis")
    row = imported.task.load("train")[0]
    assert row.fields["text_b"] == row.fields["text"].replace("left", "right")
    assert imported.task.template.fields == ("text", "text_b")


def test_label_words_are_lower_cased_names():
    assert [label_word(name) for name in ("POSITIVE", "very_good", "Sci/Tech", "1")] == [
        "positive",
        "very good",
        "sci/tech",
        "1",
    ]


def test_words_of_labels_that_look_alike_stay_apart(made):
    imported = made(csv_text([(f"t {i}", ("so_so", "so so")[i % 2]) for i in range(8)]))
    assert imported.task.labels == {"so so": ("so so",), "so_so": ("so_so",)}


def test_yes_and_no_stay_texts(made):
    imported = made(csv_text([(f"t {i}", ("yes", "no")[i % 2]) for i in range(8)]))
    assert imported.task.labels == {"no": ("no",), "yes": ("yes",)}
    assert imported.task.load("dev")[0].answer in ("yes", "no")
    assert "# For each label the words" in imported.file.read_text()
    assert yaml.safe_load(imported.file.read_text())["data"]["dev"] == "dev.jsonl"


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (csv_text([("a", "x"), ("b", "x")]), {}, "expected at least two labels, got only 'x'"),
        (csv_text([("a", ""), ("b", "")]), {}, "got no row with a text and a label"),
        (
            "review,sentiment\n",
            {},
            "expected a first line with column names, and rows, got no rows",
        ),
        (csv_text([("a", "x"), ("b", "y")]), {}, "at least 3 rows of every label.*got 1 of 'x', 1"),
        (
            csv_text([(f"t {i}", f"c{i}") for i in range(150)]),
            {},
            "at most 100 labels, got 150 different values",
        ),
        (
            csv_text([(f"t {i}", ("Good", "good")[i % 2]) for i in range(8)]),
            {},
            "more than upper and lower case, got 'Good', 'good'",
        ),
        (csv_text(MOODS), {"label": "sentimant"}, "Did you mean 'sentiment'?"),
        (csv_text(MOODS), {"text": "x"}, r"--text: expected one of its columns \(review, sentime"),
        (csv_text(MOODS, "words,mark"), {"text": "mark"}, "hold the labels.*Name it with --label"),
        ("only\na\nb\n", {}, "hold the labels.*got the columns only"),
        ('review,sentiment\n"a,b\n', {}, "expected a well-formed line"),
        (b"review,sentiment\n\xff,b\n", {}, "expected text in UTF-8, got byte 0xff"),
    ],
)
def test_tables_that_are_refused(made, tmp_path, content, config, message):
    with pytest.raises(TaskError, match=message) as caught:
        made(content, **config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_task_is_not_overwritten(made):
    file = made(csv_text(MOODS)).file
    file.write_text(file.read_text().replace("- bad", "- terrible"))
    with pytest.raises(TaskError, match=r"expected a folder without a task file, got one with"):
        made(csv_text(MOODS))
    assert "- terrible" in file.read_text()


@pytest.mark.parametrize("config", [{"dev": 0.0}, {"test": 0.0}, {"dev": 0.5, "test": 0.5}])
def test_shares_must_leave_rows_to_train(config):
    with pytest.raises(TaskError, match="numbers above 0 with a sum below 1"):
        ImportConfig(**config)


def test_three_rows_of_a_label_are_one_for_each_split(made):
    imported = made(csv_text([(f"t {i}", "abc"[i % 3]) for i in range(9)]), dev=0.45, test=0.45)
    assert imported.rows == {"train": 3, "dev": 3, "test": 3}
