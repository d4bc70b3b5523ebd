"""What a benchmark writes beside its figures: the commit, and whether the tree was clean."""

from __future__ import annotations

import json
import subprocess

import pytest

_result = pytest.importorskip("benchmarks._result", reason="the benchmarks are not in this package")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A committed tree with one benchmark and its results."""
    results = tmp_path / "benchmarks" / "toy" / "results"
    results.mkdir(parents=True)
    (tmp_path / "code.py").write_text("x = 1\n")
    (results / "cells.jsonl").write_text("{}\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(_result, "ROOT", tmp_path.resolve())
    return tmp_path


def test_results_that_a_run_writes_do_not_make_it_dirty(repository) -> None:
    results = repository / "benchmarks" / "toy" / "results"
    (results / "cells.jsonl").write_text("{}\n{}\n")
    (results / "summary.json").write_text("{}")
    recorded = _result.environment(results)
    assert recorded["dirty"] is False
    assert len(recorded["commit"]) == 40
    (repository / "code.py").write_text("x = 2\n")
    assert _result.environment(results)["dirty"] is True
    assert _result.environment(repository.parent / "elsewhere")["dirty"] is True


def test_what_is_written(repository) -> None:
    results = repository / "benchmarks" / "toy" / "results"
    recorded = _result.environment(results)
    _result.write_summary(results, {"a.score": 0.5}, recorded)
    _result.write_runs(results, {"seconds": [1, 2]})
    read = {p.name: json.loads(p.read_text()) for p in results.glob("*.json")}
    assert read["summary.json"] == {"a.score": 0.5}
    assert read["runs.json"] == {"seconds": [1, 2]}
    assert read["environment.json"]["dirty"] is False
    assert not (results / "result.json").exists()
