"""What the embedded backbones know: facts, classes, LAMA, NLU tasks, and how their spaces agree.

Run from the root of the repository: python -m benchmarks.zoo.run [--data FOLDER]

Finished cells are kept in results/cells.jsonl, so a stopped run goes on where it was; cells of a
backbone whose weights, or of a group whose settings, have changed since are made anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from benchmarks._inputs import backbone, digest_of, limited, weights_of
from benchmarks._result import environment, write_summary

from promptport.anchors import AnchorSet
from promptport.backbone import Backbone, open_space, silence_libraries
from promptport.evaluation import evaluate
from promptport.experiments.result_store import ResultStore
from promptport.files import write_atomic
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.tasks import Task, list_tasks, open_task
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.zoo import ZOO_FOLDER, embedded_names

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
# Every fourth relation of LAMA in the order of their numbers, so that no one chose them.
LAMA_STEP = 4
FEWEST_ROWS = 5  # relations with fewer rows that a backbone can be asked are left out for it
NLU = ("sst2", "trec", "ag_news", "dbpedia", "mnli")
COMMON_WORDS = (
    *("king", "water", "war", "music", "city", "father", "river", "church", "school", "army"),
    *("red", "five", "north", "summer", "book", "doctor", "horse", "money", "law", "game"),
    *("ship", "house", "woman", "food", "time", "night", "tree", "gold", "language", "friend"),
)
NEIGHBOURS = 10


@dataclass(frozen=True)
class Group:
    """Tasks that are tuned alike.

    Attributes:
        name: prefix of its figures.
        length: virtual tokens.
        rows: most rows of each split; none for all.
        config: of tuning.
    """

    name: str
    length: int
    rows: Mapping[str, int]
    config: TuneConfig

    @property
    def digest(self) -> str:
        """Of all settings."""
        return digest_of(self.config, self.length, self.rows)


GROUPS = (
    Group("facts", 5, {}, TuneConfig(epochs=10, patience=3, batch_size=16)),
    Group(
        "class",
        20,
        {"train": 480, "dev": 60, "test": 240},
        TuneConfig(epochs=4, patience=2, batch_size=8),
    ),
    Group(
        "lama",
        5,
        {"train": 120, "dev": 60, "test": 240},
        TuneConfig(epochs=8, patience=3, batch_size=16),
    ),
    Group(
        "nlu",
        20,
        {"train": 1600, "dev": 150, "test": 300},
        TuneConfig(epochs=5, patience=0, batch_size=4, truncate=True),
    ),
)


def main() -> None:
    """Parse the command line, make what is missing, write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with lama/ and nlu/; without it: no such")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbones", nargs="*", default=embedded_names())
    parser.add_argument("--groups", nargs="*", default=[group.name for group in GROUPS])
    arguments = parser.parse_args()
    silence_libraries()
    recorded = environment(RESULTS)
    cells = ResultStore(RESULTS / "cells.jsonl", stamp, "score")
    for group in GROUPS:
        if group.name not in arguments.groups:
            continue
        tasks = group_tasks(group.name, arguments.data)
        if group.rows:
            tasks = [limited(task, group.rows) for task in tasks]
        for name in arguments.backbones:
            measure(name, group, tasks, range(arguments.seeds), cells)
    summary = summarise(cells, arguments.backbones)
    write_summary(RESULTS, summary, recorded)
    write_atomic(RESULTS / "table.md", table(summary, arguments.backbones).encode())
    print((RESULTS / "table.md").read_text())


def stamp(cell: Mapping[str, Any]) -> str:
    """Digest of what a cell depends on: the weights, and the settings of its group."""
    group = next(group for group in GROUPS if group.name == cell["group"])
    return f"{weights_of(cell['backbone'])}-{group.digest}"


