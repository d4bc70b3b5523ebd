"""From cells of transfer_quality to figures, by hand."""

from __future__ import annotations

import pytest
from benchmarks.transfer_quality.table import summarise, write_table


def cell(column, score, source="", target="t", task="past-tense"):
    place = {"column": column, "source": source, "target": target, "task": task, "seed": 0}
    return {**place, "weights": "x", "score": score}


@pytest.fixture
def cells():
    found = []
    for task in ("past-tense", "topic", "guessed"):
        tuned = 0.8 if task != "guessed" else 0.25
        plain = {"majority": 0.2, "manual": 0.5, "no prompt": 0.4 if task == "topic" else 0.3}
        found += [cell(column, score, task=task) for column, score in plain.items()]
        found.append(cell("tuned", tuned, "t", task=task))
    for task, scores in (("past-tense", (0.4, 0.8)), ("topic", (0.2, 0.6)), ("guessed", (1, 1))):
        for source, score in zip("ab", scores, strict=True):
            found.append(cell("no data", score, source, task=task))
            found.append(cell("paper", score / 2, source, task=task))
        found.append(cell("no data 2", 0.7, "a+b", task=task))
    return found


def test_figures(cells) -> None:
    summary, tables = summarise(cells)
    assert summary["cells"] == len(cells)
    assert summary["learnable"] == 2
    assert summary["retention_zero_data"] == pytest.approx((0.5 + 1 + 0.25 + 0.75) / 4)
    assert summary["retention_paper"] == pytest.approx(summary["retention_zero_data"] / 2)
    # (score - no prompt) over (tuned - no prompt): 0.1, 0.5 of 0.5 and -0.2, 0.2 of 0.4
    assert summary["no_data.gain_kept"] == pytest.approx(0.6 / 1.8, abs=1e-4)
    assert summary["no_data.retention_fresh"] == pytest.approx(0.75)
    assert summary["retention_multi"] == pytest.approx(0.875)
    assert summary["beats_manual_share"] == 1.0
    assert summary["no_data_2.over_mean_single"] == pytest.approx((0.1 + 0.3) / 2)
    assert summary["no_data_2.over_best_single"] == pytest.approx((-0.1 + 0.1) / 2)
    assert tables["targets"]["t"]["tuned"] == 1.0
    assert tables["pairs"]["a -> t"]["no data"] == pytest.approx((0.5 + 0.25) / 2)


def test_table(cells, tmp_path) -> None:
    write_table(tmp_path / "table.md", summarise(cells)[1])
    text = (tmp_path / "table.md").read_text()
    assert "| no data | 4 | 0.500 | 0.62 |" in text
    assert "| no data 2 against no data | 2 | +0.200 [+0.100, +0.300] |" in text
