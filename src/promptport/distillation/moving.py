"""The road by answers: a prompt of the target learns to answer as the sources do.

What it begins from differs (`Start`). Small models have much in common: every free prompt becomes a
mixture of words that all backbones know, and is carried. Of large ones the embedding tables say
nothing about a free prompt (benchmarks/real_transfer): it begins from random rows of the target's
vocabulary.

`promptport.move` is the front door, which chooses between this road and that by embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.distillation.config import DistillConfig, Teacher, Texts
from promptport.distillation.cue_word import choose_cue_word
from promptport.distillation.questions import held_back_rows, with_written_texts
from promptport.distillation.recipes import DistillResult, align_to, fit_mixture
from promptport.distillation.starts import (
    Start,
    begun_entry,
    check_labelled,
    labelled_rows,
    learning_settings,
    usual_distillation,
    usual_start,
)
from promptport.distillation.targets import Agreement, DistillTargets, agreement
from promptport.errors import TuningError
from promptport.evaluation import choose_template
from promptport.parameters.origins import origin_prompt
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.tasks import Row, Task, TaskLike, as_task
from promptport.transfers import TransferResult, transfer

# Fitting starts from a random mixture, and alignment from a good prompt.
FIT_EPOCHS, FIT_PATIENCE = 30, 5


@dataclass(frozen=True)
class AnswersResult:
    """A moved prompt, and how well it answers like the sources.

    Attributes:
        prompt: of the target.
        began: what alignment started from: `mixture`, `port`, `prompt`, or the kind of an origin.
        mixtures: for each source what fitting a mixture came to; None where it was one before.
            Empty unless alignment started from `mixture`.
        transfers: for each source the transfer of its prompt; empty if none was carried.
        start: which source's transfer alignment started from, 0 the first.
        aligned: what alignment came to.
        cue_word: word that was put in front of the answer for a causal target; None for none.
        before: agreement of the start with the sources, on the rows that alignment held back.
        after: agreement of `prompt` with them, on the same rows.
        texts: what was asked: `task`, `words` or `write`.
        asked: the questions and the sources' answers, of which the first were held back.
        written: texts that a model wrote to ask them; those that were asked are among them.
    """

    prompt: SoftPrompt
    began: str
    mixtures: tuple[DistillResult | None, ...]
    transfers: tuple[TransferResult, ...]
    start: int
    aligned: DistillResult
    cue_word: str | None
    before: Agreement
    after: Agreement
    texts: Texts
    asked: DistillTargets = field(repr=False, compare=False)
    written: tuple[Row, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            "began": self.began,
            "mixtures": [None if each is None else each.to_dict() for each in self.mixtures],
            "transfers": [each.report.to_dict() for each in self.transfers],
            "start": self.start,
            "aligned": self.aligned.to_dict(),
            "cue_word": self.cue_word,
            "before": vars(self.before),
            "after": vars(self.after),
            "texts": self.texts,
        }


@dataclass(frozen=True)
class _Begun:
    """A prompt of the target before it has learned anything, and where it came from."""

    prompt: SoftPrompt
    how: str
    mixtures: tuple[DistillResult | None, ...] = ()
    transfers: tuple[TransferResult, ...] = ()
    source: int = 0
    cue_word: str | None = None


def move_by_answers(  # noqa: PLR0913
    sources: Sequence[Teacher],
    target: BackboneLike,
    task: TaskLike,
    *,
    start: str | SoftPrompt = "auto",
    split: str = "train",
    config: DistillConfig | None = None,
    labelled: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    state: Path | None = None,
) -> AnswersResult:
    """Carry finished prompts to another backbone by what they do, not by where they lie.

    A prompt of the target is pulled towards the sources' mean answer (`align`). No label is read
    unless `labelled` says so, and with `texts="words"` no text either: the questions are random
    words.

    Between small models it begins from the prompts themselves: every free prompt becomes a mixture
    of words that all backbones know and answers like the prompt (`fit_mixture`); mixtures are
    transferred; for a causal target a word may come in front of the answer (`choose_cue_word`); the
    mixture that answers most like all sources is aligned. Between large ones (50 million parameters
    and more) it begins from random rows of the target's vocabulary.

    Args:
        sources: prompts of one task with their backbones, one or more.
        target: the frozen model to carry them to.
        task: gives template and label words, and with `texts="task"` unlabelled rows.
        start: what alignment begins from: `auto`, or what `Start.parse` reads, or a prompt of the
            target.
        split: the split of these rows.
        config: budget and rates of alignment; None for the usual ones of the target, on random
            words. Fitting a mixture takes more epochs.
        labelled: rows of the split whose labels are learned beside the sources' answers.
        progress: called with (what, steps done, steps in all).
        state: folder of an unfinished move, which goes on from there; it stays. None: it begins
            anew.

    Raises:
        TuningError: no source, no such start, or the folder is that of another move.
        MismatchError: a prompt does not belong to its backbone, or lengths differ.
        AnchorError: the backbones share too few words.
        TaskError: a text to text task, or too few rows.
    """
    if not sources:
        raise TuningError("sources", expected="one or more", got="none", fix="Name a prompt")
    model, asked = as_backbone(target), as_task(task)
    config = config or replace(usual_distillation(model), texts="words")
    check_labelled(labelled)
    apart = held_back_rows(asked, split, config) if labelled else ()
    known = labelled_rows(asked, split, labelled, config.seed, apart)
    texts: Texts = config.texts
    written: tuple[Row, ...] = ()
    if texts == "write":
        kept = None if state is None else state / "texts.json"
        asked, config = with_written_texts(asked, split, config, model, sources, kept)
        written = tuple(asked.texts(split))
    if start == "auto":
        start = usual_start(model, [source.backbone for source in sources])
    if isinstance(start, SoftPrompt):
        model.check_prompt(start)
        begun = _Begun(_asked_alike(start, sources[0].prompt, asked), "prompt")
    else:
        parsed = Start.parse(start, asked, config.seed)
        if parsed.origin is None:
            fits = parsed.kind == "mixture"
            begun = _carried(sources, model, asked, fits, split, config, progress, state)
        else:
            made = origin_prompt(parsed.origin, model, sources[0].prompt.length)
            begun = _Begun(_asked_alike(made, sources[0].prompt, asked), parsed.origin.kind)
    targets = DistillTargets.make(
        model, begun.prompt, sources, asked, split, config, _inside(state, "answers"), known
    )
    aligned = align_to(
        begun.prompt,
        targets,
        sources,
        config,
        _named(progress, f"aligning on {model.name}"),
        state=_inside(state, "alignment"),
    )
    held = targets.held_back(config)
    before, after = (
        targets.agreement(each.vectors.to(model.device), held)
        for each in (begun.prompt, aligned.prompt)
    )
    return AnswersResult(
        aligned.prompt,
        begun.how,
        begun.mixtures,
        begun.transfers,
        begun.source,
        aligned,
        begun.cue_word,
        before,
        after,
        texts,
        targets,
        written,
    )


def _inside(state: Path | None, name: str) -> Path | None:
    return None if state is None else state / f"{name}.safetensors"


def _asked_alike(prompt: SoftPrompt, source: SoftPrompt, task: Task) -> SoftPrompt:
    """A prompt of the target in the template of a source, with the source's history."""
    old = source.provenance
    entry = begun_entry(old, prompt.provenance.backbone, prompt.provenance.origin)
    provenance = replace(
        prompt.provenance,
        template=choose_template(task, source).text,
        task=old.task or task.name,
        origin=None,
        history=(*old.history, entry),
    )
    return SoftPrompt(prompt.vectors, provenance)


