"""Tasks by reference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks import Row, Template, catalog, list_tasks, load_task, open_task

BUILTIN = Path(catalog.__file__).parent / "builtin"
NLU = sorted(path.stem for path in (BUILTIN / "nlu").glob("*.yaml"))
POCKET_TASK = """schema: 1
name: country-capital
kind: probe
description: Capitals
template: "{subject} {soft} {answer} ."
metric: p@1
data: {train: train.jsonl}
"""


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def lama(tmp_path):
    folder = tmp_path / "lama"
    relation = {
        "relation": "P36",
        "label": "capital",
        "template": "The capital of [X] is [Y] .",
        "type": "1-1",
        "paraphrases": ["[X]'s capital, {so [Y]}."],
    }
    absent = {"relation": "P9", "label": "moon", "template": "[X] [Y]", "paraphrases": []}
    write_lines(folder / "relations.jsonl", relation, absent)
    for split in ("train", "dev", "test"):
        write_lines(folder / "P36" / f"{split}.jsonl", {"subject": "Peru", "object": "Lima"})
    return folder


@pytest.fixture
def nlu(tmp_path):
    folder = tmp_path / "nlu"
    cards = {
        "sst2": (["negative", "positive"], False),
        "stsb": (["0.0 .. 5.0"], True),
        "other": (["x"], False),
    }
    for name, (labels, pair) in cards.items():
        row = {"text": "a", "label": labels[-1]}
        row = {"text": "a", "text_b": "b", "label": "2.5"} if pair else row
        write_lines(folder / name / "train.jsonl", row, row)
        card = {"name": name, "labels": labels, "pair": pair}
        (folder / name / "task.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def pocket(tmp_path, monkeypatch):
    folder = tmp_path / "pocket" / "country-capital"
    write_lines(folder / "train.jsonl", {"subject": "Peru", "object": "Lima"})
    (folder / "task.yaml").write_text(POCKET_TASK)
    monkeypatch.setattr(catalog, "_POCKET", folder.parent)


def test_path_of_a_task_file(tmp_path):
    write_lines(tmp_path / "train.jsonl", {"subject": "Peru", "object": "Lima"})
    (tmp_path / "mine.yaml").write_text(POCKET_TASK)
    task = open_task(str(tmp_path / "mine.yaml"))
    assert task.load("train") == (Row({"subject": "Peru"}, "Lima"),)
    with pytest.raises(TaskError, match=r"no\.yaml: expected a task file"):
        open_task(str(tmp_path / "no.yaml"))


def test_places_as_text_or_as_paths(tmp_path, nlu):
    write_lines(tmp_path / "train.jsonl", {"subject": "Peru", "object": "Lima"})
    file = tmp_path / "mine.yaml"
    file.write_text(POCKET_TASK)
    rows = (Row({"subject": "Peru"}, "Lima"),)
    for task in (open_task(file), load_task(str(file)), load_task(file, folder=str(tmp_path))):
        assert task.load("train") == rows
    assert open_task("nlu:sst2", str(nlu)).load("train") == open_task("nlu:sst2", nlu).load("train")
    assert list_tasks(str(nlu)) == list_tasks(nlu)
    with pytest.raises(TaskError, match="nothing at this path"):
        open_task("nlu:sst2", str(tmp_path / "none"))


@pytest.mark.parametrize("reference", ["country-capital", "pocket:country-capital"])
def test_embedded_tasks(pocket, reference):
    task = open_task(reference)
    assert task.name == "country-capital"
    assert len(task.load("train")) == 1


def test_lama(lama):
    task = open_task("lama:P36", lama)
    assert (task.name, task.kind, task.metric) == ("lama:P36", "probe", "p@1")
    assert task.template.text == "{subject} {soft} {answer} ."
    assert task.manual == Template.parse("The capital of {subject} is {answer} .")
    assert task.paraphrases[0].text == "{subject}'s capital, {{so {answer}}}."
    assert task.description == "LAMA T-REx fact: capital"
    assert task.splits == ("train", "dev", "test")
    assert task.load("test") == (Row({"subject": "Peru"}, "Lima"),)


def test_nlu(nlu):
    task = open_task("nlu:sst2", nlu)
    assert (task.name, task.splits) == ("nlu:sst2", ("train",))
    assert task.load("train")[0] == Row({"text": "a"}, "positive")
    pair = open_task("nlu:stsb", nlu)
    assert pair.load("train")[0] == Row({"text": "a", "text_b": "b"}, "2.5")


def test_list(pocket, lama, nlu):
    assert [entry.to_dict() for entry in list_tasks()] == [
        {
            "reference": "pocket:country-capital",
            "kind": "probe",
            "rows": {"train": 1},
            "description": "Capitals",
        },
    ]
    assert [(e.reference, dict(e.rows)) for e in list_tasks(lama)[1:]] == [
        ("lama:P36", {"train": 1, "dev": 1, "test": 1}),
    ]
    assert [(e.reference, dict(e.rows)) for e in list_tasks(nlu)[1:]] == [
        ("nlu:sst2", {"train": 2}),
        ("nlu:stsb", {"train": 2}),
    ]


def test_nineteen_tasks_are_built_in():
    assert " ".join(NLU) == (
        "ag_news cola dbpedia imdb mnli mr mrpc qnli qqp rte scitail snli sst2 sst5 stsb subj trec "
        "yahoo yelp"
    )


@pytest.mark.parametrize("name", NLU)
def test_builtin_tasks_suit_every_kind_of_backbone(name):
    task = load_task(BUILTIN / "nlu" / f"{name}.yaml")
    assert task.name == name
    assert task.description
    assert task.template.leads_with_soft
    assert task.manual is not None
    assert task.manual.fields == task.template.fields
    task.template.until_answer()  # a causal model reads every field
    words = [word for group in task.labels.values() for word in group]
    assert all(word.isalpha() for word in words)


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("country-capitol", UnknownNameError, "Did you mean 'country-capital'?"),
        ("pocket:x", UnknownNameError, "expected an embedded task (country-capital), got 'x'"),
        ("sst2", UnknownNameError, "Did you mean 'nlu:sst2'"),
        ("glue:sst2", UnknownNameError, "a name that begins with pocket:, lama:, nlu: or tpv:"),
        ("nlu:sstt2", UnknownNameError, "Did you mean 'sst2'"),
        ("lama:P36", TaskError, "got none. Give --data FOLDER with relations.jsonl"),
        ("nlu:sst2", TaskError, "got none. Give --data FOLDER with one folder per task"),
    ],
)
def test_unknown_names(pocket, reference, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        open_task(reference)
    assert "\n" not in str(caught.value)


def test_folders_that_do_not_have_the_task(lama, nlu, tmp_path):
    cases = [
        ("lama:P37", lama, r"a relation of .*lama \(P36\), got 'P37'. Did you mean 'P36'"),
        ("lama:capital", lama, "Did you mean 'P36'"),
        ("lama:P9", lama, "got 'P9'"),
        ("lama:P36", nlu, "folder with relations.jsonl .* got a folder with other, sst2"),
        ("lama:P36", tmp_path / "no", "got nothing at this path. Correct --data"),
        ("lama:P36", lama / "relations.jsonl", "got a file"),
        ("nlu:sst5", nlu, r"expected a task of .*nlu \(sst2, stsb\).*Did you mean 'sst2'"),
        ("nlu:sst2", lama, "one folder per task, each with a task.json"),
    ]
    for reference, folder, message in cases:
        with pytest.raises(TaskError, match=message):
            open_task(reference, folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TaskError, match="got an empty folder"):
        list_tasks(empty)
    with pytest.raises(TaskError, match="got no folder at this path"):
        list_tasks(tmp_path / "no")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ('{"labels": ["a", "b"], "pair": false}', "expected the labels negative, positive"),
        ('{"pair": false}', "expected the labels negative, positive, got None"),
        ('{"labels": ["negative", "positive"], "pair": true}', "'pair' to be false, got True"),
        ("[]", "expected a JSON object with 'labels' and 'pair', got list"),
        ("{", "got a file that cannot be read"),
    ],
)
def test_bad_nlu_cards(nlu, card, message):
    (nlu / "sst2" / "task.json").write_text(card)
    with pytest.raises(TaskError, match=message):
        open_task("nlu:sst2", nlu)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": "[X] only"}, r"line 1: expected templates with \[X\] and one \[Y\]"),
        ({"paraphrases": "[X] [Y]"}, "expected a list of paraphrases, got str"),
        ({"paraphrases": [3]}, "got 3"),
        ({"label": None}, "got no 'label'"),
    ],
)
def test_bad_relations(lama, change, message):
    path = lama / "relations.jsonl"
    relation = json.loads(path.read_text().splitlines()[0])
    write_lines(path, relation | change)
    with pytest.raises(TaskError, match=message):
        open_task("lama:P36", lama)


def test_import_is_light():
    code = (
        "import sys, promptport.tasks;"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'transformers', 'pyarrow', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
