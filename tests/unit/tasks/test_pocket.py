"""The embedded tasks: enough of them, correct in form, without leaks, and written by the tool."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from promptport.tasks import list_tasks, open_task

ROOT = Path(__file__).parents[3]
POCKET = ROOT / "src" / "promptport" / "tasks" / "pocket"
NAMES = sorted(folder.name for folder in POCKET.iterdir() if (folder / "task.yaml").is_file())


def test_there_are_enough_facts() -> None:
    entries = [e for e in list_tasks() if e.kind == "probe"]
    assert len(entries) >= 20
    assert sum(sum(e.rows.values()) for e in entries) >= 1900


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="the tools are not part of the package")
def test_the_tool_writes_the_same_bytes(tmp_path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_pocket.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    written = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(POCKET): p.read_bytes() for p in POCKET.rglob("*") if p.is_file()}
    assert written == kept
