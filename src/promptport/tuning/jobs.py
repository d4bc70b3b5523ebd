"""Jobs of a run: every task with every seed, started from what a user writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from promptport.errors import TuningError
from promptport.parameters.origins import OriginSpec
from promptport.storage import load_prompt
from promptport.tasks import Task, Template
from promptport.tuning.config import TuneJob


@dataclass(frozen=True)
class JobSettings:
    """What the jobs of one run share. The fields are those of `TuneJob`, but for two.

    Attributes:
        origin: what `written_origin` reads.
        length: number of virtual tokens.
        lr: absolute learning rate; None: the usual one.
        template: in place of the task's.
        words: of a mixture: mix only these; None for all that the backbone knows.
        origins: number of origins that each prompt is tuned on.
        rest: of a mixture, the largest length of what is added to it, as a share.
        noise: of training, as a share; None: the usual one.
    """

    origin: str = "vocabulary"
    length: int = 5
    lr: float | None = None
    template: Template | None = None
    words: tuple[str, ...] | None = None
    origins: int = 1
    rest: float = 0.0
    noise: float | None = None


def make_jobs(
    tasks: Sequence[Task], seeds: Sequence[int], settings: JobSettings | None = None
) -> list[TuneJob]:
    """A job for every task and seed.

    Raises:
        TuningError: the same task and seed twice, an origin that cannot be made, or settings out
            of their range.
    """
    settings = settings or JobSettings()
    jobs = [
        TuneJob(
            task,
            written_origin(settings.origin, seed, settings.words),
            settings.length,
            seed,
            lr=settings.lr,
            template=settings.template,
            origins=settings.origins,
            rest=settings.rest,
            noise=settings.noise,
        )
        for task in tasks
        for seed in seeds
    ]
    labels = [job.label for job in jobs]
    if len(set(labels)) < len(labels):
        raise TuningError(
            "tasks and seeds",
            expected="each combination once",
            got=f"{max(labels, key=labels.count)} more than once",
            fix="Remove the repetition",
        )
    return jobs


def written_origin(text: str, seed: int, words: tuple[str, ...] | None = None) -> OriginSpec:
    """The origin that a user writes: what `OriginSpec.parse` reads, or a prompt folder.

    Args:
        text: for instance `vocabulary`, `mixture`, `seed:3`, or a folder.
        seed: of random kinds; `seed:3` has its own.
        words: of a mixture: mix only these.

    Raises:
        TuningError: none of these, or words for another kind than a mixture.
    """
    if Path(text).is_dir():
        spec = OriginSpec("prompt", seed, prompt=load_prompt(text))
    else:
        spec = OriginSpec.parse(text, seed)
    if words is None:
        return spec
    if spec.kind != "mixture":
        raise TuningError(
            "--words-of",
            expected="a mixture prompt",
            got=f"the origin {spec.kind}",
            fix="Add --mixture: only mixtures are made of words",
        )
    return replace(spec, words=words)
