"""Summing up pairs and larger sets of tasks: kept shares, lost tasks, the best way, tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.task_vectors.common import MORE_ROWS, bits_of
from benchmarks.task_vectors.fit_forecast import fit_forecast
from benchmarks.task_vectors.moved import PAPER

from promptport.experiments.result_store import Cell
from promptport.experiments.retention import (
    Combined,
    TaskRetention,
    WayRecord,
    record_of,
    retention_of,
    task_retention,
)

PAPER_COLUMN = f"{PAPER.name}: one, mean"
RECONCILED = f"{PAPER.name}: reconciled"
EACH = "chosen for each set on dev"


def shares(scores: Sequence[float], alone: Sequence[float]) -> list[float]:
    """Scores over those of the best single vectors; 0 where these are 0."""
    return [retention_of(s, a) for s, a in zip(scores, alone, strict=True)]


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures and tables of one cell per set, with all its ways. The best way is one for all
    pairs, see `best_way`; a choice for each pair has only a few rows to go by."""
    pairs = [cell for cell in cells if len(cell["tasks"]) == 2]
    larger = [cell for cell in cells if len(cell["tasks"]) > 2]
    summary: dict[str, float] = {"pairs": len(pairs), "larger_sets": len(larger)}
    best = best_way([cell["found"] for cell in pairs]) if pairs else ""
    tables: dict[str, Any] = {"pairs": _ways(pairs), "larger": _ways(larger), "best": best}
    for name, prefix in (("pairs", "pairs"), ("larger", "larger_sets")):
        for row in tables[name]:
            for short, way in (("paper", PAPER_COLUMN), ("best", best)):
                if row["way"] == way:
                    summary[f"{prefix}_wiped_{short}"] = row["wiped"]
                    summary[f"{prefix}_kept_{short}"] = row["mean"]
    tables["more"] = {}
    for cells_of, prefix in ((pairs, "pairs"), (larger, "larger_sets")):
        rows = tables["more"][prefix] = _on_more_rows(cells_of)
        for row, short in zip(rows, ("paper", "reconciled"), strict=False):
            summary[f"{prefix}_wiped_{short}_more_rows"] = row["wiped"]
            summary[f"{prefix}_wiped_{short}_beyond_noise"] = row["beyond_noise"]
    tables["tests"] = _tests(pairs, best)
    tables["each"] = [_each(cell, best) for cell in cells]
    forecasts, known = fit_forecast(pairs)
    return {**summary, **forecasts}, {**tables, "forecast": known}


def _shares_of(found: Mapping[str, Any], way: str, split: str) -> list[float]:
    """Kept shares of a way. One that was made later has scores of its own single prompts: tuned
    anew beside other tasks, they are not the same to the bit."""
    own = found["ways"][way]
    return shares(own[split], own.get("alone", found["alone"])[split])


def _dev_value(found: Mapping[str, Any], way: str) -> tuple[float, float]:
    """Smallest and mean kept share on dev; more than the whole counts as the whole."""
    shares = [min(1.0, s) for s in _shares_of(found, way, "dev")]
    return min(shares), fmean(shares)


def best_way(found: Sequence[Mapping[str, Any]]) -> str:
    """The way with the best mean, over sets, of the smallest kept share on dev.

    Ways whose coefficients were searched on these very rows are left out: there they look better
    than they are.
    """
    searched = found[0].get("coefficients", {})
    fair = [way for way in found[0]["ways"] if way not in searched]
    return max(fair, key=lambda way: fmean(_dev_value(f, way)[0] for f in found))


def choose(found: Mapping[str, Any]) -> str:
    """The way for one set: best smallest kept share on dev, between equal ones the best mean."""
    return max(found["ways"], key=lambda way: _dev_value(found, way))


def _kept(found: Mapping[str, Any], way: str) -> list[float]:
    name = choose(found) if way == EACH else way
    return _shares_of(found, name, "test")


def _sets(cells: Sequence[Cell], way: str) -> list[Combined]:
    """Every set in one way, or in the way that is chosen for it."""
    sets = []
    for cell in cells:
        name = choose(cell["found"]) if way == EACH else way
        own = cell["found"]["ways"][name]
        alone = own.get("alone", cell["found"]["alone"])["test"]
        scores = zip(cell["tasks"], own["test"], alone, strict=True)
        tasks = tuple(task_retention(task, (score, single)) for task, score, single in scores)
        sets.append(Combined(way, tasks, None))
    return sets


def _record(
    cells: Sequence[Cell], sets: Sequence[Combined], first: Sequence[Combined]
) -> WayRecord:
    """Retention over all sets; intervals draw tasks, which sets share."""
    return record_of(sets, first, [cell["tasks"] for cell in cells], fewest=1)


def _tests(cells: Sequence[Cell], best: str) -> dict[str, Any]:
    """Smaller retention of each pair less that by paper B's way, its interval over tasks."""
    if not cells or best == PAPER_COLUMN:
        return {}
    reference = _sets(cells, PAPER_COLUMN)
    gains = {way: _record(cells, _sets(cells, way), reference).gain for way in (best, EACH)}
    return {way: vars(gain) for way, gain in gains.items()}


