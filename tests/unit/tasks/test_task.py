"""Task files: what is read, what is refused, and what a task knows of itself."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from promptport.errors import TaskError
from promptport.tasks import FileSource, HubSource, MemorySource, Row, Task, Template, load_task

BASE = {
    "schema": 1,
    "name": "mood",
    "kind": "classification",
    "description": "a mood",
    "template": "{soft} {text} It was {answer} .",
    "manual": "{text} All in all it was {answer} .",
    "paraphrases": ["{text} So {answer} ."],
    "metric": "accuracy",
    "labels": {"bad": ["terrible", "no good"], "good": "great"},
    "data": {"train": "train.csv", "dev": "dev.csv"},
    "columns": {"text": "sentence"},
}
DROP = object()


@pytest.fixture
def write(tmp_path):
    """Write a task file: BASE with changes; DROP removes a key."""

    def write_task(**changes):
        values = {k: v for k, v in (BASE | changes).items() if v is not DROP}
        path = tmp_path / "mood.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write_task


def probe(rows, **options):
    template = Template.parse("{subject} {soft} {answer} .")
    source = MemorySource({s: tuple(Row({"subject": "s"}, a) for a in r) for s, r in rows.items()})
    return Task("capital", "probe", template, "p@1", source=source, **options)


def regression():
    labels = {"0": ("zero",), "2": ("two",), "5": ("five",)}
    template = Template.parse("{text} {text_b} {soft} {answer}")
    return Task("alike", "classification", template, "pearson", labels=labels)


def test_every_key_is_read(write, tmp_path):
    (tmp_path / "train.csv").write_text("sentence,label\nnice,good\nworse,bad\nfine,good\n")
    task = load_task(write())
    assert (task.name, task.kind, task.metric, task.description) == (
        "mood",
        "classification",
        "accuracy",
        "a mood",
    )
    assert task.template == Template.parse(BASE["template"])
    assert task.manual == Template.parse(BASE["manual"])
    assert [t.text for t in task.paraphrases] == BASE["paraphrases"]
    assert task.labels == {"bad": ("terrible", "no good"), "good": ("great",)}
    assert task.splits == ("train", "dev")
    assert task.load("train")[0] == Row({"text": "nice"}, "good")
    assert task.load("train") is task.load("train")
    assert task.majority() == "good"


def test_name_and_folder_can_be_given(write, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "dev.csv").write_text("sentence,label\nnice,good\n")
    task = load_task(write(), folder=tmp_path / "sub", name="nlu:mood")
    assert task.name == "nlu:mood"
    assert len(task.load("dev")) == 1


def test_hub_source(write):
    data = {
        "hub": "glue",
        "config": "sst2",
        "splits": {"dev": "validation"},
        "columns": {"label": "y"},
        "label_names": ["bad", "good"],
    }
    assert load_task(write(data=data)).source == HubSource(
        "glue", "sst2", {"dev": "validation"}, {"text": "sentence", "label": "y"}, ("bad", "good")
    )


def test_file_source_with_label_names(write, tmp_path):
    task = load_task(write(data={"train": "t.csv", "label_names": ["bad", "good"]}))
    assert task.source == FileSource(
        {"train": tmp_path / "t.csv"}, {"text": "sentence"}, ("bad", "good")
    )


def test_optional_keys(write):
    task = load_task(write(manual=DROP, paraphrases=DROP, description=DROP, columns=DROP))
    assert (task.manual, task.paraphrases, task.description) == (None, (), "")


def test_template_fields_become_columns(write, tmp_path):
    (tmp_path / "train.csv").write_text("sentence,label\nnice,good\n")
    task = load_task(write()).with_template("{soft} {text} {place} {answer}")
    with pytest.raises(TaskError, match="expected the columns sentence, place, label"):
        task.load("train")


def test_with_template_keeps_the_rest(write):
    task = load_task(write())
    other = task.with_template("{text} {soft:2} {answer}")
    assert other.template.soft_counts(2) == [2]
    assert (other.labels, other.source, other.manual) == (task.labels, task.source, task.manual)
    assert task.template.text == BASE["template"]


def test_majority_takes_the_first_among_equals():
    task = probe({"train": ["b", "a", "a", "b"], "test": ["a", "b", "b", "c"]})
    assert task.majority() == "b"
    assert task.majority_score("test").value == 0.5


def test_numbers_of_a_regression():
    task = regression()
    assert task.is_regression
    assert task.label_values == (0, 2, 5)
    assert task.label_targets("0.5") == pytest.approx((0.75, 0.25, 0))
    assert task.label_targets("2.0") == (0, 1, 0)
    assert task.label_targets("4.4") == pytest.approx((0, 0.2, 0.8))
    assert task.label_mean(task.label_targets("4.4")) == pytest.approx(4.4)
    assert task.label_mean([0.5, 0, 0.5]) == 2.5


def test_targets_of_classes(write):
    task = load_task(write())
    assert task.label_names == ("bad", "good")
    assert task.label_values == ()
    assert task.label_targets("good") == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "expected schema 1, got schema 2. Update promptport."),
        ({"schema": "1"}, "expected schema 1, got schema '1'. Write 'schema: 1'."),
        ({"schema": True}, "got schema True"),
        ({"schema": DROP}, "expected schema 1, got no 'schema'"),
        ({"colour": 1}, "got 'colour'. Remove the key"),
        ({"name": DROP}, "got no 'name'. Add 'name'."),
        ({"template": DROP}, "got no 'template'"),
        ({"data": DROP}, "got no 'data'"),
        ({"name": 3}, "key 'name': expected a text, got int 3"),
        ({"name": True}, "key 'name': expected a text, got bool True. Put quotes"),
        ({"kind": "quiz"}, "key 'kind': expected one of probe, classification, text2text"),
        ({"metric": "p@1"}, "key 'metric': expected one of accuracy, macro-f1"),
        ({"template": "{soft} {text}"}, "expected exactly one {answer}, got 0"),
        ({"template": ["x"]}, "key 'template': expected a text, got list"),
        ({"manual": "{soft} {text} {answer}"}, "manual template: expected no {soft}"),
        ({"paraphrases": "x"}, "key 'paraphrases': expected a list of templates, got str"),
        ({"paraphrases": ["x"]}, "expected exactly one {answer}"),
        ({"labels": DROP}, "labels: expected at least two labels with their words, got none"),
        ({"labels": {"a": "b"}}, "at least two labels with their words, got a"),
        ({"labels": ["a", "b"]}, "key 'labels': expected a mapping from labels to label words"),
        ({"labels": {"a": [], "b": "c"}}, "expected at least one word for 'a'"),
        ({"labels": {"a": True, "b": False}}, "key 'labels': expected a text, got bool True"),
        ({"labels": {"a": ["x", "y"], "b": "y"}}, "got 'y' for 'a' and 'b'"),
        ({"metric": "pearson"}, "expected numbers as labels of a regression, got 'bad'"),
        ({"kind": "text2text", "metric": "exact-match"}, "labels: expected none"),
        ({"data": "train.csv"}, "key 'data': expected a mapping of splits"),
        ({"data": {}}, "key 'data': expected at least one of train, dev, test, got none"),
        ({"data": {"valid": "x"}}, "key 'data': expected the keys train, dev, test, label_names"),
        ({"data": {"train": 3}}, "key 'train': expected a text, got int 3"),
        ({"data": {"hub": "glue"}}, "key 'data': expected the keys hub, splits, got no 'splits'"),
        ({"data": {"hub": "glue", "splits": {"x": "y"}}}, "key 'splits': expected the keys"),
        ({"data": {"hub": "g", "splits": {"dev": "y"}, "revision": "x"}}, "got 'revision'"),
        ({"data": {"train": "x", "label_names": "y"}}, "key 'label_names': expected a list"),
        ({"columns": ["x"]}, "key 'columns': expected a mapping of names, got list"),
        ({"columns": {"text": True}}, "key 'columns': expected a text, got bool True. Put quotes"),
        ({"templte": "x"}, "got 'templte'. Did you mean 'template'? Remove the key, or correct"),
        ({"kind": "classificaton"}, "Did you mean 'classification'? Correct the value."),
        ({"kind": ["probe"]}, "key 'kind': expected a text, got list ['probe']"),
        ({"data": {"trian": "x"}}, "key 'data': expected the keys train, dev, test, label_names, "),
        ({"data": {"trian": "x"}}, "got 'trian'. Did you mean 'train'?"),
        ({"data": {"hub": "g", "splits": {}}}, "expected at least one of train, dev, test, got"),
        ({"data": {"hub": "g", "splits": "dev"}}, "key 'splits': expected a mapping of names, got"),
        ({"data": {"hub": 3, "splits": {"dev": "y"}}}, "key 'hub': expected a text, got int 3"),
        ({"labels": {"a": {"b": 1}, "c": "d"}}, "key 'labels': expected a text, got dict"),
        ({"paraphrases": [{"x": 1}]}, "key 'paraphrases': expected a text, got dict"),
        ({"description": ""}, "key 'description': expected a text, got str ''"),
    ],
)
def test_bad_task_files(write, changes, message):
    path = write(**changes)
    with pytest.raises(TaskError, match=re.escape(message)) as caught:
        load_task(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a mapping of keys, got NoneType"),
        (b"- a\n", "expected a mapping of keys, got list"),
        (b"template: {soft} {text}\n", "expected YAML, got text that does not parse"),
        (b"a: \xff\n", "expected YAML"),
        (b"!!python/object/apply:os.getcwd []\n", "expected YAML"),
    ],
)
def test_no_yaml(tmp_path, content, message):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message) as caught:
        load_task(path)
    assert "\n" not in str(caught.value)


def test_missing_task_file(tmp_path):
    with pytest.raises(TaskError, match=r"a\.yaml: expected a task file, got nothing"):
        load_task(tmp_path / "a.yaml")


def test_kind_is_checked_from_python_too():
    with pytest.raises(TaskError, match="task 'x', kind: expected one of probe"):
        Task("x", "quiz", Template.parse("{answer}"), "p@1")


def test_with_rows_has_these_rows_only(films):
    rows = films.load("train")[:2]
    few = films.with_rows(train=list(rows))
    assert (few.splits, few.load("train"), few.template) == (("train",), rows, films.template)
    assert films.with_rows().splits == ()
    assert len(films.load("train")) > 2


def test_rows_are_read_once_for_a_source(tmp_path, films):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a film", "label": "good"}')
    source = FileSource({"train": file})
    task = replace(films, source=source)
    first = task.load("train")
    file.unlink()
    assert task.with_template("{text} {answer}").load("train") is first
    with pytest.raises(TypeError, match="_read"):
        FileSource({"train": file}, _read={})
    with pytest.raises(TaskError, match="nothing at this path"):
        replace(films, source=replace(source)).load("train")


def test_libraries_are_imported_where_a_file_is_read() -> None:
    code = (
        "import sys, promptport.cli, promptport.tasks\n"
        "print({'pydantic', 'scipy', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
