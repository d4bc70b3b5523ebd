"""How often a search for a new task finds the best start of a library, and what kept answers save.

Run from the root of the repository: python -m benchmarks.library.search --data DATA

Targets and scores of all starts are those of benchmarks/task_vectors (its committed cells). All
sources are judged the fit to the texts that those cells hold; the four embedded ones
are tuned again as there (into build/task_vectors), put into a library and searched.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._inputs import backbone, limited
from benchmarks._result import environment
from benchmarks.library.run import HERE, merge_summary
from benchmarks.task_vectors.common import BACKBONES
from benchmarks.task_vectors.fewshot import (
    SOURCES,
    Settings,
    cells_of,
    open_any,
    tuned_sources,
)

from promptport.catalog import Catalog
from promptport.catalog.searching import search_entries
from promptport.files import json_bytes, read_json, write_atomic
from promptport.library.near_words import near_words, words_of
from promptport.library.probes import Probes
from promptport.library.ranking import by_text
from promptport.library.searching import SHORTLIST, search_by_task
from promptport.prompt import SoftPrompt
from promptport.storage import save_prompt
from promptport.tasks import Task

DEVELOPED = "nano-bert/0"  # the place on which the way to search was chosen; not in the figures
PLACES = (DEVELOPED, "nano-gpt2/0", "nano-bert/1", "nano-t5/0")
SEEDS = (0, 1, 2)
PARTS = ("cells", "search", "clock")
LIBRARY = 200  # prompts of the library that is clocked
_SHORT = 2
Scores = Mapping[str, float]


def ranked_places(place: str, data: Path) -> list[dict[str, Any]]:
    """What every way to search says of each target of a place (backbone and seed)."""
    name, _, seed = place.partition("/")
    model, settings = backbone(name), Settings()
    prompts = tuned_sources(name, int(seed), data, among=SOURCES)
    starts = {
        target: {source: score for source, score in own.items() if source in prompts}
        for target, own in cells_of(name, int(seed), data).items()
    }
    probes = Probes(model)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for own, prompt in prompts.items():
            save_prompt(prompt, Path(folder) / own.replace(":", "-"))
        catalog = Catalog.open(folder, index=False)
        named = {entry.name: str(entry.task) for entry in catalog.entries}
        kept = probes.ask(prompts)
        near, _ = near_words(catalog)
        for target, scores in starts.items():
            task = limited(
                open_any(target.removeprefix("nlu:"), data), settings.rows, settings.words
            )
            searched = search_by_task(catalog, model, task, shortlist=len(prompts), seed=int(seed))
            short = search_by_task(catalog, model, task, shortlist=_SHORT, seed=int(seed))
            by_probes = by_text(model, probes.read_for(task, kept), {}, task)
            named_hits = catalog.search(query_of(task), data=data / "nlu")
            read = {entry: words_of(own) for entry, own in near.items()}
            nearer = catalog.search(query_of(task), data=data / "nlu", near=read)
            count = len(searched.entries)
            ways: dict[str, Scores] = {
                "texts": {named[e.name]: e.score for e in searched.entries},
                # The rest stand behind those that were asked.
                "short": {named[e.name]: float(count - i) for i, e in enumerate(short.entries)},
                "probes": {e.name: e.score for e in by_probes},
                "words": {named[h.name]: h.score for h in named_hits},
                "words_near": {named[h.name]: h.score for h in nearer},
            }
            found.append({"place": place, "target": target, "scores": scores, "ways": ways})
            print(place, target, flush=True)
    return found


def from_cells(data: Path) -> list[dict[str, Any]]:
    """All sources of all places: by the fit to the texts that the cells hold, and by words."""
    found = []
    for name in BACKBONES:
        for seed in SEEDS:
            fits = cells_of(name, seed, data, value="fit")
            for target, scores in cells_of(name, seed, data).items():
                task = _opened(target, data)
                named = search_entries([_Named(s, data) for s in scores], query_of(task))
                ways = {"texts": fits[target], "words": {h.name: h.score for h in named}}
                place = f"{name}/{seed}"
                found.append({"place": place, "target": target, "scores": scores, "ways": ways})
    return found


@cache
def _opened(name: str, data: Path) -> Task:
    return open_any(name.removeprefix("nlu:"), data)


class _Named:
    """A source as `library search` sees it: its task is its name."""

    def __init__(self, name: str, data: Path) -> None:
        self.name, self._task = name, _opened(name, data)

    def words(self) -> dict[str, list[str]]:
        """As those of an entry of a library."""
        labels = self._task.labels or {}
        return {
            "name": [self.name],
            "task": [self.name, self._task.description],
            "label words": [w for label, words in labels.items() for w in (label, *words)],
            "template": [self._task.template.text],
        }


def query_of(task: Task) -> str:
    """What somebody would type who looks for a prompt for this task."""
    labels = [w for label, words in (task.labels or {}).items() for w in (label, *words)]
    return " ".join([task.name, task.description, *labels])


def hits(found: Sequence[Mapping[str, Any]], way: str) -> dict[str, float]:
    """Shares of targets, where ties of the way count by chance, and points behind the best.

    Returns:
        `1` and `3`: a best start (they may be several) is the first, or among the first three;
        `behind`: mean points of the first behind the best.
    """
    first, among, behind = [], [], []
    for own in found:
        scores: Scores = own["scores"]
        best = max(scores.values())
        said = {name: own["ways"][way].get(name, 0.0) for name in scores}
        groups = [[n for n in said if said[n] == v] for v in sorted(set(said.values()))[::-1]]
        right = [[scores[n] == best for n in group] for group in groups]
        first.append(fmean(right[0]))
        among.append(_among(right, 3))
        behind.append(100 * (best - fmean(scores[n] for n in groups[0])))
    return {"1": fmean(first), "3": fmean(among), "behind": fmean(behind)}


def _among(groups: Sequence[Sequence[bool]], count: int) -> float:
    """Chance that one of the first so many is right, where groups are in no order within."""
    missed = 1.0
    for group in groups:
        taken = min(count, len(group))
        wrong = len(group) - sum(group)
        for i in range(taken):
            missed *= max(0, wrong - i) / (len(group) - i)
        count -= taken
        if not count:
            break
    return 1 - missed


def at_random(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The same for an order by chance."""
    blank = [{**own, "ways": {"none": {}}} for own in found]
    return hits(blank, "none")


