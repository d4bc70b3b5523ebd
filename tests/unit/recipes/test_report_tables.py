"""Means, intervals, tests and published numbers of a report are those computed another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.runs import MODELS, SEEDS, TASKS, make_run, write_run

from promptport.errors import PromptPortError
from promptport.recipes.reports import make_report, read_run
from promptport.records import packed

TABLE = {"name": "t", "title": "T", "of": {"kind": "k"}, "rows": ["row"], "columns": "way"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_report(read_run(make_run(tmp_path_factory.mktemp("run") / "run")))


def _table(folder, cells, **spec):
    run = write_run(folder, cells, report={"tables": [{**TABLE, **spec}]})
    return make_report(read_run(run)).tables[0]


def _scores(values, **place):
    return [("k", {**place, "seed": i}, {"score": v}) for i, v in enumerate(values)]


def _bits(rng, rows, share):
    right = rng.random(rows) < share
    return right, {"score": round(float(right.mean()), 5), "right": packed(right.tolist())}


def _cells(report, **wanted):
    cells = [c for c in report.run.cells if c.kind == "transfer" and c.state == "finished"]
    return [c for c in cells if all(c.place[k] == v for k, v in wanted.items())]


@pytest.mark.long
def test_a_mean_is_that_of_its_cells(report) -> None:
    table = report.tables[0]
    assert table.columns == ("paper", "least-squares", "mixture")
    for row, line in zip(table.rows[:-1], table.entries, strict=False):
        for column, entry in zip(table.columns, line, strict=True):
            cells = _cells(report, source=row[0], target=row[1], method=column)
            assert entry.mean.value == pytest.approx(np.mean([c.values["score"] for c in cells]))
            assert (entry.mean.cells, entry.asked) == (len(cells), len(TASKS) * len(SEEDS))
    partial = table.entry(("nano-albert", "nano-roberta"), "mixture")
    assert partial.part == "5/6"
    assert table.rows[-1] == ("nano-bert", "nano-t5")
    assert [e and e.why for e in table.entries[-1]] == ["left out", None, None]
    assert all(line[2].best for line in table.entries[:-1])


def test_the_interval_of_three_cells_or_more_is_a_bootstrap_over_them(tmp_path) -> None:
    values = [0.5, 0.62, 0.55, 0.71, 0.66, 0.58]
    table = _table(tmp_path, _scores(values, row="a", way="x"))
    mean = table.entries[0][0].mean
    other = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert mean.value == pytest.approx(np.mean(values))
    assert (mean.low, mean.high) == pytest.approx((other.low, other.high), abs=0.004)
    assert mean.drawn == "cells"


def test_seeds_of_one_task_are_drawn_together(tmp_path) -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(0.3, 0.9, 8)
    cells = [
        ("k", {"row": "a", "way": "x", "task": f"t{t}", "seed": s}, {"score": float(level[t])})
        for t in range(8)
        for s in range(5)
    ]
    mean = _table(tmp_path, cells).entries[0][0].mean
    other = stats.bootstrap(
        (level,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (mean.low, mean.high) == pytest.approx((other.low, other.high), abs=0.01)
    assert mean.drawn == "task"
    alone = np.std(np.repeat(level, 5)) / np.sqrt(40)
    assert mean.high - mean.low > 1.5 * 2 * 1.96 * alone


def test_one_cell_has_its_own_interval_and_two_have_none(tmp_path) -> None:
    one = ("k", {"row": "a", "way": "x"}, {"score": 0.5, "low": 0.4, "high": 0.6})
    table = _table(tmp_path, [one, *_scores([0.2, 0.4], row="b", way="x")])
    first, second = (line[0].mean for line in table.entries)
    assert (first.value, first.low, first.high, first.drawn) == (0.5, 0.4, 0.6, "rows")
    assert (second.value, second.low, second.high) == (pytest.approx(0.3), None, None)
    assert "Two cells give no interval." in table.notes


def test_one_seed_is_tested_by_rows_and_corrected_over_the_table(tmp_path) -> None:
    rng = np.random.default_rng(3)
    cells, raw = [], []
    for row, gains in (("a", (0.1, 0.02)), ("b", (0.15, 0.0))):
        base, values = _bits(rng, 300, 0.5)
        cells.append(("k", {"row": row, "way": "base"}, values))
        for way, gain in zip(("x", "y"), gains, strict=True):
            right, values = _bits(rng, 300, 0.5 + gain)
            cells.append(("k", {"row": row, "way": way}, values))
            up, down = int((right & ~base).sum()), int((base & ~right).sum())
            raw.append(stats.binomtest(up, up + down).pvalue)
    table = _table(tmp_path, cells, compare_to="base")
    tests = [line[i].test for line in table.entries for i in (1, 2)]
    assert [t.p for t in tests] == pytest.approx(raw)
    corrected = _holm(raw)
    assert [t.adjusted for t in tests] == pytest.approx(corrected)
    assert [line[i].star for line in table.entries for i in (1, 2)] == [p < 0.05 for p in corrected]
    assert {(t.over, t.pairs, t.cells) for t in tests} == {("rows", 300, 1)}
    assert table.entries[0][0].test is None
    first = table.entries[0][1]
    assert first.test.difference == pytest.approx(first.mean.value - table.entries[0][0].mean.value)


def _holm(raw):
    order = np.argsort(raw)
    adjusted, highest = np.ones(len(raw)), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(raw) - rank) * raw[i]))
        adjusted[i] = highest
    return adjusted.tolist()


def test_several_seeds_on_the_same_rows_count_both_draws(tmp_path) -> None:
    rng = np.random.default_rng(5)
    cells, tables = [], {}
    for way, share in (("base", 0.6), ("x", 0.63)):
        bits = []
        for seed in range(4):
            right, values = _bits(rng, 200, share)
            bits.append(right)
            cells.append(("k", {"row": "a", "way": way, "seed": seed}, values))
        tables[way] = np.array(bits, dtype=float)
    test = _table(tmp_path, cells, compare_to="base").entries[0][1].test
    d = tables["x"] - tables["base"]
    parts = [(d.mean(1).var(ddof=1) / 4, 3), (d.mean(0).var(ddof=1) / 200, 199)]
    variance = sum(v for v, _ in parts)
    freedom = variance**2 / sum(v**2 / f for v, f in parts)
    p = 2 * stats.t.sf(abs(d.mean()) / variance**0.5, freedom)
    assert test.over == "rows and seeds"
    assert test.difference == pytest.approx(d.mean())
    assert test.p == pytest.approx(p, rel=0.35)
    assert test.p >= p - 1e-12
    far = stats.t.ppf(0.975, freedom) * variance**0.5
    assert (test.low, test.high) == pytest.approx((d.mean() - far, d.mean() + far))


def test_a_seed_that_one_task_lacks_is_left_out_of_the_test(tmp_path) -> None:
    rng = np.random.default_rng(6)
    cells, kept = [], {"base": [], "x": []}
    for task, rows in (("s", 100), ("t", 300)):
        for seed in range(3):
            for way, share in (("base", 0.5), ("x", 0.6)):
                right, values = _bits(rng, rows, share)
                gone = (task, seed, way) == ("t", 2, "x")
                place = {"row": "a", "way": way, "task": task, "seed": seed}
                cells.append(("k", place, None if gone else values))
                if seed < 2:
                    kept[way].append(right.mean())
    test = _table(tmp_path, cells, compare_to="base").entries[0][1].test
    assert (test.over, test.cells, test.pairs) == ("rows and seeds", 4, 400)
    # The mean over cells, though one task has three times the rows of the other.
    assert test.difference == pytest.approx(np.mean(kept["x"]) - np.mean(kept["base"]), abs=1e-9)


@pytest.mark.parametrize("key", ["score", "loss"])
def test_numbers_that_are_no_share_of_rows_are_tested_by_cells(tmp_path, key) -> None:
    rng = np.random.default_rng(7)
    cells, sides = [], {"base": [], "x": []}
    for seed in range(8):
        for way in sides:
            _, values = _bits(rng, 100, 0.5)
            value = float(rng.normal(0.3 if way == "x" else 0.2, 0.05))
            sides[way].append(value)
            # As macro F1: the score is not the share of right rows.
            cells.append(("k", {"row": "a", "way": way, "seed": seed}, {**values, key: value}))
    test = _table(tmp_path, cells, value=key, compare_to="base").entries[0][1].test
    other = stats.permutation_test(
        (sides["x"], sides["base"]),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        vectorized=False,
        n_resamples=np.inf,
    )
    assert test.p == pytest.approx(other.pvalue)
    assert (test.over, test.pairs) == ("cells", 8)


def test_pairs_are_cells_that_agree_in_all_but_the_column(tmp_path) -> None:
    cells = _scores([0.1, 0.2, 0.9, 0.9], row="a", way="base")[:3]
    cells += _scores([0.3, 0.4, 0.5, 0.7], row="a", way="x")[1:]
    test = _table(tmp_path, cells, compare_to="base").entries[0][1].test
    assert test.cells == 2
    assert test.difference == pytest.approx(((0.4 - 0.2) + (0.5 - 0.9)) / 2)


def test_what_has_no_number_is_named(tmp_path) -> None:
    cells = [
        ("k", {"row": "a", "way": "x"}, "ValueError: no"),
        ("k", {"row": "a", "way": "y"}, None),
        ("k", {"row": "b", "way": "x"}, {"other": 1}),
        ("k", {"row": "b", "way": "y"}, {"score": 0.5}),
    ]
    table = _table(tmp_path, cells, best="min", compare_to="z")
    assert [[e.why for e in line] for line in table.entries] == [
        ["failed", "missing"],
        ["no value", ""],
    ]
    assert "1 finished cell has no number 'score'." in table.notes
    assert "There is no column z to compare with." in table.notes
    assert not any(entry.best for line in table.entries for entry in line)


def test_keys_that_are_averaged_without_a_word_are_told(tmp_path) -> None:
    cells = [
        ("k", {"row": "a", "way": "x", "length": n, "seed": s}, {"score": 0.5})
        for n in (1, 5)
        for s in (0, 1)
    ]
    table = _table(tmp_path, cells, over=["seed"])
    assert "The recipe does not name length among what is averaged." in table.notes
    assert any(note.startswith("Means over length (1, 5) and seed (0, 1)") for note in table.notes)


def test_a_filter_takes_lists_and_tells_numbers_from_words(tmp_path) -> None:
    cells = [
        ("k", {"row": "a", "way": way, "n": n}, {"score": score})
        for way, n, score in (
            ("x", 1, 0.1),
            ("y", True, 0.2),
            ("z", ["p", "q"], 0.3),
            ("w", 2, 0.4),
        )
    ]
    one = _table(tmp_path / "1", cells, of={"kind": "k", "n": [1, 2]})
    assert one.columns == ("x", "w")
    two = _table(tmp_path / "2", cells, of={"kind": ["k"], "n": ["p", "q"]})
    assert two.columns == ("z",)


@pytest.mark.parametrize(
    ("row", "model", "ours", "same"),
    [
        (["bert-base-cased", "roberta-base"], "roberta-base", 1, False),
        (["nano-bert", "nano-roberta"], "nano-roberta", 1, True),
        (["nano-bert", "nano-roberta"], "roberta-base", 1, False),
        (["google-bert/bert-base-cased", "albert-base-v2"], "albert-base-v2", 2, False),
        (["bert-base-cased", "roberta-large"], "roberta-large", None, None),
        (["bert-base-cased", "gpt2"], "gpt2", None, None),
    ],
)
def test_a_published_number_stands_beside_the_row_of_its_models(
    tmp_path, row, model, ours, same
) -> None:
    cells = [
        ("k", {"source": "nano-bert", "target": target, "way": "paper"}, {"score": 0.1 * i})
        for i, target in enumerate(("nano-roberta", "nano-albert", "nano-t5"), 1)
    ]
    published = {"table": "t", "row": row, "column": "paper", "value": 0.25, "source": "P"}
    run = write_run(
        tmp_path / "run",
        cells,
        report={
            "tables": [{**TABLE, "rows": ["source", "target"]}],
            "published": [{**published, "model": model}],
        },
    )
    report = make_report(read_run(run))
    (found,) = report.published["t"]
    assert found.same_models is same
    assert report.beside == (ours is not None)
    if ours is None:
        assert found.sentence == f"published on {model}; no number of ours"
    else:
        assert found.entry.mean.value == pytest.approx(0.1 * ours)
        assert found.sentence.startswith(
            f"published on {model}, ours on {found.row[1]} from nano-b"
        )
        assert ("other models" in found.sentence) is not same


@pytest.mark.long
def test_the_cost_adds_up(report) -> None:
    done = [cell for cell in report.run.cells if cell.state == "finished"]
    total = report.cost.total
    assert total.seconds == pytest.approx(sum(c.seconds for c in done))
    hours = sum(c.processor_seconds for c in done) / 3600
    assert report.cost.energy == pytest.approx(hours * 15)
    assert (report.cost.workers, len(report.cost.lines)) == (2, 5)
    # From the start of the first cell, which took 1.5 s and ended at 18:00:00, to 18:03:33.
    assert report.cost.span == pytest.approx(3 * 60 + 33 + 1.5)
    with pytest.raises(PromptPortError, match="watts: expected a number above 0, got 0"):
        make_report(report.run, watts=0)


def test_what_was_not_run_is_listed_with_its_reason(report) -> None:
    states = [each.state for each in report.not_run]
    assert [states.count(s) for s in ("failed", "missing", "left out")] == [2, 3, 1]
    assert report.not_run[0].why == "RuntimeError: expected finite logits, got nan (tried 3 times)"
    assert report.not_run[-1].why == "the two models share 12 words, the least is 32"
    assert MODELS[0] in report.not_run[-1].what


def test_of_many_cells_that_were_not_run_the_first_are_named(tmp_path) -> None:
    cells = [("k", {"n": n}, None) for n in range(25)] + [("j", {"n": 0}, "why")]
    told = make_report(read_run(write_run(tmp_path / "run", cells))).not_run
    assert [each.what for each in told[:2]] == ["j: n 0", "k: n 0"]
    assert (len(told), told[0].why, told[-1].what) == (22, "why", "and 5 more cells")
    assert told[-1].why == "not run, or stopped before it was finished"


def test_the_standing_of_a_run_is_one_sentence(report) -> None:
    assert report.standing() == (
        "209 of 214 cells are finished, 2 failed, 3 not run yet, 1 left out of the grid."
    )
