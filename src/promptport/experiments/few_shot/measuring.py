"""Few-shot curves: how starts for a new task do with more and more labelled rows (paper B, RQ3).

All starts of one row count are tuned on the same rows in the same batches. Nothing but these rows
is labelled: they choose the epoch as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.errors import TuningError
from promptport.evaluation import Evaluation, evaluate
from promptport.experiments.few_shot.config import BATCH, CurvesConfig, few_shot_config
from promptport.experiments.few_shot.summary import Curves, curves_of
from promptport.experiments.result_store import (
    CELLS_FILE,
    Cell,
    ResultStore,
    backbone_stamp,
    packed,
    task_stamp,
)
from promptport.library import AdaptConfig, adapt
from promptport.library.starts import COMPARE_ANSWERS, TEXTS, Starts, digest_of
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.records import digest
from promptport.tasks import Row, Task, TaskLike, as_task
from promptport.tuning import TuneConfig, TuneJob, few_shot, start_attention, tune, tune_attention
from promptport.tuning.usual import placed_like, templates_of

_VALUES = ("score", "right", "skipped", "chosen", "vectors")  # of a cell

CurvesProgress = Callable[[int, int, str], None]


def few_shot_curves(
    backbone: BackboneLike,
    task: TaskLike,
    library: Mapping[str, SoftPrompt],
    config: CurvesConfig | None = None,
    *,
    prompts: Mapping[str, SoftPrompt] | None = None,
    out: str | Path | None = None,
    progress: CurvesProgress | None = None,
) -> Curves:
    """Score starts for a new task on its test rows, by the number of labelled rows.

    Args:
        backbone: the frozen model of all prompts.
        task: the new task; every start is asked in its template, behind the text where the
            library's prompts are (`tuning.usual.placed_like`).
        library: prompts of other tasks, one or more by name; of a `Library` those on this model.
        config: what is measured.
        prompts: further starts by name.
        out: folder that keeps what is finished (`cells.jsonl`), so that a stopped run goes on and a
            repeated one takes no time. What was measured with another backbone, precision, library,
            task, data or other steps is measured anew.
        progress: called with (done, in all, where it stands).

    Returns:
        The curves. Where the task has fewer training rows than asked, or the library no vectors
        for `mean` and `sum`, the notes say what was done.

    Raises:
        PromptPortError: an empty library, a name twice, or a reference that is no start.
        MismatchError: a prompt of another backbone.
        TaskError: data or templates that do not fit, or text to text with a start that compares
            answers.
        TuningError: a loss that is not finite.
        StorageError: the folder cannot be used.
    """
    backbone, task = as_backbone(backbone), as_task(task)
    run = _Measurement(backbone, task, library, config or CurvesConfig(), prompts or {}, out)
    with stage(f"measuring starts for {task.name}") as told:

        def say(where: str) -> None:
            done, total = run.cells_done()
            told.at(done, total, where)
            if progress is not None:
                progress(done, total, where)

        say("")
        for seed in run.config.seeds:
            for count in run.counts:
                run.measure(seed, count)
                say(f"seed {seed}, {count} rows")
    return run.result()


class _Measurement:
    """One task, one library: cells are measured once, and summed up."""

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        library: Mapping[str, SoftPrompt],
        config: CurvesConfig,
        prompts: Mapping[str, SoftPrompt],
        out: str | Path | None,
    ) -> None:
        self.backbone, self.config = backbone, config
        self.starts = Starts(backbone, library, prompts, config.starts, truncate=config.truncate)
        task = placed_like(task, backbone, templates_of(self.starts.library.values()))
        self.task = task
        self.notes = [*self.starts.left_out, *self.starts.knowing(task)]
        self.starts.check_reference(config.reference)
        compared = [name for name in config.starts if name in COMPARE_ANSWERS]
        if compared:
            task.refuse_text2text(f"Leave out {', '.join(compared)}: they compare answers")
        self.pool = self._pool()
        self.counts = self._counts()
        path = None if out is None else Path(out)
        self.cells = ResultStore(
            None if path is None else path / CELLS_FILE,
            self._stamp if path is not None else lambda cell: "",
            *_VALUES,
            exact=True,
        )

    def _pool(self) -> Task:
        """The task with the training rows that may be read and can be asked."""
        rows = self.task.load("train")[: self.config.max_train_rows or None]
        asked: tuple[Row, ...] = rows
        if self.task.kind == "probe":
            objective = Objective(
                self.backbone, self.task, length=self.starts.length, truncate=self.config.truncate
            )
            asked = tuple(row for row in rows if objective.can_ask(row))
        if len(asked) < len(rows):
            self.notes.append(
                f"left out {len(rows) - len(asked)} training rows: their object is several tokens"
            )
        parts = {"train": asked, "test": self.task.load("test")}
        return self.task.with_rows(**parts)

    def _counts(self) -> tuple[int, ...]:
        most = len(self.pool.load("train"))
        beyond = sorted({count for count in self.config.rows if count > most})
        if beyond:
            asked = ", ".join(map(str, beyond))
            self.notes.append(f"{self.task.name} has {most} training rows: {asked} became {most}")
        return tuple(sorted({min(count, most) for count in self.config.rows}))

    def cells_done(self) -> tuple[int, int]:
        """How many cells are there, and how many there will be."""
        places = [
            (n, s, c) for n in self.starts.names for s in self.config.seeds for c in self.counts
        ]
        return sum(self.cells.has(**self._place(*place)) for place in places), len(places)

    def measure(self, seed: int, count: int) -> None:
        """The cells of one seed and row count that are not there yet."""
        missing = [
            n for n in self.starts.names if not self.cells.has(**self._place(n, seed, count))
        ]
        few = few_shot(self.pool, count, seed) if count and missing else None
        for name in missing:
            if name == "adapt":
                self._adapted(seed, count)
            elif name == "attention":
                self._attended(seed, count, few)
        ordinary = {
            name: self.starts.make(name, seed, self.pool, few)
            for name in missing
            if name not in ("adapt", "attention")
        }
        # What several names stand for is measured once, also by an earlier run.
        known = {c["vectors"]: c for c in self._cells_of(seed, count) if c["vectors"] is not None}
        new = {
            key: prompt
            for prompt, _ in ordinary.values()
            if (key := digest_of(prompt)) not in known
        }
        if few is not None and new:
            new = self._tuned(few, new, seed)
        for name, (prompt, chosen) in ordinary.items():
            key = digest_of(prompt)
            if key not in known:
                known[key] = self._scored(self._score(new[key]))
            cell = {**known[key], "chosen": chosen, "vectors": key}
            self._add(cell, name, seed, count)

    def _place(self, name: str, seed: int, count: int) -> dict[str, Any]:
        return {"task": self.task.name, "start": name, "seed": seed, "rows": count}

    def _cells_of(self, seed: int, count: int) -> list[Cell]:
        return [cell for cell in self.cells.rows if (cell["seed"], cell["rows"]) == (seed, count)]

    def _add(self, cell: Mapping[str, Any], name: str, seed: int, count: int) -> None:
        self.cells.add({key: cell[key] for key in _VALUES}, **self._place(name, seed, count))

    def _score(self, prompt: SoftPrompt) -> Evaluation:
        """In the template of the task, not in that of the prompt."""
        with stage("scoring test rows"):
            return evaluate(
                self.backbone,
                self.pool,
                prompt,
                template=self.task.template,
                truncate=self.config.truncate,
            )

    def _scored(self, evaluation: Evaluation, chosen: str | None = None) -> Cell:
        return {
            "score": evaluation.score.value,
            "right": None if evaluation.right is None else packed(evaluation.right),
            "skipped": evaluation.skipped,
            "chosen": chosen,
            "vectors": None,
        }

    def _tuned(
        self, few: Task, starts: Mapping[str, SoftPrompt], seed: int
    ) -> dict[str, SoftPrompt]:
        """Tune from every start on the same rows, in the same batches."""
        rows = len(few.load("train"))
        jobs = [
            TuneJob(few, OriginSpec("prompt", prompt=prompt), prompt.length, seed)
            for prompt in starts.values()
        ]
        results = tune(self.backbone, jobs, self._settings(rows))
        tuned = {}
        for key, result in zip(starts, results, strict=True):
            if result.prompt is None:
                raise TuningError(
                    f"{self.task.name}, {rows} rows",
                    expected="a finite loss from every start",
                    got=str(result.error),
                    fix="Leave out prompts with very large values",
                )
            tuned[key] = result.prompt
        return tuned

    def _settings(self, rows: int) -> TuneConfig:
        return few_shot_config(rows, self.config.steps, truncate=self.config.truncate)

    def _adapted(self, seed: int, count: int) -> None:
        config = AdaptConfig(
            rows=TEXTS,
            steps=max(self.config.steps, math.ceil(count / BATCH)),
            batch_size=BATCH,
            seed=seed,
            truncate=self.config.truncate,
        )
        adapted = adapt(
            self.backbone, self.starts.library, self.pool, labelled=count, config=config
        )
        self._add(self._scored(self._score(adapted.prompt), adapted.start), "adapt", seed, count)

    def _attended(self, seed: int, count: int, few: Task | None) -> None:
        sources = list(self.starts.library.values())
        job = TuneJob(few or self.pool, OriginSpec("vocabulary", seed), self.starts.length, seed)
        if few is None:
            model = start_attention(self.backbone, job, sources, truncate=self.config.truncate)
        else:
            model = tune_attention(self.backbone, job, sources, self._settings(count))
        self._add(self._scored(model.evaluate()), "attention", seed, count)

    def _stamp(self, cell: Mapping[str, Any]) -> str:
        """Digest of what a cell depends on besides its place; empty for one of an unknown start."""
        name = cell.get("start")
        if name not in self.starts.names:
            return ""
        return digest(self._base, self.starts.made_of(name))

    @cached_property
    def _base(self) -> str:
        read = [task_stamp(self.pool, split) for split in ("train", "test")]
        config = self.config
        return digest(backbone_stamp(self.backbone), read, config.steps, config.truncate)

    def result(self) -> Curves:
        """All cells summed up."""
        cells = {
            name: {
                count: [self._cell(name, seed, count) for seed in self.config.seeds]
                for count in self.counts
            }
            for name in self.starts.names
        }
        any_cell = next(iter(next(iter(cells.values())).values()))[0]
        if any_cell["skipped"]:
            self.notes.append(
                f"left out {any_cell['skipped']} test rows: their object is several tokens"
            )
        texts = len(self.pool.load("train"))
        touched = {name: self.starts.touched(name, texts) for name in self.starts.names}
        curves, over = curves_of(cells, touched, self.config.reference)
        return Curves(
            task=self.task.name,
            metric=self.task.metric,
            rows=self.counts,
            seeds=self.config.seeds,
            reference=self.config.reference,
            curves=curves,
            majority=self.task.majority_score(),
            test_rows=len(self.pool.load("test")) - any_cell["skipped"],
            over=over,
            notes=tuple(self.notes),
        )

    def _cell(self, name: str, seed: int, count: int) -> Cell:
        cell = self.cells.get(**self._place(name, seed, count))
        assert cell is not None
        return cell
