"""What a worker tells of the cell that it measures."""

from __future__ import annotations

import io
import json

from promptport import progress
from promptport.recipes import worker


def test_a_worker_counts_steps_and_not_the_rows_of_one(monkeypatch):
    monkeypatch.setattr(worker, "_EVERY", 0)
    out = io.StringIO()
    with progress.listening(worker._Teller(out)):
        with progress.stage("tuning") as told:
            told.at(3, 120)
            list(progress.counted([1, 2], [8, 8], [1, 1]))
        with progress.stage("scoring"):
            list(progress.counted([1, 2], [8, 8], [1, 1]))
    said = [json.loads(line)["at"] for line in out.getvalue().splitlines()]
    assert said[:4] == ["tuning 3/120"] * 4
    assert said[4:] == ["scoring 0/16", "scoring 8/16", "scoring 16/16"]