def clocked(count: int, data: Path | None) -> dict[str, float]:
    """Searches of a library of so many prompts: the first, one for another task, and that again."""
    model = backbone("nano-bert")
    first, other = (
        limited(open_any(name, data), {"train": 128}, 24) for name in ("emotion", "setting")
    )
    with tempfile.TemporaryDirectory() as folder:
        for i, prompt in enumerate(_many(count)):
            save_prompt(prompt, Path(folder) / f"p{i:03d}")
        catalog = Catalog.open(folder)
        seconds = {}
        for name, task in (("first", first), ("other", other), ("again", other)):
            began, wall = time.process_time(), time.perf_counter()
            found = search_by_task(catalog, model, task, shortlist=SHORTLIST)
            seconds[name] = time.process_time() - began
            seconds[f"{name}_wall"] = time.perf_counter() - wall
            print(f"{name}: {seconds[name]:.1f} s, asked {found.asked}, reused {found.reused}")
    return seconds


def _many(count: int) -> list[SoftPrompt]:
    """Different prompts of 8 virtual tokens."""
    from promptport.tuning import random_prompt

    return [random_prompt(backbone("nano-bert"), 8, seed) for seed in range(count)]


def summary(
    cells: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], seconds: Scores
) -> dict[str, float]:
    """The figures: of the places that nothing was chosen on, and of the one that was."""
    told: dict[str, float] = {}
    parts = {"search": [f for f in cells if f["place"] != DEVELOPED]}
    parts["search_four"] = [f for f in found if f["place"] != DEVELOPED]
    parts["search_four_developed"] = [f for f in found if f["place"] == DEVELOPED]
    all_ways = {"": "texts", "_shortlist_2": "short", "_probes": "probes"}
    all_ways |= {"_words": "words", "_words_near": "words_near"}
    for part, own in parts.items():
        ways = {s: w for s, w in all_ways.items() if own and w in own[0]["ways"]}
        if not own:
            continue
        told[f"{part}_targets"] = len(own)
        measures: dict[str, Callable[[], dict[str, float]]] = {
            suffix: lambda way=way, own=own: hits(own, way)  # type: ignore[misc]
            for suffix, way in ways.items()
        }
        measures["_random"] = lambda own=own: at_random(own)  # type: ignore[misc]
        for suffix, measure in measures.items():
            values = measure()
            told[f"{part}{suffix}_hit_at_1"] = round(values["1"], 3)
            told[f"{part}{suffix}_hit_at_3"] = round(values["3"], 3)
            told[f"{part}{suffix}_points_behind"] = round(values["behind"], 2)
    if "search_random_hit_at_1" in told:
        told["search_random_at_1"] = told.pop("search_random_hit_at_1")
        told["search_random_at_3"] = told.pop("search_random_hit_at_3")
    if not seconds:
        return told
    for name, value in seconds.items():
        told[f"search_{LIBRARY}_{name}_seconds"] = round(value, 2)
    told["index_answers_reused_ratio"] = round(seconds["first"] / seconds["other"], 2)
    told["index_answers_reused_ratio_same_task"] = round(seconds["first"] / seconds["again"], 2)
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing, search, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with nlu/")
    parser.add_argument("--place", action="append", help="backbone/seed; repeat for several")
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args(arguments)
    recorded = environment(given.results)
    file = given.results / "search.json"
    runs: dict[str, Any] = {}
    if "cells" in given.part:
        runs["all_sources"] = from_cells(given.data)
    if "search" in given.part:
        places = given.place or list(PLACES)
        runs["four_sources"] = [own for p in places for own in ranked_places(p, given.data)]
    if "clock" in given.part:
        runs["seconds"] = clocked(LIBRARY, given.data)
    kept = read_json(file) if file.is_file() else {}
    kept |= {**runs, "made": {**kept.get("made", {}), **dict.fromkeys(given.part, recorded)}}
    write_atomic(file, json_bytes(kept))
    parts = (kept.get(name, {}) for name in ("all_sources", "four_sources", "seconds"))
    figures = summary(*parts)
    merge_summary(given.results, figures, "search", recorded)
    print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
