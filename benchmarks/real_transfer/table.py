"""From cells of moved prompts to figures and tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from statistics import fmean
from typing import Any

from benchmarks.real_models.table import rows_of, score_of
from benchmarks.real_models.tasks import Limits
from benchmarks.real_transfer.ways import COLUMNS, STAGES

from promptport.experiments.result_store import Cell
from promptport.moving.expected_score import forecast

TUNED = "tuned_suffix"
ON_TARGET = {
    "majority": "majority",
    "no_prompt": "no prompt",
    "manual_prior": "manual, prior off",
    TUNED: "tuned there",
}
Key = tuple[str, str, str]  # source, target, task
LEAST_GAIN = 0.03  # of tuning over the template, below which shares of it are noise


def by_pair(cells: Iterable[Cell]) -> dict[Key, dict[str, list[Cell]]]:
    """Cells of every pair of models and task by way."""
    found: dict[Key, dict[str, list[Cell]]] = {}
    for cell in cells:
        key = (cell["source"], cell["target"], cell["task"])
        found.setdefault(key, {}).setdefault(cell["way"], []).append(cell)
    return found


def with_baselines(
    cells: Iterable[Cell], known: Iterable[Cell]
) -> dict[Key, dict[str, list[Cell]]]:
    """The same with the cells of `real_models` on the target, and `source` of the same seeds."""
    own: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in known:
        own.setdefault((cell["model"], cell["task"], cell["way"]), []).append(cell)
    found = by_pair(cells)
    for (source, target, task), ways in found.items():
        seeds = {cell["seed"] for moved in ways.values() for cell in moved}
        for way in ON_TARGET:
            there = own.get((target, task, way), [])
            ways[way] = [c for c in there if way != TUNED or c["seed"] in seeds]
        there = own.get((source, task, TUNED), [])
        ways["source"] = [c for c in there if c["seed"] in seeds]
    return found


def _mean(cells: Iterable[Cell], value: str = "score") -> float | None:
    values = [cell[value] for cell in cells if cell.get(value) is not None]
    return fmean(values) if values else None


def summarise(
    cells: Iterable[Cell], known: Iterable[Cell], developed: Collection[Key]
) -> dict[str, float]:
    """The figures of `summary.json`; cells that were developed on have figures of their own."""
    found = with_baselines(cells, known)
    figures: dict[str, float] = {}
    for prefix, inside in (("", False), ("developed.", True)):
        part = {k: ways for k, ways in found.items() if (k in developed) == inside}
        for way in (*COLUMNS, *STAGES):
            figures |= {f"{prefix}{way}.{n}": v for n, v in _of_way(part, way).items()}
        figures[f"{prefix}cells"] = sum(
            len(c) for ways in part.values() for w, c in ways.items() if w in COLUMNS
        )
    return {name: round(value, 4) for name, value in figures.items()}


def _of_way(found: Mapping[Key, Mapping[str, list[Cell]]], way: str) -> dict[str, float]:
    """Score, share of tuning on the target, share of its gain, and how often and how dear."""
    lists: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        lists.setdefault(name, []).append(value)

    for ways in found.values():
        score = _mean(ways.get(way, ()))
        if score is None:
            continue
        add("score", score)
        tuned, manual = _mean(ways[TUNED]), _mean(ways["manual_prior"])
        source = _mean(ways["source"])
        if tuned is not None:
            add("retention", score / tuned)
        if manual is not None:
            add("beats_manual_prior_share", float(score > manual))
        if tuned is not None and manual is not None and tuned - manual > LEAST_GAIN:
            add("gain_kept", (score - manual) / (tuned - manual))
        if source is not None:
            add("above_source", score - source)
        for name, value in _forecast(ways, way).items():
            add(name, value)
        costs = _mean(ways[way], "processor"), _mean(ways[TUNED], "processor")
        if costs[0] is not None and costs[1]:
            add("cost_ratio", costs[0] / costs[1])
    return {name: fmean(values) for name, values in lists.items()}


def _forecast(ways: Mapping[str, list[Cell]], way: str) -> dict[str, float]:
    """Whether the scores lay in the interval that the move told, and how wide that was."""
    sources = {cell["seed"]: cell["dev"] for cell in ways["source"]}
    told = [
        (cell["score"], forecast(sources[cell["seed"]], cell["same"], Limits().dev))
        for cell in ways.get(way, ())
        if cell.get("same") is not None and cell["seed"] in sources and _asks_texts(way)
    ]
    if not told:
        return {}
    return {
        "predicted_within": fmean(own.low <= score <= own.high for score, own in told),
        "predicted_width": fmean(own.high - own.low for _, own in told),
    }


def _asks_texts(way: str) -> bool:
    """Whether the move asked texts of the task: no score is told otherwise."""
    return {**COLUMNS, **STAGES}[way].texts == "task"


def table(cells: Iterable[Cell], known: Iterable[Cell], developed: Collection[Key]) -> str:
    """One table of the cells that settings were not chosen on, and one of the others."""
    found = with_baselines(cells, known)
    parts = []
    for title, inside in (("Cells", False), ("Cells that settings were chosen on", True)):
        part = {k: ways for k, ways in found.items() if (k in developed) == inside}
        if part:
            parts.append(f"## {title}\n\n{_table(part)}")
    return "\n".join(parts)


def _table(found: Mapping[Key, Mapping[str, list[Cell]]]) -> str:
    ways = [w for w in (*COLUMNS, *STAGES) if any(own.get(w) for own in found.values())]
    head = ["from, to, task", "source", *ON_TARGET.values(), *ways]
    lines = [_line(head), _line(["---"] * len(head))]
    for (source, target, task), own in found.items():
        scores = [_score(own.get(way, ())) for way in ("source", *ON_TARGET, *ways)]
        lines.append(_line([f"{source}, {target}, {task}", *scores]))
    return "\n".join(lines) + "\n"


def _score(cells: Any) -> str:
    if not cells:
        return ""
    value, low, high = score_of(cells)
    if rows_of(cells) is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.2f}, {high:.2f}]"


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"
