"""What the parts of the benchmark share: tasks, backbones, tuned prompts and cells on disk."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._result import ROOT

from promptport.backbone import Backbone, silence_libraries
from promptport.interop import load_prompt, save_prompt
from promptport.objective import Objective
from promptport.prompt import SoftPrompt
from promptport.tasks import MemorySource, Task, open_task
from promptport.tuning import OriginSpec, TuneConfig, TuneJob, tune
from promptport.zoo import ZOO_FOLDER

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = ROOT / "build" / "task_vectors"
BACKBONES = ("nano-bert", "nano-gpt2", "nano-t5")  # one of each kind
NLU = ("mnli", "qnli", "dbpedia", "trec", "sst2", "yelp")  # paper B's sources
EMBEDDED = (
    *("country-capital", "person-occupation", "animal-class"),
    *("sentiment", "topic", "emotion"),
)
LENGTH = 8  # virtual tokens of all tasks, so that their vectors can be added
WORDS = 24  # most words of a text that are read
FEWEST_ROWS = 10
EVALUATION_ROWS = {"dev": 60, "test": 200}


@dataclass(frozen=True)
class Plan:
    """Rows and settings of tuning for a group of tasks.

    Attributes:
        train: most training rows.
        config: of tuning.
    """

    train: int
    config: TuneConfig


PLANS = {
    "nlu": Plan(320, TuneConfig(epochs=3, patience=0, batch_size=8, truncate=True)),
    # few rows, so more passes for as many steps
    "probe": Plan(128, TuneConfig(epochs=15, patience=0, batch_size=8, truncate=True)),
    "embedded": Plan(128, TuneConfig(epochs=6, patience=0, batch_size=8, truncate=True)),
}


@dataclass
class Cells:
    """Finished measurements, one JSON object a line; those of other weights are left alone.

    Attributes:
        path: the file.
        rows: cells of the weights as they are now.
    """

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        for line in lines:
            cell = json.loads(line)
            if cell["weights"] == weights_of(cell["backbone"]):
                self._keep(cell)

    @staticmethod
    def _key(values: Mapping[str, Any]) -> str:
        return json.dumps({k: v for k, v in values.items() if k != "found"}, sort_keys=True)

    def _keep(self, cell: dict[str, Any]) -> None:
        self.rows.append(cell)
        self._known.add(self._key(cell))

    def has(self, **place: Any) -> bool:
        """Whether a cell is there: its place is everything but what was found."""
        return self._key({**place, "weights": weights_of(place["backbone"])}) in self._known

    def add(self, found: Mapping[str, Any], **place: Any) -> None:
        """Keep a cell."""
        cell = {**place, "weights": weights_of(place["backbone"]), "found": _rounded(found)}
        self._keep(cell)
        with self.path.open("a") as file:
            file.write(json.dumps(cell, ensure_ascii=False) + "\n")

    def of(self, part: str) -> list[dict[str, Any]]:
        """The cells of one part."""
        return [cell for cell in self.rows if cell["part"] == part]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value


@cache
def backbone(name: str) -> Backbone:
    """A backbone in float32, loaded once."""
    silence_libraries()
    torch.set_flush_denormal(True)
    return Backbone.load(name, device="cpu", dtype="float32")


@cache
def weights_of(name: str) -> str:
    """First digits of the sha256 of a backbone's weights."""
    file = ZOO_FOLDER / name / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def benchmark_tasks(data: Path | None, names: Sequence[str] = ()) -> list[Task]:
    """The tasks, with a seeded sample of their rows.

    Args:
        data: folder with nlu/; None leaves those tasks out.
        names: take only these; none for all.
    """
    found = [open_task(name) for name in EMBEDDED if not names or name in names]
    wanted = [name for name in NLU if not names or name in names]
    if wanted and (data is None or not (data / "nlu").is_dir()):
        print(f"left out, no --data folder with nlu/: {', '.join(wanted)}")
    elif data is not None:
        found += [open_task(f"nlu:{name}", data / "nlu") for name in wanted]
    return [limited(task) for task in found]


def limited(task: Task) -> Task:
    """The same task with at most so many rows per split, and words per text."""
    parts = {}
    for split, most in {"train": plan_of(task).train, **EVALUATION_ROWS}.items():
        rows = task.load(split)
        order = np.random.default_rng(0).permutation(len(rows))[:most]
        parts[split] = tuple(
            replace(rows[i], fields={k: _cut(v) for k, v in rows[i].fields.items()})
            for i in sorted(order)
        )
    return replace(task, source=MemorySource(parts), _cache={})


def _cut(text: str) -> str:
    return " ".join(text.split()[:WORDS])


def group_of(task: Task) -> str:
    """`nlu`, or for embedded tasks `probe` or `embedded`."""
    if task.name in NLU or task.name.startswith("nlu:"):
        return "nlu"
    return "probe" if task.kind == "probe" else "embedded"


def plan_of(task: Task) -> Plan:
    """Rows and settings of a task."""
    return PLANS[group_of(task)]


def can_be_asked(name: str, task: Task) -> bool:
    """Whether enough rows of every split have answers that this backbone can give."""
    objective = Objective(backbone(name), task, length=LENGTH, truncate=True)
    splits = ("train", "dev", "test")
    return all(sum(objective.can_ask(r) for r in task.load(s)) >= FEWEST_ROWS for s in splits)


@dataclass(frozen=True)
class Training:
    """A way to tune.

    Attributes:
        name: in cells and tables.
        origins: number of origins that share the vector.
        kind: of the origin.
        scale: of the origin.
    """

    name: str
    origins: int = 1
    kind: str = "vocabulary"
    scale: float = 1.0

    def spec(self, seed: int) -> OriginSpec:
        """The origin of a seed."""
        return OriginSpec(self.kind, seed, scale=self.scale)  # type: ignore[arg-type]


def tuned(
    name: str, tasks: Sequence[Task], training: Training, seed: int, work: Path
) -> list[SoftPrompt]:
    """Prompts of some tasks on a backbone; what is missing is tuned and kept."""
    label = training.name.replace(" ", "-")
    base = work / "origins" / f"{name}-{weights_of(name)}"
    places = {task.name: base / f"{task.name.replace(':', '-')}-{label}-{seed}" for task in tasks}
    for group, plan in PLANS.items():
        missing = [t for t in tasks if group_of(t) == group and not places[t.name].is_dir()]
        jobs = [
            TuneJob(t, training.spec(seed), LENGTH, seed, origins=training.origins) for t in missing
        ]
        for result in tune(backbone(name), jobs, plan.config) if jobs else []:
            if result.prompt is None:
                raise RuntimeError(f"{name} {result.job.label}: {result.error}")
            save_prompt(result.prompt, places[result.job.task.name])
    return [load_prompt(places[task.name]) for task in tasks]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say when something is done, and how long it took."""
    start = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - start:.0f} s", flush=True)
