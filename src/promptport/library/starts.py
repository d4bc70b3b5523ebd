"""Starts for a new task: what a library of prompts gives, and prompts of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from promptport.backbone import Backbone, with_origin
from promptport.errors import PromptPortError, TuningError
from promptport.library.adapting import AdaptConfig
from promptport.library.library import Library, library_on
from promptport.library.opinion_pool import PRIOR
from promptport.library.ranking import Ranking, rank
from promptport.merging import merge
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.storage.prompt_folder import checksum
from promptport.tasks import Task
from promptport.tuning import TuneConfig, TuneJob, random_prompt
from promptport.vector import TaskPromptVector, unique_labels

SINGLE = "single"
WAYS = ("random", SINGLE, "picked", "ranked", "mean", "sum", "attention", "adapt")
COMPARE_ANSWERS = ("picked", "ranked", "attention", "adapt")  # no free answers
DRAWN = ("random", *COMPARE_ANSWERS)  # by the seed: words, or texts
TEXTS = AdaptConfig.rows  # most unlabelled texts that are read
_OF_ONE_LENGTH = ("mean", "sum", "attention")
_OF_VECTORS = ("mean", "sum")
_MOST_LABELLED = 100  # rows whose labels a ranking reads before tuning


def with_few_labels(text: Mapping[str, float], labels: Ranking, rows: int) -> dict[str, float]:
    """Scores by text and by a few labels: the text counts like so many rows as `PRIOR` says.

    Args:
        text: name -> fit to the unlabelled text.
        labels: ranking by the labels of the same names.
        rows: labelled rows.
    """
    scores = dict(text)
    for entry in labels.entries:
        fit = entry.measures["fit"] or 0.0
        scores[entry.name] = (PRIOR * text[entry.name] + rows * fit) / (PRIOR + rows)
    return scores


def digest_of(prompt: SoftPrompt) -> str:
    """Of the values alone, whatever their history: what tuning starts from."""
    return hashlib.sha256(prompt.vectors.numpy().tobytes()).hexdigest()[:16]


class Starts:
    """All starts of a run, by name.

    Args:
        backbone: of all prompts.
        library: one prompt or more by name.
        prompts: further starts by name.
        ways: of `WAYS`; those that this library cannot give are left out.
        truncate: cut texts that are too long.

    Raises:
        PromptPortError: an empty library, or a name that is taken.
        MismatchError: a prompt of another backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        library: Mapping[str, SoftPrompt],
        prompts: Mapping[str, SoftPrompt],
        ways: Sequence[str],
        *,
        truncate: bool,
    ) -> None:
        self.backbone, self.truncate = backbone, truncate
        self.library = library_on(library, backbone)
        self.prompts = dict(prompts)
        for prompt in self.prompts.values():
            backbone.check_prompt(prompt)
        self.length = next(iter(self.library.values())).length
        self.missing = {way: why for way in ways if (why := self._lacks(way))}
        self.names = [name for way in ways if way not in self.missing for name in self._named(way)]
        self.names += self.prompts
        taken = [name for name in self.prompts if name in WAYS or self.names.count(name) > 1]
        if taken:
            raise PromptPortError(
                "starts",
                expected="each once, and no prompt that is called like a way to start",
                got=repr(taken[0]),
                fix="Rename the prompt",
            )
        self._texts: dict[int, dict[str, float]] = {}

    def _named(self, way: str) -> list[str]:
        return [f"{SINGLE} {own}" for own in self.library] if way == SINGLE else [way]

    @property
    def left_out(self) -> list[str]:
        """What the library cannot give, and why."""
        return [
            f"left out {', '.join(way for way in self.missing if self.missing[way] == why)}: {why}"
            for why in dict.fromkeys(self.missing.values())
        ]

    def knowing(self, task: Task) -> list[str]:
        """Whose prompts may have seen the task's labels: those that were made for it."""
        named = {**self.library, **self.prompts}
        own = [n for n, p in named.items() if task.name in (p.provenance.task or "").split(" + ")]
        if not own:
            return []
        return [
            f"made for {task.name} itself: {', '.join(own)}; what starts from them may know more "
            "labels than the few rows"
        ]

    def check_reference(self, reference: str) -> None:
        """Refuse a reference that is no start.

        Raises:
            PromptPortError: it is none.
        """
        if reference in self.names:
            return
        why = f", left out: {self.missing[reference]}" if reference in self.missing else ""
        raise PromptPortError(
            "reference",
            expected=f"one of the starts ({', '.join(self.names) or 'none'})",
            got=f"{reference!r}{why}",
            fix="Choose one of them, or add it to the starts",
        )

    def _lacks(self, start: str) -> str | None:
        """Why this library cannot give a start."""
        lengths = sorted({prompt.length for prompt in self.library.values()})
        if start in _OF_ONE_LENGTH and len(lengths) > 1:
            return f"the library's prompts have {' and '.join(map(str, lengths))} virtual tokens"
        bare = [name for name, prompt in self.known.items() if prompt.origin is None]
        if start in _OF_VECTORS and bare:
            return f"{', '.join(bare)} without an origin (give it one with vector make, or widen)"
        return None

    @cached_property
    def known(self) -> dict[str, SoftPrompt]:
        """The library, with the origins that can be made again."""
        return {name: with_origin(p, self.backbone) for name, p in self.library.items()}

    def make(
        self, name: str, seed: int, pool: Task, few: Task | None
    ) -> tuple[SoftPrompt, str | None]:
        """A prompt to start from, and its name in the library if it is one of them by choice.

        Args:
            name: of the start; not `adapt` or `attention`, which are no finished prompts.
            seed: of what is random.
            pool: the new task, whose text may be read.
            few: its labelled rows, None for none.
        """
        if name == "random":
            return random_prompt(self.backbone, self.length, seed), None
        if name in _OF_VECTORS:
            return self._merged(name, seed), None
        if name in ("picked", "ranked"):
            scores = self._by_text(pool, seed)
            if name == "ranked" and few is not None:
                rows = len(few.load("train"))
                scores = with_few_labels(scores, self._rank(few, seed, rows), rows)
            chosen = max(scores, key=lambda own: scores[own])
            return self.library[chosen], chosen
        return self._given(name), None

    def _given(self, name: str) -> SoftPrompt:
        own = self.prompts.get(name)
        return self.library[name.removeprefix(f"{SINGLE} ")] if own is None else own

    def made_of(self, name: str) -> list[Any]:
        """What a start depends on besides the task and the seed, as plain JSON values."""
        if name == "random":
            return [self.length]
        if name in WAYS:
            return [[own, checksum(prompt)] for own, prompt in self.known.items()]
        return [checksum(self._given(name))]

    def _merged(self, way: str, seed: int) -> SoftPrompt:
        """The vectors on the origin that all share, else on random words."""
        named = {name: TaskPromptVector.of(p, name) for name, p in self.known.items()}
        vector = merge(unique_labels(named), method=way)
        first, *others = self.known.values()
        assert first.origin is not None
        if all(p.origin is not None and torch.equal(p.origin, first.origin) for p in others):
            return vector.apply(first.origin, first.provenance.origin)
        spec = OriginSpec("vocabulary", seed)
        return vector.apply(make_origin(spec, self.backbone, self.length), spec.to_dict())

    def _by_text(self, pool: Task, seed: int) -> dict[str, float]:
        """Fit of every prompt to the text of the training rows; no label is read."""
        if seed not in self._texts:
            ranking = self._rank(pool, seed)
            self._texts[seed] = {entry.name: entry.score for entry in ranking.entries}
        return self._texts[seed]

    def _rank(self, task: Task, seed: int, labelled: int = 0) -> Ranking:
        return rank(
            self.backbone,
            self.library,
            task,
            labelled=labelled,
            rows=TEXTS,
            seed=seed,
            truncate=self.truncate,
        )

    def touched(self, name: str, texts: int) -> str:
        """The data of a task that is read to choose or make a start, in words.

        Args:
            name: of the start.
            texts: training rows that there are.
        """
        text = f"the text of {min(TEXTS, texts)} rows of train"
        labels = f"{text}, and the labels of the few rows"
        read = {"picked": f"{text}, no labels", "ranked": labels, "adapt": labels}
        return read.get(name, "nothing")


