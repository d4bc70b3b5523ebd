"""The embedded tasks: enough of them, correct in form, without leaks, and written by the tool."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from promptport.tasks import list_tasks, open_task

ROOT = Path(__file__).parents[3]
POCKET = ROOT / "src" / "promptport" / "tasks" / "pocket"
KINDS = {e.reference.removeprefix("pocket:"): e.kind for e in list_tasks()}
RELATIONS = sorted(name for name, kind in KINDS.items() if kind == "probe")
CLASSES = sorted(name for name, kind in KINDS.items() if kind == "classification")
WORD = re.compile(r"[A-Za-z]+")


def test_there_are_enough_facts() -> None:
    entries = [e for e in list_tasks() if e.kind == "probe"]
    assert len(entries) >= 20
    assert sum(sum(e.rows.values()) for e in entries) >= 2500


@pytest.mark.parametrize("name", RELATIONS)
def test_every_relation_is_clean(name) -> None:
    task = open_task(name)
    rows = {split: task.load(split) for split in ("train", "dev", "test")}
    subjects = [row.fields["subject"] for part in rows.values() for row in part]
    assert len(subjects) == len(set(subjects)), "a subject stands in two places"
    assert all(" " not in row.answer for part in rows.values() for row in part)
    assert len(rows["test"]) >= 8
    assert len(task.paraphrases) >= 5
    assert task.manual is not None
    assert len({t.text for t in (task.manual, *task.paraphrases)}) == len(task.paraphrases) + 1


def texts(rows) -> list[str]:
    return [" ".join(row.fields.values()) for row in rows]


def test_there_are_enough_classifications() -> None:
    assert len(CLASSES) >= 8


@pytest.mark.parametrize("name", CLASSES)
def test_every_classification_is_clean(name) -> None:
    task = open_task(name)
    rows = {split: task.load(split) for split in ("train", "dev", "test")}
    everything = [text for part in rows.values() for text in texts(part)]
    assert len(everything) >= 1000
    assert len(everything) == len(set(everything)), "a text stands in two places"
    for part in rows.values():
        shares = Counter(row.answer for row in part)
        assert max(shares.values()) - min(shares.values()) <= 1
        assert set(shares) == set(task.label_names)
    assert task.manual is not None
    assert len(task.paraphrases) >= 5


@pytest.mark.parametrize("name", CLASSES)
def test_test_rows_use_words_and_frames_of_their_own(name) -> None:
    task = open_task(name)
    train, test = texts(task.load("train")), texts(task.load("test"))
    known = {word for text in train for word in WORD.findall(text.lower())}
    fresh = [any(w not in known for w in WORD.findall(text.lower())) for text in test]
    assert sum(fresh) >= 0.6 * len(fresh)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tools are not part of the package")
def test_pretraining_never_reads_dev_and_test_rows(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from pocket.classes import labelled, unlabelled

    rng = random.Random(0)
    for name in CLASSES:
        task = open_task(name)
        held = [" ".join(row.fields.values()) for s in ("dev", "test") for row in task.load(s)]
        read = "\n".join(labelled(rng, name)[0] for _ in range(5000))
        if name != "truth":  # whose true statements are the facts themselves
            read += "\n".join(unlabelled(rng, name) for _ in range(5000))
        # A short text may be the end of another: whole lines count.
        assert not [text for text in held if f"\n{text}" in read], name


@pytest.mark.long
@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tools are not part of the package")
def test_the_tool_writes_the_same_bytes(tmp_path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_pocket.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    written = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(POCKET): p.read_bytes() for p in POCKET.rglob("*") if p.is_file()}
    assert written == kept


@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tools are not part of the package")
def test_the_small_models_are_asked_facts_and_classes_alone(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from zoo.probe import load_relations

    relations = load_relations(POCKET)
    assert sorted(r.name for r in relations) == sorted([*RELATIONS, *CLASSES])
    assert all(relation.rows for relation in relations)
