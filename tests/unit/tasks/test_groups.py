"""Groups of tasks by a star."""

from __future__ import annotations

import json

import pytest

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks import expand_tasks, list_tasks, open_task, tpv_names


@pytest.fixture
def lama(tmp_path):
    """Four relations in their list, of which one has no rows."""
    folder = tmp_path / "lama"
    names = ("P103", "P36", "P101", "P9")
    lines = [
        json.dumps({"relation": name, "label": name, "template": "[X] is [Y] ."}) for name in names
    ]
    folder.mkdir()
    (folder / "relations.jsonl").write_text("\n".join(lines))
    for name in names[:3]:
        (folder / name).mkdir()
    return folder


def test_all_relations_of_a_folder(lama):
    assert expand_tasks(["lama:*"], lama) == ["lama:P103", "lama:P36", "lama:P101"]
    assert expand_tasks(["lama:P10*"], str(lama)) == ["lama:P103", "lama:P101"]
    assert [open_task(name, lama).name for name in expand_tasks(["lama:*"], lama)][1] == "lama:P36"


def test_names_stay_in_their_order_and_each_once(lama):
    given = ["sentiment", "lama:P36", "lama:*", "mine.yaml", "sentiment"]
    assert expand_tasks(given, lama) == [
        "sentiment", "lama:P36", "lama:P103", "lama:P101", "mine.yaml",
    ]  # fmt: skip
    assert expand_tasks([]) == []


def test_other_families(tmp_path):
    pocket = [entry.reference for entry in list_tasks()]
    assert expand_tasks(["pocket:*"]) == pocket
    assert expand_tasks(["pocket:country-c*y"]) == ["pocket:country-currency"]
    assert expand_tasks(["tpv:*"]) == [f"tpv:{name}" for name in tpv_names()]
    assert len(expand_tasks(["tpv:*:t5"])) == 17
    for name in ("mnli", "sst2", "subj"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.json").write_text("{}")
    assert expand_tasks(["tpv:*:instruct"], tmp_path) == ["tpv:mnli:instruct", "tpv:sst2:instruct"]
    assert expand_tasks(["nlu:s*"], tmp_path) == ["nlu:sst2", "nlu:subj"]


def test_task_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / name).touch()
    assert expand_tasks(["*.yaml"]) == ["a.yaml", "b.yaml"]
    with pytest.raises(TaskError, match="group 'x\\*.yaml': expected a task file that it stands"):
        expand_tasks(["x*.yaml"])


def test_groups_that_name_nothing(lama, tmp_path):
    with pytest.raises(
        UnknownNameError, match="begins with pocket:, lama:, nlu:, tpv:, got 'glue'"
    ):
        expand_tasks(["glue:*"])
    with pytest.raises(UnknownNameError, match=r"got '\*'. Write for instance 'lama:\*'"):
        expand_tasks(["*"])
    with pytest.raises(TaskError, match="a pattern that one of 3 names has, got one that none has"):
        expand_tasks(["lama:Q*"], lama)
    with pytest.raises(TaskError, match="Give --data FOLDER with relations.jsonl"):
        expand_tasks(["lama:*"])
    with pytest.raises(UnknownNameError, match="expected one task, got a group"):
        open_task("lama:*", lama)
