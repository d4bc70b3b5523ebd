"""Summing up few-shot curves: areas, wins and losses against the best single source, tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.task_vectors.common import apart, over_seeds

from promptport.analysis import bootstrap_mean, compare_to
from promptport.experiments.few_shot import right_per_row
from promptport.experiments.result_store import Cell

COLUMNS = (
    *("random", "best single", "picked", "together", "factors", "mean", "sum", "attention"),
    *("ranked", "adapted"),
)
REFERENCE = "best single"
JUDGED = "adapted"
MARGIN = 0.1  # by how much a task tuned on all rows must beat the majority answer on dev


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures, and the tables.

    The area under a curve is the mean score over the row counts (which grow about geometrically).
    A win is a target of a backbone where the area of `adapted` is above that of the best single
    source; a loss is one where the 95% interval of the difference over test rows lies below zero.
    Intervals and tests of the means are over tasks: backbones share them. The best single source is
    the one with the best dev score before any tuning.
    """
    curves = _curves(cells)
    places = sorted({(c["backbone"], c["task"]) for c in curves})
    counts = sorted({c["rows"] for c in curves})
    areas = _areas(curves)
    rows, compared = [], {}
    for column in COLUMNS:
        own = {p: areas[column, *p] for p in places if (column, *p) in areas}
        if not own:
            continue
        by_kind = apart((p[1], fmean(a)) for p, a in own.items())
        differences = {p: _difference(areas, column, p) for p in own}
        wins = [p for p, d in differences.items() if d["value"] > 0]
        losses = [p for p, d in differences.items() if d["high"] < 0]
        rows.append(
            {
                "column": column,
                "targets": len(own),
                "area": round(fmean(fmean(a) for a in own.values()), 4),
                **{f"area_{kind}": round(mean, 4) for kind, mean in by_kind.items()},
                "wins": len(wins),
                "wins_beyond_noise": sum(d["low"] > 0 for d in differences.values()),
                "losses": len(losses),
                **{
                    f"rows {count}": round(
                        fmean(
                            c["score"]
                            for c in curves
                            if c["column"] == column and c["rows"] == count
                        ),
                        4,
                    )
                    for count in counts
                },
            }
        )
        if column != REFERENCE:
            compared[column] = [fmean(own[p]) for p in own]
    reference = [fmean(areas[REFERENCE, *p]) for p in places if (REFERENCE, *p) in areas]
    full = {name: a for name, a in compared.items() if len(a) == len(reference)}
    tasks = [p[1] for p in places if (REFERENCE, *p) in areas]
    tests = compare_to(reference, full, groups=tasks) if reference else {}
    for row in rows:
        if row["column"] in tests:
            test = tests[row["column"]]
            row |= {
                "gain_points": round(100 * test.difference.value, 2),
                "low": round(100 * test.difference.low, 2),
                "high": round(100 * test.difference.high, 2),
                "p_holm": round(test.adjusted, 4),
            }
    found = {row["column"]: row for row in rows}
    summary: dict[str, float] = {"fewshot_targets": len(places)}
    if JUDGED in found:
        summary["fewshot_wins"] = found[JUDGED]["wins"]
        summary["fewshot_losses"] = found[JUDGED]["losses"]
    gaps = _pick_gaps(cells, curves, areas)
    summary |= {name: round(fmean(values), 3) for name, values in gaps.items() if values}
    tables = {
        "starts": rows,
        "targets": _by_target(areas, places),
        "left_out": _left_out(cells),
        "chosen": _chosen(curves),
    }
    return summary, tables


def _curves(cells: Sequence[Cell]) -> list[Cell]:
    """Cells of curves whose every column and row count is there."""
    found = [c for c in cells if c["column"] in COLUMNS]
    counts = {c["rows"] for c in found}
    groups: dict[tuple[Any, ...], int] = defaultdict(int)
    for c in found:
        groups[c["backbone"], c["task"], c["seed"]] += 1
    whole = {key for key, n in groups.items() if n == len(COLUMNS) * len(counts)}
    return [c for c in found if (c["backbone"], c["task"], c["seed"]) in whole]


