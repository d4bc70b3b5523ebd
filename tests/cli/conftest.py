"""A task written to disk, and what every failure of a command looks like."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.conftest import CAPITALS


def fails(result, *parts):
    """One line on standard error that holds all parts, and nothing else."""
    code, out, err = result
    assert (code, out) == (1, ""), (code, out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err, err


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
