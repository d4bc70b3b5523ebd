"""Moving prompts whose answers are texts: the source writes answers, the target learns to write so.

Free answers of two models cannot be compared word by word. But what the source writes can be read
as if it were the right answer: sequence-level distillation (Kim & Rush 2016, arXiv 1606.07947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.questions import fits
from promptport.distillation.starts import Start, begun_entry, check_labelled, labelled_rows
from promptport.distillation.teacher_answers import who_asked
from promptport.errors import TaskError, TuningError
from promptport.evaluation import choose_template
from promptport.files import json_bytes, read_json, write_atomic
from promptport.objective import Objective, pick_rows
from promptport.parameters.origins import OriginSpec
from promptport.prediction import predict
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task, Template
from promptport.tuning import TuneConfig, TuneJob, tune, usual_settings

_FEWEST_ROWS = 8


@dataclass(frozen=True)
class WritingResult:
    """A prompt that learned to write what others wrote.

    Attributes:
        prompt: of the target.
        began: what it started from.
        rows: texts that the sources answered, those held back included.
        left_out: texts without an answer, or with one that the target has no tokens for.
        labelled: rows whose labels were learned as well.
        steps: updates.
        metric: of the task.
        like_source: that metric between what the target and the sources write to the texts that
            were held back.
        held_back: these texts; the best prompt was chosen by them.
    """

    prompt: SoftPrompt
    began: str
    rows: int
    left_out: int
    labelled: int
    steps: int
    metric: str
    like_source: float
    held_back: int

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the result."""
        return (
            f"its answers are as near to its source's as {self.metric} {self.like_source:.3f} on "
            f"{self.held_back} held-back texts, by which it was chosen"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompt."""
        return {name: value for name, value in vars(self).items() if name != "prompt"}


def move_by_writing(
    sources: Sequence[Teacher],
    target: Backbone,
    task: Task,
    *,
    start: str | SoftPrompt = "vocabulary",
    split: str = "train",
    config: DistillConfig | None = None,
    labelled: int = 0,
    state: Path | None = None,
) -> WritingResult:
    """Carry prompts of a text-to-text task to another backbone by what they write.

    The sources answer unlabelled texts in turn. A prompt of the target is tuned on their answers
    as on labels, with the usual settings of tuning there.

    Args:
        sources: prompts of one task with their backbones, one or more; all can write.
        target: a causal or encoder-decoder backbone.
        task: of text to text; gives the texts and how answers are written.
        start: an origin, as `Start.parse` reads it, or a prompt of the target.
        split: whose texts are read.
        config: `rows`, `steps` (0: half of those that tuning there may take, or as many passes as
            it makes where it has no limit), `held_back`, `seed` and `truncate` count.
        labelled: rows of the split whose labels are learned as well.
        state: folder of an unfinished move.

    Raises:
        TuningError: no source, or no such start.
        TaskError: too few texts, or too few answers.
        MismatchError: a prompt belongs to another backbone.
    """
    if not sources:
        raise TuningError("sources", expected="one or more", got="none", fix="Name a prompt")
    check_labelled(labelled)
    config = config or DistillConfig()
    if isinstance(start, SoftPrompt):
        origin: OriginSpec | None = OriginSpec("prompt", prompt=start)
    else:
        origin = Start.parse(start, task, config.seed).origin
    if origin is None:
        raise TuningError(
            "start of a move",
            expected="an origin (vocabulary, normal, text:SOME WORDS) for a text to text task",
            got=repr(start),
            fix="Leave --start out",
        )
    rows = pick_rows(task.texts(split), config.rows, config.seed)
    template = choose_template(task, sources[0].prompt)
    asked = Objective(
        target, task, template, length=sources[0].prompt.length, truncate=config.truncate
    )
    answered = [row for row in _answered(sources, task, rows, state) if fits(row, asked)]
    if len(answered) < _FEWEST_ROWS:
        raise TaskError(
            f"task {task.name!r}, {split}",
            expected=f"{_FEWEST_ROWS} or more texts with an answer by the source",
            got=str(len(answered)),
            fix="Give more unlabelled texts, or see what the source writes: promptport predict",
        )
    held = max(1, round(config.held_back * len(answered)))
    known = labelled_rows(task, split, labelled, config.seed, answered[:held])
    learned = task.with_rows(train=[*answered[held:], *known], dev=answered[:held])
    result = tune(
        target,
        [_job(learned, sources[0].prompt.length, template, origin, config.seed, target)],
        _budget(config, target),
        state=None if state is None else state / "tuning.safetensors",
    )[0]
    if result.prompt is None:
        raise TuningError(
            target.name, expected="a finite loss", got=str(result.error), fix="Take another --seed"
        )
    prompt = _with_history(result.prompt, sources, task, origin, len(answered), len(known))
    return WritingResult(
        prompt,
        origin.kind,
        len(answered),
        len(rows) - len(answered),
        len(known),
        result.steps,
        task.metric,
        result.dev_score,
        held,
    )


def _answered(
    sources: Sequence[Teacher], task: Task, rows: Sequence[Row], state: Path | None
) -> list[Row]:
    """The texts with what the sources write to them, in turn; those without are left out."""
    kept = None if state is None else state / "answers.json"
    asked = who_asked(sources, task, rows)
    if kept is not None and kept.is_file():
        known = read_json(kept)
        if known.get("asked") == asked:
            return _rows(rows, known["answers"])
    answers = [""] * len(rows)
    for number, source in enumerate(sources):
        source.backbone.check_prompt(source.prompt)
        own = range(number, len(rows), len(sources))
        with stage(f"writing answers with {source.backbone.name}") as told:
            told.at(0, len(own))
            said = predict(
                source.prompt,
                [rows[i] for i in own],
                backbone=source.backbone,
                task=task,
                progress=told.at,
            )
        for i, answer in zip(own, said, strict=True):
            answers[i] = answer.answer
    if kept is not None:
        write_atomic(kept, json_bytes({"asked": asked, "answers": answers}))
    return _rows(rows, answers)


def _rows(rows: Sequence[Row], answers: Sequence[str]) -> list[Row]:
    return [
        replace(row, answer=answer.strip())
        for row, answer in zip(rows, answers, strict=True)
        if answer.strip()
    ]


def _job(
    task: Task, length: int, template: Template, origin: OriginSpec, seed: int, target: Backbone
) -> TuneJob:
    rate = usual_settings(target).relative_lr
    return TuneJob(task, origin, length, seed, relative_lr=rate, template=template)


def _budget(config: DistillConfig, target: Backbone) -> TuneConfig:
    """The usual settings of tuning there, within the steps that were given.

    Half of its updates by default: half as many as tuning took did nearly as well
    (benchmarks/real_transfer), and a move that costs as much as tuning is of little use.
    """
    usual = usual_settings(target).config
    steps = config.steps or usual.max_steps // 2
    return replace(usual, max_steps=steps, truncate=config.truncate)


def _with_history(
    prompt: SoftPrompt,
    sources: Sequence[Teacher],
    task: Task,
    origin: OriginSpec,
    rows: int,
    labelled: int,
) -> SoftPrompt:
    old = sources[0].prompt.provenance
    entry = begun_entry(old, prompt.provenance.backbone, origin.to_dict())
    learned = {
        "step": "write",
        "teachers": [
            {"backbone": t.backbone.name, "task": t.prompt.provenance.task} for t in sources
        ],
        "texts": "task",
        "rows": rows,
        "tuning": prompt.provenance.tuning,
        "labels_used": labelled > 0,
        "promptport": __version__,
    }
    provenance = replace(
        prompt.provenance,
        task=old.task or task.name,
        origin=None,
        tuning=None,
        history=(*old.history, entry, learned),
    )
    return SoftPrompt(prompt.vectors, provenance)
