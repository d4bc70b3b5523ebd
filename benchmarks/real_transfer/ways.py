"""The ways in which a prompt is moved, and one measurement of a way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.real_models.cells import cell_of
from benchmarks.real_models.tasks import short_name

from promptport.backbone import Backbone
from promptport.evaluation import evaluate
from promptport.experiments.result_store import Cell
from promptport.moving import EmbeddingsConfig, MoveConfig, MoveResult, move
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.transfers import TransferConfig

VALUES = (
    *("score", "low", "high", "right", "rows", "skipped", "loss"),
    *("same", "random_same", "divergence", "held_back", "steps", "processor", "seconds"),
)


@dataclass(frozen=True)
class Way:
    """How `move` is called.

    Attributes:
        method: of `move`.
        texts: of `move`.
        start: see `MoveConfig`.
        distill: see `MoveConfig`; the usual budget for the rest.
        options: of a transfer method.
        described: whether the model that writes texts is told what they are (`ABOUT`).
        labelled: see `MoveConfig`.
    """

    method: str = "answers"
    texts: str = "task"
    start: str = "auto"
    distill: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    described: bool = False
    labelled: int = 0


# What a user would say of the texts of a task (`move --about`).
ABOUT = {
    "sst2": "short film reviews",
    "ag_news": "news in a few sentences",
    "trec": "questions about facts",
    "subj": "sentences of film reviews and of film plots",
    "dbpedia": "first sentences of an encyclopedia",
    "yelp": "reviews of restaurants and shops",
}

# Columns of the report; paper A's search has the paper's number of steps.
COLUMNS: Mapping[str, Way] = {
    "move_task": Way(),
    "move_labels32": Way(labelled=32),
    "move_written": Way(texts="write"),
    "move_described": Way(texts="write", distill={"shown": 0}, described=True),
    "move_words": Way(texts="words"),
    "least_squares": Way("least_squares"),
    "paper": Way("gradient", options={"steps": 2000}),
}

# What each stage adds, on the cells that were developed on.
STAGES: Mapping[str, Way] = {
    "from vocabulary": Way(start="vocabulary"),
    "from label words": Way(start="labels"),
    "from the task's text": Way(start="text:It was"),
    "from the port": Way(start="port"),
    "from the ported mixture": Way(start="mixture"),
    "with its manual template": Way(distill={"manual_weight": 0.5}),
    "128 rows": Way(distill={"rows": 128}),
    "512 rows": Way(distill={"rows": 512}),
    "120 steps": Way(distill={"steps": 120}),
    "rate x 0.3": Way(distill={"relative_lr": 0.03}),
}


def measure(
    way: Way, prompt: SoftPrompt, source: Backbone, target: Backbone, task: Task, seed: int
) -> Cell:
    """Move a prompt and score it on the task's test rows, which the move has not seen.

    Args:
        way: how.
        prompt: of the source.
        source: the model that it was tuned on.
        target: the model that it is moved to.
        task: its training rows are read without labels.
        seed: of the move.
    """
    began, processor = time.perf_counter(), time.process_time()
    moved = moved_by(way, prompt, source, target, task, seed)
    used = {
        "processor": time.process_time() - processor,
        "seconds": time.perf_counter() - began,
    }
    return {**cell_of(evaluate(target, task, moved.prompt, truncate=True)), **used, **told(moved)}


def moved_by(
    way: Way, prompt: SoftPrompt, source: Backbone, target: Backbone, task: Task, seed: int
) -> MoveResult:
    """The move itself."""
    tables = TransferConfig(options=dict(way.options), seed=seed)
    about = {"about": ABOUT[short_name(task)]} if way.described else {}
    config = MoveConfig(
        learning={"seed": seed, "truncate": True, **about, **way.distill},
        start=way.start,
        labelled=way.labelled,
        embeddings=EmbeddingsConfig(transfer=tables),
        check=None if way.method == "answers" else False,
    )
    return move(
        prompt,
        to=target,
        backbone=source,
        task=task,
        method=way.method,
        texts=way.texts if way.method == "answers" else "auto",
        config=config,
    )


def told(moved: MoveResult) -> dict[str, Any]:
    """What the move says of itself."""
    check = moved.check
    if check is None:
        return {}
    return {
        "same": check.same,
        "random_same": check.random,
        "divergence": check.divergence,
        "held_back": check.rows,
        "steps": moved.to_dict()["aligned"]["steps"],
    }