def table(summary: dict[str, float], backbones: Sequence[str]) -> str:
    """The figures of every backbone in Markdown: majority, manual, tuned; then the NLU tasks."""
    columns = ["facts", "class", "lama", *NLU]
    lines = [
        "| backbone | million tokens | MB | " + " | ".join(columns) + " |",
        "|---|---|---|" + "---|" * len(columns),
    ]
    for name in backbones:
        cells = [
            f"{summary[f'{name}.tokens_seen'] / 1e6:.1f}",
            f"{summary[f'{name}.megabytes']:.1f}",
        ]
        for group in ("facts", "class", "lama"):
            found = [summary.get(f"{name}.{group}_{w}") for w in ("majority", "manual", "tuned")]
            cells.append(" / ".join("-" if value is None else f"{value:.3f}" for value in found))
        for task in NLU:
            value = summary.get(f"{name}.{task}")
            cells.append("-" if value is None else f"{value:.3f}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def group_tasks(name: str, data: Path | None) -> list[Task]:
    """The tasks of a group; none if their data is not at hand."""
    if name in ("facts", "class"):
        kind = "probe" if name == "facts" else "classification"
        return [open_task(e.reference) for e in list_tasks() if e.kind == kind]
    if data is None or not (data / name).is_dir():
        print(f"{name}: left out, no --data folder with {name}/")
        return []
    if name == "nlu":
        return [open_task(f"nlu:{task}", data / "nlu") for task in NLU]
    folder = data / "lama"
    names = sorted(
        (e.reference for e in list_tasks(folder) if e.reference.startswith("lama:")),
        key=lambda reference: int(reference.removeprefix("lama:P")),
    )
    return [open_task(reference, folder) for reference in names[::LAMA_STEP]]


def measure(
    name: str, group: Group, tasks: Sequence[Task], seeds: Sequence[int], cells: ResultStore
) -> None:
    """Majority and manual score of every task, and tuned prompts for every seed."""
    places = [
        (task, seed, {**_place(name, group, task), "what": f"seed {seed}"})
        for task in tasks
        for seed in seeds
    ]
    missing = [(task, seed) for task, seed, place in places if not cells.has(**place)]
    if not missing:
        return
    start = time.perf_counter()
    model = backbone(name)
    wanted = [(task, seed) for task, seed in missing if can_be_asked(model, task)]
    if not wanted:
        return
    for task in {task.name: task for task, _ in wanted}.values():
        place = _place(name, group, task)
        if not cells.has(**place, what="majority"):
            cells.add({"score": task.majority_score("test").value}, **place, what="majority")
            manual = evaluate(model, task, truncate=True).score.value
            cells.add({"score": manual}, **place, what="manual")
    jobs = [
        TuneJob(task, OriginSpec("vocabulary", seed), group.length, seed) for task, seed in wanted
    ]
    for job, result in zip(jobs, tune(model, jobs, group.config), strict=True):
        if result.prompt is None:
            raise RuntimeError(f"{name} {job.label}: {result.error}")
        score = evaluate(model, job.task, result.prompt, truncate=True).score.value
        cells.add({"score": score}, **_place(name, group, job.task), what=f"seed {job.seed}")
    print(
        f"{name} {group.name}: {len(jobs)} prompts, {time.perf_counter() - start:.0f} s", flush=True
    )


def _place(name: str, group: Group, task: Task) -> dict[str, Any]:
    return {"backbone": name, "group": group.name, "task": task.name}


def can_be_asked(backbone: Backbone, task: Task) -> bool:
    """Whether enough rows of every split have objects that are single tokens."""
    objective = Objective(backbone, task, truncate=True)
    splits = ("train", "dev", "test")
    return all(sum(objective.can_ask(r) for r in task.load(s)) >= FEWEST_ROWS for s in splits)


def summarise(cells: ResultStore, backbones: Sequence[str]) -> dict[str, float]:
    """Flat figures."""
    scores: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in cells.rows:
        what = "tuned" if row["what"].startswith("seed") else row["what"]
        scores[row["backbone"], row["group"], what].append(row["score"])
        if row["group"] == "nlu" and what == "tuned":
            task = row["task"].partition(":")[2]
            scores[row["backbone"], row["group"], task].append(row["score"])
    summary: dict[str, float] = {}
    for name in backbones:
        for group in ("facts", "class", "lama"):
            for what in ("majority", "manual", "tuned"):
                if values := scores.get((name, group, what)):
                    summary[f"{name}.{group}_{what}"] = round(fmean(values), 4)
        for task in NLU:
            if values := scores.get((name, "nlu", task)):
                summary[f"{name}.{task}"] = round(fmean(values), 4)
        folder = ZOO_FOLDER / name
        record = json.loads((folder / "training.json").read_text())
        summary[f"{name}.tokens_seen"] = record["tokens"]
        size = sum(file.stat().st_size for file in folder.iterdir())
        summary[f"{name}.megabytes"] = round(size / 1e6, 2)
        summary[f"{name}.load_seconds"] = round(load_seconds(name), 3)
    pairs = geometry(backbones)
    if pairs:
        summary["pairs.min_words"] = min(pair["words"] for pair in pairs.values())
        for figure in ("agreement", "neighbours"):
            mean = fmean(pair[figure] for pair in pairs.values())
            summary[f"pairs.mean_{figure}"] = round(mean, 4)
    return summary


def load_seconds(name: str) -> float:
    """Time to open a backbone, second time of two."""
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        Backbone.load(name, device="cpu", dtype="float32")
        seconds = time.perf_counter() - start
    return seconds


def geometry(backbones: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each pair: common words, correlation of cosines, shared nearest neighbours."""
    spaces = {name: open_space(name) for name in backbones}
    found = {}
    for first, second in combinations(backbones, 2):
        anchors = AnchorSet.shared(spaces[first], spaces[second])
        report = anchors.report
        near = [_neighbours(anchors, side) for side in (0, 1)]
        shared = [len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(*near, strict=True)]
        found[f"{first} {second}"] = {
            "words": report.count,
            "agreement": round(report.agreement or 0.0, 4),
            "neighbours": round(fmean(shared), 4),
        }
    return found


def _neighbours(anchors: AnchorSet, side: int) -> list[list[int]]:
    """For each common word the anchors nearest to it."""
    rows = anchors.matrix(side)
    unit = torch.nn.functional.normalize(rows - rows.mean(dim=0), dim=1)
    index = {word: i for i, word in enumerate(anchors.words)}
    asked = torch.tensor([index[word] for word in COMMON_WORDS if word in index])
    cosines = unit[asked] @ unit.T
    cosines[torch.arange(len(asked)), asked] = -1.0
    found: list[list[int]] = cosines.topk(NEIGHBOURS, dim=1).indices.tolist()
    return found


if __name__ == "__main__":
    main()
