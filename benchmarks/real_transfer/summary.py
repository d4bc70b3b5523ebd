"""What is left of a prompt that moves from one pretrained model to another: figures of a run.

Run from the root of the repository, after `benchmarks.real_models.fetch`:
    promptport run recipes/zero-shot-transfer/real.yaml --data FOLDER --models MODELS
    python -m benchmarks.real_transfer.summary runs/zero-shot-transfer/real

The recipe measures, and goes on where it was. This reads its cells, and writes `summary.json` and
`table.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._command import measured
from benchmarks._result import environment, write_summary
from benchmarks.score_forecast.table import fit, forecasts, held, out_of_task

from promptport.files import write_atomic
from promptport.moving.expected_score import OF_LARGE
from promptport.recipes.reports import read_run

RESULTS = Path(__file__).resolve().parent / "results"
# Settings were chosen on these cells; they are reported apart.
DEVELOPED = {
    *(("smollm2-135m", "gemma3-270m", f"nlu:{task}") for task in ("sst2", "trec", "ag_news")),
    *(("gemma3-270m", "smollm2-135m", f"nlu:{task}") for task in ("sst2", "trec")),
}
WRITTEN = "pocket:"  # text-to-text tasks: scores of other metrics, with figures of their own
ASK_TEXTS = ("move", "move_labels")  # of the others no score is told before
WRITING = "move_short"  # of tasks whose answers are written
# Prompts of short texts stand in front, and count like those of other tasks.
IN_FRONT = {"front": "free", "move_front": "move", "move_front_labels": "move_labels"}
SOURCE, THERE, MANUAL = "source", "tuned there", "manual_prior"
ON_TARGET = {
    "majority": "majority",
    "no_prompt": "no prompt",
    "manual": "manual",
    MANUAL: "manual, prior off",
}
LEAST_GAIN = 0.03  # of tuning over the template, below which shares of it are noise
LEAST_POINTS = 0.02  # by which one score counts as above another
_EQUAL = 1e-9
RETENTIONS = {
    "retention_move_task": "move",
    "retention_move_written": "move_written",
    "retention_move_words": "move_words",
    "retention_paper": "paper",
    "retention_random_start": "from_vocabulary",
}

PARTS = {
    "": "Cells",
    "developed.": "Cells that settings were chosen on",
    "generation.": "Tasks whose answers are written",
}

Values = Mapping[str, Any]
Move = tuple[str, str, str]  # source, target, task
Ways = dict[str, list[Values]]


@dataclass(frozen=True)
class Detour:
    """A move over other models, or from two sources.

    Attributes:
        way: `chain` or `two_sources`.
        sources: one, or two.
        through: models that the prompt was moved to before.
        target: the last one.
        task: that was asked.
        values: of the cell.
    """

    way: str
    sources: tuple[str, ...]
    through: tuple[str, ...]
    target: str
    task: str
    values: Values

    @property
    def named(self) -> str:
        """In a table: `A, B > C, subj`."""
        way = " > ".join([" + ".join(self.sources), *self.through, self.target])
        return f"{way}, {self.task.rpartition(':')[2]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figures.

    Returns:
        0, or 1 where the folder holds no such run.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of zero-shot-transfer/real")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return measured(_run, parser.parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    recorded = environment(given.results)
    run = read_run(given.run)
    finished = [(c.place, c.values) for c in run.cells if c.state == "finished"]
    moves, detours = moves_of(finished), detours_of(finished)
    given.results.mkdir(parents=True, exist_ok=True)
    dev_rows = int(run.recipe["settings"]["rows"]["dev"])
    write_summary(given.results, summarise(moves, dev_rows, detours), recorded)
    write_atomic(given.results / "table.md", table(moves, detours).encode())
    return 0


def moves_of(cells: Iterable[tuple[Mapping[str, Any], Values]]) -> dict[Move, Ways]:
    """The values of every move by way, a list over seeds; with those on its source and target.

    Args:
        cells: places and values of finished cells.
    """
    moves: dict[Move, Ways] = defaultdict(lambda: defaultdict(list))
    seeds: dict[Move, set[int]] = defaultdict(set)
    alone: dict[tuple[str, str, str], list[tuple[int, Values]]] = defaultdict(list)
    for place, values in cells:
        if "through" in place or not isinstance(place.get("source", ""), str):
            continue  # see `detours_of`
        method = IN_FRONT.get(place["method"], place["method"])
        if "source" in place:
            move = (place["source"], place["target"], place["task"])
            moves[move][method].append({**values, "seed": place["seed"]})
            seeds[move].add(place["seed"])
        else:
            alone[place["backbone"], place["task"], method].append((place["seed"], values))
    for (source, target, task), ways in moves.items():
        own = seeds[source, target, task]
        for way in ON_TARGET:
            ways[way] = [values for _, values in alone[target, task, way]]
        for way, model in ((SOURCE, source), (THERE, target)):
            tuned = alone[model, task, "free"]
            ways[way] = [{**values, "seed": s} for s, values in tuned if s in own]
    return {move: dict(ways) for move, ways in moves.items()}


def detours_of(cells: Iterable[tuple[Mapping[str, Any], Values]]) -> list[Detour]:
    """Moves by answers over another model, and from two sources.

    Args:
        cells: places and values of finished cells.
    """
    found = []
    for place, values in cells:
        source, target, task = place.get("source"), place.get("target", ""), place["task"]
        if place["method"] != "move":
            continue
        if "through" in place:
            through = tuple(place["through"])
            found.append(Detour("chain", (source,), through, target, task, values))
        elif source is not None and not isinstance(source, str):
            found.append(Detour("two_sources", tuple(source), (), target, task, values))
    return found


def summarise(
    moves: Mapping[Move, Ways], dev_rows: int, detours: Sequence[Detour] = ()
) -> dict[str, float]:
    """The figures of `summary.json`; cells that were developed on have figures of their own.

    Args:
        moves: see `moves_of`.
        dev_rows: on which the source was scored when it was tuned.
        detours: see `detours_of`.
    """
    figures: dict[str, float] = {}
    for prefix in PARTS:
        part = [ways for move, ways in moves.items() if part_of(move) == prefix]
        if prefix and not part:
            continue
        for method in _methods(part):
            own = _of_way(part, method, dev_rows)
            figures |= {f"{prefix}{method}.{name}": value for name, value in own.items()}
        counted = sum(len(w.get(m, ())) for w in part for m in _methods(part))
        figures[f"{prefix}cells"] = counted
    for name, method in RETENTIONS.items():
        if f"{method}.retention" in figures:
            figures[name] = figures[f"{method}.retention"]
    for name, figure in (("move_cost_ratio", "cost_ratio"), ("predicted_within",) * 2):
        if f"move.{figure}" in figures:
            figures[name] = figures[f"move.{figure}"]
    for way in dict.fromkeys(detour.way for detour in detours):
        own = [detour for detour in detours if detour.way == way]
        figures[f"{way}.cells"] = len(own)
        for name, values in _beside_moves(own, moves).items():
            figures[f"{way}.{name}"] = fmean(values)
    told = _told(moves, "move", dev_rows)
    if others := out_of_task(told):  # enough of them to fit numbers to
        figures |= {f"move.fitted_{name}": value for name, value in vars(fit(told)).items()}
        figures |= {f"move.{name}_other_tasks": value for name, value in held(others).items()}
    if f"generation.{WRITING}.retention" in figures:
        figures["generation_retention"] = figures[f"generation.{WRITING}.retention"]
    there = [move for move in moves if moves[move].get("move") or moves[move].get(WRITING)]
    figures["pairs"] = len({move[:2] for move in there})
    figures["tasks"] = len({move[2] for move in there})
    return {name: round(value, 4) for name, value in figures.items()}


def _beside_moves(detours: Iterable[Detour], moves: Mapping[Move, Ways]) -> dict[str, list[float]]:
    """Score, share of tuning on the target, and what is more than one move from a single source.

    Of two sources the better single move counts.
    """
    lists: dict[str, list[float]] = defaultdict(list)
    for detour in detours:
        score = detour.values["score"]
        lists["score"].append(score)
        direct = [moves.get((one, detour.target, detour.task), {}) for one in detour.sources]
        tuned = next((value for ways in direct if (value := _mean(ways.get(THERE, ())))), None)
        if tuned:
            lists["retention"].append(score / tuned)
        singles = [_mean(ways.get("move", ())) for ways in direct]
        if singles and all(value is not None for value in singles):
            lists["above_move"].append(score - max(value for value in singles if value is not None))
    return lists


def part_of(move: Move) -> str:
    """The part that a move is counted in: what its figures begin with."""
    if move[2].startswith(WRITTEN):
        return "generation."
    return "developed." if move in DEVELOPED else ""


def _methods(moves: Iterable[Ways]) -> list[str]:
    """Ways of moving, in the order in which they come."""
    others = {*ON_TARGET, SOURCE, THERE}
    found = dict.fromkeys(way for ways in moves for way in ways if way not in others)
    return list(found)


def _of_way(moves: Iterable[Ways], method: str, dev_rows: int) -> dict[str, float]:
    """Score, share of tuning on the target, share of its gain, and how often and how dear."""
    lists: dict[str, list[float]] = defaultdict(list)
    for ways in moves:
        score = _mean(ways.get(method, ()))
        if score is None:
            continue
        lists["score"].append(score)
        tuned, source = _mean(ways[THERE]), _mean(ways[SOURCE])
        # Written answers have no label prior that could be taken off.
        manual = _mean(ways[MANUAL] or ways["manual"])
        if tuned:
            lists["retention"].append(score / tuned)
        if manual is not None:
            lists["beats_manual_prior_share"].append(float(score > manual))
        if tuned is not None and manual is not None and tuned - manual > LEAST_GAIN:
            lists["gain_kept"].append((score - manual) / (tuned - manual))
        if source is not None:
            lists["above_source"].append(score - source)
        if source is not None and tuned is not None:
            if tuned - source > LEAST_POINTS + _EQUAL:
                lists["above_source_where_better_share"].append(float(score > source))
            short = min(source, tuned) - score > LEAST_POINTS + _EQUAL
            lists["short_of_both_share"].append(float(short))
        for name, value in _forecast(ways, method, dev_rows).items():
            lists[name].append(value)
        costs = _mean(ways[method], "cost"), _mean(ways[THERE], "cost")
        if costs[0] is not None and costs[1]:
            lists["cost_ratio"].append(costs[0] / costs[1])
    return {name: fmean(values) for name, values in lists.items()}


def _mean(cells: Iterable[Values], value: str = "score") -> float | None:
    values = [cell[value] for cell in cells if cell.get(value) is not None]
    return fmean(values) if values else None


def _forecast(ways: Ways, method: str, dev_rows: int) -> dict[str, float]:
    """Whether the scores lay in the interval that the move told, and how wide that was."""
    cells = _told({("", "", ""): ways}, method, dev_rows)
    found = held(forecasts(cells, OF_LARGE))
    return {name: found[name] for name in ("predicted_within", "predicted_width") if found}


def _told(moves: Mapping[Move, Ways], method: str, dev_rows: int) -> list[dict[str, Any]]:
    """What is known of every move before it is scored, and its score."""
    if method not in ASK_TEXTS:
        return []
    told = []
    for move, ways in moves.items():
        sources = {cell["seed"]: cell["dev"] for cell in ways[SOURCE]}
        told += [
            {
                **{"task": move[2], "dev": sources[cell["seed"]], "dev_rows": dev_rows},
                **{name: cell[name] for name in ("same", "score", "rows")},
            }
            for cell in ways.get(method, ())
            if cell.get("same") is not None and cell["seed"] in sources
        ]
    return told


def table(moves: Mapping[Move, Ways], detours: Sequence[Detour] = ()) -> str:
    """Means by pair and by task, then all cells.

    Cells that settings were chosen on have a table of their own; so have written answers, and moves
    over other models and from two sources.
    """
    groups = {
        "Means over tasks": means(moves, "from, to", lambda move: ", ".join(move[:2])),
        "Means over pairs": means(moves, "task", lambda move: move[2].rpartition(":")[2]),
    }
    parts = [f"## {title}\n\n{lines}" for title, lines in groups.items() if lines]
    for prefix, title in PARTS.items():
        part = {move: ways for move, ways in moves.items() if part_of(move) == prefix}
        if part:
            parts.append(f"## {title}\n\n{_table(part)}")
    if detours:
        lines = [_line(["from > to, task", "score"]), _line(["---"] * 2)]
        lines += [_line([detour.named, _score([detour.values])]) for detour in detours]
        parts.append("## Two moves in turn, and two sources\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def means(moves: Mapping[Move, Ways], name: str, key: Callable[[Move], str]) -> str:
    """Means over the moves with the same key whose `move` was measured, and tuning on both models.

    Cells that settings were chosen on and written answers are left out.

    Args:
        moves: see `moves_of`.
        name: of the first column.
        key: what it says of a move.
    """
    shown = {SOURCE: "source", MANUAL: "template, prior off", "move": "moved", THERE: "tuned there"}
    groups: dict[str, list[list[float]]] = defaultdict(list)
    for move, ways in moves.items():
        scores = [_mean(ways.get(way, ())) for way in shown]
        known = [score for score in scores if score is not None]
        if not part_of(move) and len(known) == len(shown) and known[-1]:
            groups[key(move)].append(known)
    if not groups:
        return ""
    head = [name, "moves", *shown.values(), "kept of tuning there", "least kept"]
    lines = [_line(head), _line(["---"] * len(head))]
    for group, own in groups.items():
        kept = [moved / tuned for *_, moved, tuned in own]
        values = (*map(fmean, zip(*own, strict=True)), fmean(kept), min(kept))
        lines.append(_line([group, str(len(own)), *(f"{value:.3f}" for value in values)]))
    return "\n".join(lines) + "\n"


def _table(moves: Mapping[Move, Ways]) -> str:
    methods = _methods(moves.values())
    shown = [
        way
        for way in (SOURCE, *ON_TARGET, THERE, *methods)
        if any(ways.get(way) for ways in moves.values())
    ]
    head = ["from, to, task", *(ON_TARGET.get(way, way) for way in shown)]
    lines = [_line(head), _line(["---"] * len(head))]
    for (source, target, task), ways in moves.items():
        cells = (_score(ways.get(way, ())) for way in shown)
        lines.append(_line([f"{source}, {target}, {task.rpartition(':')[2]}", *cells]))
    return "\n".join(lines) + "\n"


def _score(cells: Sequence[Values]) -> str:
    if not cells:
        return ""
    score, low, high = (fmean(cell[name] for cell in cells) for name in ("score", "low", "high"))
    seeds = f" ({len(cells)} seeds)" if len(cells) > 1 else ""
    return f"{score:.3f} [{low:.2f}, {high:.2f}]{seeds}"


def _line(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


if __name__ == "__main__":
    sys.exit(main())