def _carried(
    sources: Sequence[Teacher],
    model: Backbone,
    task: Task,
    fits: bool,
    split: str,
    config: DistillConfig,
    progress: Callable[[str, int, int], None] | None,
    state: Path | None,
) -> _Begun:
    """The prompts, or the mixtures that they become first, carried by the embedding tables."""
    mixtures: list[DistillResult | None] = []
    if fits:
        words = words_of(model.space, *(source.backbone.space for source in sources))
        mixtures = fit_mixtures(
            sources, task, words, split=split, config=config, progress=progress, state=state
        )
    fitted = mixtures or [None] * len(sources)
    transfers = [
        transfer(source.prompt if own is None else own.prompt, source.backbone.space, model.space)
        for source, own in zip(sources, fitted, strict=True)
    ]
    # Nothing was learned on the target yet, so all rows may decide between words and starts.
    starts = [
        choose_cue_word(each.prompt, model, sources, task, split=split, config=config)
        for each in transfers
    ]
    chosen = 0
    if len(starts) > 1:
        apart = [
            agreement(each.prompt, model, sources, task, split=split, config=config).divergence
            for each in starts
        ]
        chosen = apart.index(min(apart))
    return _Begun(
        starts[chosen].prompt,
        "mixture" if fits else "port",
        tuple(mixtures),
        tuple(transfers),
        chosen,
        starts[chosen].word,
    )


def words_of(*spaces: EmbeddingSpace) -> list[str]:
    """Words that are single tokens of all spaces, in code point order."""
    return sorted(set.intersection(*(set(space.words) for space in spaces)))


def fit_mixtures(
    sources: Sequence[Teacher],
    task: Task,
    words: Sequence[str],
    *,
    split: str = "train",
    config: DistillConfig,
    progress: Callable[[str, int, int], None] | None = None,
    state: Path | None = None,
) -> list[DistillResult | None]:
    """A mixture of words for every free prompt, fitted on its own backbone; None for the others.

    Args:
        sources: prompts of one task with their backbones.
        task: gives template, label words and unlabelled rows.
        words: to mix.
        split: the split of these rows.
        config: what is asked; fitting takes 30 epochs.
        progress: called with (what, steps done, steps in all).
        state: folder of an unfinished move.

    Raises:
        PromptPortError: as `fit_mixture`.
    """
    return [
        None
        if source.prompt.mixture is not None
        else fit_mixture(
            source.prompt,
            source.backbone,
            task,
            words=words,
            split=split,
            config=learning_settings(config, {"epochs": FIT_EPOCHS, "patience": FIT_PATIENCE}),
            progress=_named(progress, f"fitting a mixture on {source.backbone.name}"),
            state=_inside(state, f"mixture-{number}"),
        )
        for number, source in enumerate(sources)
    ]


def _named(
    progress: Callable[[str, int, int], None] | None, what: str
) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)