@dataclass(frozen=True)
class StartedJob:
    """A tuning job that starts from what a library gives.

    Attributes:
        job: with that prompt as its origin.
        said: what it starts from and what was read, in words.
    """

    job: TuneJob
    said: str


def start_from(
    job: TuneJob, backbone: Backbone, library: Library, way: str, config: TuneConfig
) -> StartedJob:
    """Let a job start from a prompt that a library gives.

    Args:
        job: its origin is what `mean` and `sum` stand on.
        backbone: the frozen model.
        library: of prompts as long as the job's.
        way: `text` (the first by unlabelled text), `labels` (by up to 100 labelled rows), `mean` or
            `sum` (of the vectors).
        config: of tuning; no other training rows are read than it allows.

    Raises:
        PromptPortError: prompts of another length, or without the origin that a vector needs.
    """
    prompts = of_length(library, backbone, job.length)
    if way in _OF_VECTORS:
        known = {name: with_origin(prompt, backbone) for name, prompt in prompts.items()}
        vectors = unique_labels({name: TaskPromptVector.of(p, name) for name, p in known.items()})
        origin = make_origin(job.origin, backbone, vectors[0].length)
        prompt = merge(vectors, method=way).apply(origin, job.origin.to_dict())
        said = f"{job.label} starts from the {way} of {len(vectors)} vectors"
    else:
        # Ranking sees no other rows than tuning may see.
        rows = job.task.load("train")[: config.max_train_rows or None]
        labelled = min(_MOST_LABELLED, len(rows)) if way == "labels" else 0
        ranking = rank(
            backbone,
            prompts,
            job.task.with_rows(train=rows),
            labelled=labelled,
            seed=job.seed,
            truncate=config.truncate,
        )
        prompt = prompts[ranking.best]
        said = f"{job.label} starts from {ranking.best} (read: {ranking.touched})"
    return StartedJob(replace(job, origin=OriginSpec("prompt", job.seed, prompt=prompt)), said)


def of_length(library: Library, backbone: Backbone, length: int) -> Library:
    """The library on a model, where all its prompts are as long as wanted.

    Raises:
        TuningError: they are not.
    """
    prompts = library_on(library, backbone)
    others = {name: p.length for name, p in prompts.items() if p.length != length}
    if others:
        raise TuningError(
            f"library, {', '.join(others)}",
            expected=f"{length} virtual tokens",
            got=" and ".join(map(str, sorted(set(others.values())))),
            fix="Set --length to the length of the library's prompts",
        )
    return prompts