def _areas(curves: Sequence[Cell]) -> dict[tuple[str, str, str], list[float]]:
    """Per (column, backbone, task): per test row the mean over row counts and seeds."""
    by_count: dict[tuple[str, str, str], dict[int, list[Cell]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for c in sorted(curves, key=lambda c: (c["seed"], c["rows"])):
        by_count[c["column"], c["backbone"], c["task"]][c["rows"]].append(c)
    return {key: over_seeds(right_per_row(cells)) for key, cells in by_count.items()}


def _difference(
    areas: Mapping[tuple[str, str, str], list[float]],
    column: str,
    place: tuple[str, str],
    reference: str = REFERENCE,
) -> dict[str, float]:
    pairs = zip(areas[column, *place], areas[reference, *place], strict=True)
    found = bootstrap_mean([a - b for a, b in pairs])
    return {"value": found.value, "low": found.low, "high": found.high}


def _pick_gaps(
    cells: Sequence[Cell], curves: Sequence[Cell], areas: Mapping[tuple[str, str, str], list[float]]
) -> dict[str, list[float]]:
    """Points by which the label-free pick is behind: at 0 rows to the source that dev labels choose
    (`pick_gap_points`) and to the best on test (`_oracle`, which no one could have chosen), and
    over the whole curve to the former (`_area`)."""
    zero = {(_key(c), c["column"]): c["score"] for c in curves if c["rows"] == 0}
    oracle: dict[tuple[Any, ...], float] = {}
    for c in cells:
        if c["column"].startswith("single ") and c["rows"] == 0:
            oracle[_key(c)] = max(oracle.get(_key(c), 0.0), c["score"])
    places = sorted({_key(c) for c in curves})
    return {
        "pick_gap_points": [100 * (zero[p, REFERENCE] - zero[p, "picked"]) for p in places],
        "pick_gap_points_oracle": [100 * (oracle[p] - zero[p, "picked"]) for p in places],
        "pick_gap_points_area": [
            100 * (fmean(areas[REFERENCE, b, t]) - fmean(areas["picked", b, t]))
            for b, t in sorted({(p[0], p[1]) for p in places})
        ],
    }


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell["backbone"], cell["task"], cell["seed"]


def _by_target(
    areas: Mapping[tuple[str, str, str], list[float]], places: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Area of every start per target, and `adapted` against the best single source."""
    rows = []
    for name, task in places:
        found = {
            column: round(fmean(areas[column, name, task]), 4)
            for column in COLUMNS
            if (column, name, task) in areas
        }
        difference = _difference(areas, JUDGED, (name, task))
        points = {k: round(100 * v, 2) for k, v in difference.items()}
        rows.append({"backbone": name, "task": task, **found, f"{JUDGED}_gain_points": points})
    return rows


def _left_out(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Tasks that tuning on all rows does not learn, by dev rows."""
    return [
        {
            "backbone": c["backbone"],
            "task": c["task"],
            "seed": c["seed"],
            "dev": c["dev"],
            "majority_dev": c["majority_dev"],
        }
        for c in cells
        if c["column"] == "direct" and c["dev"] <= c["majority_dev"] + MARGIN
    ]


def _chosen(curves: Sequence[Cell]) -> list[dict[str, Any]]:
    """What `best single`, `picked`, `ranked` and `adapted` stood for."""
    return [
        {k: c[k] for k in ("backbone", "task", "seed", "column", "rows", "start")}
        for c in curves
        if c["column"] in (REFERENCE, "picked", "ranked", JUDGED)
    ]


def table(tables: Mapping[str, Any]) -> str:
    """The tables of starts and targets in Markdown."""
    rows = tables["starts"]
    counts = [name for name in (rows[0] if rows else {}) if name.startswith("rows ")]
    lines = [
        f"| start | {' | '.join(counts)} | area: all, embedded, real "
        "| gain over the best single source, points [95%] "
        "| p (Holm) | targets won, lost, of |",
        "|---" * (len(counts) + 5) + "|",
    ]
    for r in rows:
        scores = " | ".join(f"{r[count]:.3f}" for count in counts)
        areas = [
            f"{r[key]:.3f}" if key in r else "-" for key in ("area", "area_embedded", "area_real")
        ]
        gain, p = "", ""
        if "gain_points" in r:
            gain = f"{r['gain_points']:+.1f} [{r['low']:+.1f}, {r['high']:+.1f}]"
            p = f"{r['p_holm']:.3f}"
        lines.append(
            f"| {r['column']} | {scores} | {', '.join(areas)} | {gain} | {p} "
            f"| {r['wins']}, {r['losses']}, {r['targets']} |"
        )
    lines += ["", "| backbone | target | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for r in tables["targets"]:
        scores = " | ".join(f"{r[column]:.3f}" for column in COLUMNS)
        lines.append(f"| {r['backbone']} | {r['task']} | {scores} |")
    left = sorted({f"{r['task']} ({r['backbone']})" for r in tables["left_out"]})
    lines += ["", f"Not learned, left out: {', '.join(left) or 'none'}."]
    return "\n".join(lines) + "\n"
