"""Summing up vectors on other origins: kept shares, the best training, tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.task_vectors.common import MORE_ROWS, Training, apart, bits_of, over_seeds
from scipy.stats import spearmanr

from promptport.analysis import bootstrap_mean, bootstrap_ratio, compare_to
from promptport.analysis.robustness import MOVES
from promptport.experiments.result_store import Cell

PAPER = Training("one origin")
SHARED = Training("64 origins", origins=64)
SMALL = Training("small origin", scale=0.1)
ANCHORED = Training("anchored", kind="mixture")
ON_ITS_KIND = f"{SMALL.name}, on small ones"
AVERAGED = "averaged"
WIDENED = "widened"
BARE = "bare"  # part of the cells of origins without a vector
TRAININGS = (PAPER, SHARED, SMALL)  # on every task
CHEAP = (ANCHORED.name, AVERAGED)  # on embedded tasks only
EVERY = (WIDENED, *(t.name for t in TRAININGS[1:]), *CHEAP)  # beside paper B's
MARGIN = 0.1
SURE = 0.95  # a kept share that can be told from the whole on a few hundred rows


def has_learned(found: Mapping[str, Any]) -> bool:
    """Whether a directly tuned prompt beats the majority answer, beyond its interval and by enough
    for a kept share of it to say something."""
    return found["own_low"] > found["majority"] and _beats_majority(found, found["own"])


def _beats_majority(found: Mapping[str, Any], score: float) -> bool:
    return bool(score >= found["majority"] + MARGIN)


def learnable(cells: Iterable[Cell], name: str, seed: int) -> set[str]:
    """Tasks that the directly tuned prompt of a seed has learned."""
    return {
        cell["task"]
        for cell in cells
        if cell["part"] == "origins"
        and (cell["backbone"], cell["seed"], cell["training"]) == (name, seed, PAPER.name)
        and has_learned(cell["found"])
    }


def summarise(cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """Flat figures and tables; kept share is the score on other origins over that on the own."""
    bare = {(c["backbone"], c["task"]): c["found"]["right"] for c in cells if c["part"] == BARE}
    cells = [cell for cell in cells if cell["part"] != BARE]
    direct = {_place(c): c["found"] for c in cells if c["training"] == PAPER.name}
    learned = {p for p, f in direct.items() if has_learned(f)}
    by_training: dict[str, dict[tuple[str, str, int], Any]] = defaultdict(dict)
    for cell in cells:
        found = cell["found"]
        # Tuned anew, the prompt that was widened may have learned less.
        again = "direct" not in found or _beats_majority(found, found["direct"])
        if _place(cell) in learned and again:
            by_training[cell["training"]][_place(cell)] = found
            if cell["training"] == SMALL.name:
                there = {**found, "other": found["alike"]}
                by_training[ON_ITS_KIND][_place(cell)] = there
    left_out = sorted({f"{task} ({name})" for name, task, _ in direct.keys() - learned})
    summary: dict[str, float] = {"origins.cells": len(cells), "origins.learned": len(learned)}
    if not learned:
        empty: dict[str, Any] = {"trainings": [], "more": [], "tasks": []}
        return summary, {**empty, "left_out": left_out, "best": None}
    paper = by_training[PAPER.name].values()
    lengths, shares = [f["length_ratio"] for f in paper], [_kept(f) for f in paper]
    if min(len(set(lengths)), len(set(shares))) > 1:
        ranked = float(spearmanr(lengths, shares).statistic)
        summary["own_to_other_paper_length_rank"] = round(ranked, 4)
    rows = [_row(n, f, direct) for n, f in by_training.items()]
    whole, common = _comparable(by_training)
    best = max(
        whole, key=lambda n: sum(fmean(by_training[n][place]["dev_other"]) for place in common)
    )
    for row in rows:
        for key, name in ((best, ""), (PAPER.name, "_paper"), (ON_ITS_KIND, "_small")):
            if row["training"] == key:
                summary |= {f"own_to_other{name}_{w}": row[w] for w in ("mean", "min", "worst")}
                summary[f"own_to_other{name}_of_direct"] = row["of_direct"]
    more = [_on_more_rows(by_training[WIDENED], key, bare) for key in ("paper", "wide")]
    for row, key in zip(more, ("_paper", ""), strict=True):
        for what in ("mean", "min", "below", "below_beyond_noise", "above_95", "added"):
            if what in row:
                summary[f"own_to_other{key}_{what}_more_rows"] = row[what]
    tests = _tests(by_training, whole, common)
    tasks = [
        {"backbone": name, "task": task, **_by_task(by_training, name, task)}
        for name, task in sorted({(n, t) for n, t, _ in learned})
    ]
    return summary, {
        "trainings": rows,
        "best": best,
        "more": [row for row in more if row],
        "tests": tests,
        "tasks": tasks,
        "left_out": left_out,
    }


def _comparable(
    by_training: Mapping[str, Mapping[tuple[str, str, int], Any]],
) -> tuple[list[str], list[tuple[str, str, int]]]:
    """Trainings of every task, and the cells that all of them have: not every training need be
    there for every seed. Where there are none in common, the rarest training is left out."""
    names = [n for n in (PAPER.name, *EVERY) if n not in CHEAP and by_training.get(n)]
    while True:
        common = set.intersection(*(set(by_training[n]) for n in names))
        if common:
            return names, sorted(common)
        names.remove(min(names, key=lambda n: len(by_training[n])))


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell["backbone"], cell["task"], cell["seed"]


def _kept(found: Mapping[str, Any]) -> float:
    return fmean(found["other"]) / found["own"] if found["own"] else 0.0


def _of_direct(found: Mapping[str, Any], direct: Mapping[str, Any]) -> float:
    """Score on other origins over that of the directly tuned prompt, of a widened vector the one
    that it comes from. Unlike the kept share it is not raised by a bad score on the own origin."""
    return fmean(found["other"]) / float(found.get("direct", direct["own"]))


def _row(
    training: str, found: Mapping[tuple[str, str, int], Any], direct: Mapping[Any, Any]
) -> dict[str, Any]:
    kept = {place: _kept(f) for place, f in found.items()}
    tasks: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (name, task, _), value in kept.items():
        tasks[name, task].append(value)
    interval = bootstrap_mean([fmean(v) for v in tasks.values()], units=[(t,) for _, t in tasks])
    of_direct = {p: _of_direct(f, direct[p]) for p, f in found.items()}
    by_kind = apart((p[1], value) for p, value in of_direct.items())
    row = {
        "training": training,
        "cells": len(found),
        "own": fmean(f["own"] for f in found.values()),
        "other": fmean(fmean(f["other"]) for f in found.values()),
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        "min": min(fmean(values) for values in tasks.values()),
        "worst": min(min(f["other"]) / f["own"] for f in found.values() if f["own"]),
        "of_direct": fmean(of_direct.values()),
        **{f"of_direct_{kind}": mean for kind, mean in by_kind.items()},
        "length_ratio": fmean(f["length_ratio"] for f in found.values()),
    }
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def _on_more_rows(
    cells: Mapping[tuple[str, str, int], Any], key: str, bare: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    """Of the score of the directly tuned prompt, what its vector (`paper`) or the widened one
    (`wide`) has on other origins, over more rows; how many tasks keep less than 99%; and how far
    of the way from the bare origins to that score the vectors lead, in the mean of the tasks."""
    tasks: dict[tuple[str, str], list[tuple[list[int], list[float]]]] = defaultdict(list)
    seeds: dict[str, list[int]] = defaultdict(list)
    for (name, task, seed), found in cells.items():
        direct = bits_of({"right": found["paper"][0]})
        other = [bits_of({"right": bits}) for bits in found[key][1:]]
        tasks[name, task].append((direct, over_seeds(other)))
        seeds[f"{task} ({name})"].append(seed)
    if not tasks:
        return {}
    kept, below, above = {}, 0, 0
    for place, parts in tasks.items():
        kept[place] = fmean(fmean(other) / fmean(direct) for direct, other in parts)
        ends = (over_seeds(side) for side in zip(*parts, strict=True))
        rows = list(zip(*ends, strict=True))
        below += bootstrap_mean([o - MOVES * d for d, o in rows]).high < 0
        above += bootstrap_mean([o - SURE * d for d, o in rows]).low > 0
    interval = bootstrap_mean(list(kept.values()), units=[(task,) for _, task in kept])
    by_kind = apart((task, value) for (_, task), value in kept.items())
    added = _added(tasks, bare)
    row = {
        "way": {"paper": PAPER.name, "wide": WIDENED}[key],
        "tasks": len(kept),
        "mean": interval.value,
        "low": interval.low,
        "high": interval.high,
        **by_kind,
        "min": min(kept.values()),
        "below": sum(value < MOVES for value in kept.values()),
        "below_beyond_noise": below,
        "above_95": above,
        **added,
    }
    each = {
        f"{task} ({name})": [round(fmean(other) / fmean(direct), 3) for direct, other in parts]
        for (name, task), parts in tasks.items()
    }
    plain = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
    return {**plain, "seeds": dict(seeds), "each": each}


def _added(
    tasks: Mapping[tuple[str, str], Sequence[tuple[Sequence[float], Sequence[float]]]],
    bare: Mapping[tuple[str, str], Any],
) -> dict[str, float]:
    """Mean over tasks of what vectors are above bare origins, over that of the tuned prompts; none
    where not all bare origins are there."""
    if not tasks.keys() <= bare.keys():
        return {}
    above, below, without = [], [], []
    for place, parts in tasks.items():
        without.append(fmean(fmean(bits_of({"right": bits})) for bits in bare[place]))
        above.append([fmean(fmean(other) for _, other in parts) - without[-1]])
        below.append([fmean(fmean(direct) for direct, _ in parts) - without[-1]])
    found = bootstrap_ratio(above, below, units=[(task,) for _, task in tasks])
    ends = {"added_low": found.low, "added_high": found.high}
    return {"bare": fmean(without), "added": found.value, **ends}


def _tests(
    by_training: Mapping[str, Mapping[Any, Any]], whole: Sequence[str], places: Sequence[Any]
) -> dict[str, Any]:
    """Of the directly tuned score, against paper B's training, task by task, with Holm's
    correction."""
    direct = by_training[PAPER.name]
    shares = {n: [_of_direct(by_training[n][p], direct[p]) for p in places] for n in whole}
    reference = shares.pop(PAPER.name)
    tasks = [task for _, task, _ in places]
    found = compare_to(reference, shares, groups=tasks) if shares else {}
    return {name: comparison.to_dict() for name, comparison in found.items()}


def _by_task(by_training: Mapping[str, Mapping[Any, Any]], name: str, task: str) -> dict[str, Any]:
    found = {}
    for training, cells in by_training.items():
        own = [f for (n, t, _), f in cells.items() if (n, t) == (name, task)]
        if own:
            found[training] = {
                "own": round(fmean(f["own"] for f in own), 4),
                "other": round(fmean(fmean(f["other"]) for f in own), 4),
                "kept": round(fmean(_kept(f) for f in own), 4),
            }
    return found


def _way(row: Mapping[str, Any]) -> str:
    if "added" not in row:
        return "| - | - |"
    ends = f"[{row['added_low']:.3f}, {row['added_high']:.3f}]"
    return f"| {row['bare']:.3f} | {row['added']:.3f} {ends} |"


def table(tables: Mapping[str, Any]) -> str:
    """The tables in Markdown."""
    lines = [
        "| training | cells | own origin | other origins | kept share [95%] | least task | worst "
        "origin | of the directly tuned score: all, embedded, real | length of T / P_0 |",
        "|---" * 9 + "|",
    ]
    for r in tables["trainings"]:
        name = f"**{r['training']}**" if r["training"] == tables["best"] else r["training"]
        keys = ("of_direct", "of_direct_embedded", "of_direct_real")
        direct = ["-" if r.get(key) is None else f"{r[key]:.3f}" for key in keys]
        lines.append(
            f"| {name} | {r['cells']} | {r['own']:.3f} | {r['other']:.3f} | {r['mean']:.3f} "
            f"[{r['low']:.3f}, {r['high']:.3f}] | {r['min']:.3f} | {r['worst']:.3f} "
            f"| {', '.join(direct)} | {r['length_ratio']:.2f} |"
        )
    gains = (
        f"{name} {test['difference']['value']:+.3f} [{test['difference']['low']:+.3f}, "
        f"{test['difference']['high']:+.3f}], p (Holm) {test['adjusted']:.3f}"
        for name, test in tables.get("tests", {}).items()
    )
    lines += ["", f"Of the directly tuned score, more than {PAPER.name}: {'; '.join(gains)}."]
    names = [r["training"] for r in tables["trainings"]]
    lines += ["", f"| kept share | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row in tables["tasks"]:
        shares = (f"{row[n]['kept']:.3f}" if n in row else "" for n in names)
        lines.append(f"| {row['task']} ({row['backbone']}) | {' | '.join(shares)} |")
    if tables["more"]:
        lines += [
            "",
            f"| on up to {MORE_ROWS} test rows, of the directly tuned score: vector | tasks "
            "| on other origins [95%] | embedded, real | least task | below 99% | beyond noise "
            "| above 95% for certain | bare origins | of the way from these [95%] |",
            "|---" * 10 + "|",
        ]
    for r in tables["more"]:
        kinds = ", ".join(f"{r[kind]:.3f}" if kind in r else "-" for kind in ("embedded", "real"))
        lines.append(
            f"| {r['way']} | {r['tasks']} | {r['mean']:.3f} [{r['low']:.3f}, {r['high']:.3f}] "
            f"| {kinds} | {r['min']:.3f} | {r['below']} | {r['below_beyond_noise']} "
            f"| {r['above_95']} {_way(r)}"
        )
    if tables["more"]:
        lines += ["", *_each_on_more_rows(tables["more"])]
    lines += ["", f"Not learned, left out: {', '.join(tables['left_out']) or 'none'}."]
    return "\n".join(lines) + "\n"


def _each_on_more_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same task by task, seed by seed."""
    ways = [r["way"] for r in rows]
    lines = [f"| the same by task | seeds | {' | '.join(ways)} |", "|---" * (len(ways) + 2) + "|"]
    for task, seeds in rows[0]["seeds"].items():
        shares = (", ".join(f"{share:.3f}" for share in r["each"][task]) for r in rows)
        lines.append(f"| {task} | {', '.join(map(str, seeds))} | {' | '.join(shares)} |")
    return lines
