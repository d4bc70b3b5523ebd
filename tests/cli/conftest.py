"""A task written to disk."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.conftest import CAPITALS


@pytest.fixture
def task_file(tmp_path):
    rows = [json.dumps({"subject": s, "object": o}) for s, o in CAPITALS.items()]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
    task = {
        "schema": 1,
        "name": "capitals",
        "kind": "probe",
        "template": "{subject} {soft} {answer} .",
        "manual": "The capital of {subject} is {answer} .",
        "metric": "p@1",
        "data": {s: f"{s}.jsonl" for s in ("train", "dev", "test")},
    }
    path = tmp_path / "capitals.yaml"
    path.write_text(yaml.safe_dump(task))
    return path