def _ways(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Per way: retention over sets and tasks, and how many sets lose a task."""
    if not cells:
        return []
    rows = []
    for way in (*cells[0]["found"]["ways"], EACH):
        sets = _sets(cells, way)
        row = _row(_record(cells, sets, sets))
        if way != EACH:
            smallest = fmean(_dev_value(c["found"], way)[0] for c in cells)
            row["dev_smallest"] = round(smallest, 4)
        rows.append(row)
    return rows


def _row(record: WayRecord) -> dict[str, Any]:
    """A record under the names of the committed tables."""
    assert record.interval is not None
    row = {
        "way": record.way,
        "sets": record.sets,
        "mean": record.interval.value,
        "low": record.interval.low,
        "high": record.interval.high,
        "smallest": record.weakest,
        "worst": record.worst,
        "wiped": record.lost,
    }
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def _on_more_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Paper B's way and the reconciled prompt on more test rows; a task is lost beyond noise if
    the 95% interval over rows of its score less 80% of the single prompt's lies below zero."""
    known = [cell["found"]["more"] for cell in cells if "more" in cell["found"]]
    if not known or len(known) < len(cells):
        return []
    rows = []
    for way in (PAPER_COLUMN, RECONCILED):
        sets = [
            Combined(way, tuple(map(_on_rows, cell["tasks"], more[way], more["alone"])), None)
            for cell, more in zip(cells, known, strict=True)
        ]
        record = _record(cells, sets, sets)
        rows.append({**_row(record), "beyond_noise": record.beyond_noise})
    return rows


def _on_rows(task: str, way: Cell, alone: Cell) -> TaskRetention:
    return task_retention(task, (way["score"], alone["score"]), (bits_of(way), bits_of(alone)))


def _each(cell: Cell, best: str) -> dict[str, Any]:
    found = cell["found"]
    return {
        "backbone": cell["backbone"],
        "seed": cell["seed"],
        "tasks": cell["tasks"],
        "chosen": choose(found),
        "kept_paper": [round(v, 3) for v in _kept(found, PAPER_COLUMN)],
        "kept_best": [round(v, 3) for v in _kept(found, best)],
    }


def _line(row: Mapping[str, Any], best: str) -> str:
    way = f"**{row['way']}**" if row["way"] == best else row["way"]
    kept = f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    numbers = f"{row['smallest']:.3f} | {row['worst']:.3f} | {row['wiped']}"
    return f"| {way} | {row['sets']} | {kept} | {numbers} |"


def table(tables: Mapping[str, Any]) -> str:
    """The tables in Markdown."""
    lines: list[str] = []
    for title in ("pairs", "larger"):
        if not tables[title]:
            continue
        what = "pairs" if title == "pairs" else "sets of three and four"
        lines += [
            f"| {what}: way | sets | kept share [95%] | of the weaker task | worst | a task lost |",
            "|---" * 6 + "|",
            *(_line(row, tables["best"]) for row in tables[title]),
            "",
        ]
    if tables["more"]["pairs"]:
        lines += [
            f"| on up to {MORE_ROWS} test rows: way | sets | kept share [95%] | of the weaker task "
            "| worst | a task lost | beyond noise |",
            "|---" * 7 + "|",
        ]
        for prefix, what in (("pairs", "pairs"), ("larger_sets", "three and four")):
            for row in tables["more"][prefix]:
                named = {**row, "way": f"{what}: {row['way']}"}
                lines.append(f"{_line(named, '')} {row['beyond_noise']} |")
        lines.append("")
    gains = (
        f"{way} {test['value']:+.3f} [{test['low']:+.3f}, {test['high']:+.3f}]"
        for way, test in tables["tests"].items()
    )
    lines += [f"Of the weaker task of a pair, beyond {PAPER_COLUMN}: {', '.join(gains)}.", ""]
    chosen: dict[str, int] = defaultdict(int)
    for each in tables["each"]:
        chosen[each["chosen"]] += 1
    often = sorted(chosen.items(), key=lambda item: -item[1])
    lines += [f"Chosen for each set: {', '.join(f'{way} ({count})' for way, count in often)}.", ""]
    known = tables["forecast"]
    if known:
        lines += [
            "| forecast of a way to combine | verdict | said | right [95%] |",
            "|---" * 4 + "|",
        ]
        for way, record in known["by_way"].items():
            for verdict in ("kept", "at risk", "lost"):
                if record[verdict]:
                    said, right, low, high = record[verdict]
                    lines.append(
                        f"| {way} | {verdict} | {said} | {right:.2f} [{low:.2f}, {high:.2f}] |"
                    )
        lines += ["", "| all three | said | right |", "|---|---|---|"]
        for r in known["reliability"]:
            right = "" if r["right"] is None else f"{r['right']:.2f}"
            lines.append(f"| {r['verdict']} | {r['said']} | {right} |")
    return "\n".join(lines) + "\n"
