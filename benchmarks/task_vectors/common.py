"""What the parts of the benchmark share: tasks, backbones, tuned prompts and books of cells."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._inputs import backbone, digest_of, limited, weights_of
from benchmarks._result import ROOT

from promptport.evaluation import Evaluation
from promptport.experiments.result_store import Cell, ResultStore, packed, unpacked
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = ROOT / "build" / "task_vectors"
BACKBONES = ("nano-bert", "nano-gpt2", "nano-t5")  # one of each kind
NLU = ("mnli", "qnli", "dbpedia", "trec", "sst2", "yelp")  # paper B's sources
EMBEDDED = (
    *("country-capital", "person-occupation", "animal-class"),
    *("sentiment", "topic", "emotion"),
)
# The start may be another one when a cell is made again, its place may not.
VALUES = ("score", "right", "start", "dev", "majority_dev", "fit")
LENGTH = 8  # virtual tokens of all tasks, so that their vectors can be added
WORDS = 24  # most words of a text that are read
FEWEST_ROWS = 10
EVALUATION_ROWS = {"dev": 60, "test": 200}
MORE_ROWS = 500  # test rows where the verdict of a single task hangs on few


@dataclass(frozen=True)
class Plan:
    """Rows and settings of tuning for a group of tasks.

    Attributes:
        train: most training rows.
        config: of tuning.
    """

    train: int
    config: TuneConfig

    @property
    def digest(self) -> str:
        """Of rows and settings."""
        return digest_of(self.config, self.train)


PLANS = {
    # Real tasks need many updates: nano-bert on dbpedia 0.17 after 200, 0.45 after 2,000.
    "nlu": Plan(1280, TuneConfig(epochs=4, patience=0, batch_size=4, truncate=True)),
    # few rows, so more passes for as many steps
    "probe": Plan(128, TuneConfig(epochs=15, patience=0, batch_size=8, truncate=True)),
    "embedded": Plan(128, TuneConfig(epochs=6, patience=0, batch_size=8, truncate=True)),
}


def book_of(path: Path) -> ResultStore:
    """Cells that depend on one backbone and on how its tasks are tuned, with what was `found`."""
    return ResultStore(path, _stamp, "found")


def _stamp(cell: Mapping[str, Any]) -> str:
    names = cell["tasks"] if "tasks" in cell else [cell["task"]]
    plans = sorted({plan_of(name).digest for name in names})
    return "-".join([weights_of(cell["backbone"]), *plans])


def benchmark_tasks(
    data: Path | None, names: Sequence[str] = (), test: int = EVALUATION_ROWS["test"]
) -> list[Task]:
    """The tasks, with a seeded sample of their rows.

    Args:
        data: folder with nlu/; None leaves those tasks out.
        names: take only these; none for all.
        test: most test rows.
    """
    found = [open_task(name) for name in EMBEDDED if not names or name in names]
    wanted = [name for name in NLU if not names or name in names]
    if wanted and (data is None or not (data / "nlu").is_dir()):
        print(f"left out, no --data folder with nlu/: {', '.join(wanted)}")
    elif data is not None:
        found += [open_task(f"nlu:{name}", data / "nlu") for name in wanted]
    rows = {**EVALUATION_ROWS, "test": test}
    return [limited(t, {"train": plan_of(t.name).train, **rows}, WORDS) for t in found]


def is_real(task: str) -> bool:
    """Whether a task is one of the data folder."""
    return task.startswith("nlu:")


def apart(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Means over `embedded` and `real` tasks, of (task, value); none of a kind leaves it out."""
    groups: dict[str, list[float]] = {"embedded": [], "real": []}
    for task, value in values:
        groups["real" if is_real(task) else "embedded"].append(value)
    return {kind: fmean(found) for kind, found in groups.items() if found}


@cache
def group_of(task: str) -> str:
    """`nlu`, or for embedded tasks `probe` or `embedded`."""
    if is_real(task):
        return "nlu"
    return "probe" if open_task(task).kind == "probe" else "embedded"


def plan_of(task: str) -> Plan:
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
    places = {
        task.name: base
        / f"{task.name.replace(':', '-')}-{label}-{seed}-{plan_of(task.name).digest}"
        for task in tasks
    }
    for group, plan in PLANS.items():
        missing = [t for t in tasks if group_of(t.name) == group and not places[t.name].is_dir()]
        jobs = [
            # Without noise: here a way to tune is one change from paper B's.
            TuneJob(t, training.spec(seed), LENGTH, seed, origins=training.origins, noise=0.0)
            for t in missing
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


def scored(evaluation: Evaluation) -> Cell:
    """Score, and a hexadecimal bit per test row: right or wrong, so that rows can be paired.

    Raises:
        ValueError: the score is no share of rows.
    """
    if evaluation.right is None:
        raise ValueError(f"{evaluation.score.metric}: not a share of rows")
    return {"score": evaluation.score.value, "right": packed(evaluation.right)}


def over_seeds(parts: Sequence[Sequence[float]]) -> list[float]:
    """Per test row its mean over seeds, which share their rows: more seeds are not more rows."""
    return [fmean(row) for row in zip(*parts, strict=True)]


def bits_of(cell: Mapping[str, Any]) -> list[int]:
    """Per test row 1 for a right answer, else 0."""
    return unpacked(cell["right"])
