"""The road by answers: fit mixtures on the sources, carry them, align one with the answers there.

`promptport.move` is the front door, which chooses between this road and that by embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptport.backbone import BackboneLike, as_backbone
from promptport.distillation.cue_word import choose_cue_word
from promptport.distillation.recipes import DistillResult, align, fit_mixture
from promptport.distillation.targets import Agreement, DistillConfig, Teacher, Texts, agreement
from promptport.errors import TuningError
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.tasks import Task, TaskLike, as_task
from promptport.transfers import TransferResult, transfer

# Fitting starts from a random mixture, and alignment from a good prompt.
FIT_EPOCHS, FIT_PATIENCE = 30, 5


@dataclass(frozen=True)
class AnswersResult:
    """A moved prompt, and how well it answers like the sources.

    Attributes:
        prompt: of the target.
        mixtures: for each source what fitting a mixture came to; None where it was one before.
        transfers: for each source the transfer of its mixture.
        start: which source's transfer alignment started from, 0 the first.
        aligned: what alignment came to.
        cue_word: word that was put in front of the answer for a causal target; None for none.
        before: agreement of the start with the sources, on the rows that alignment held back.
        after: agreement of `prompt` with them, on the same rows.
        texts: what was asked, `words` or `task`.
    """

    prompt: SoftPrompt
    mixtures: tuple[DistillResult | None, ...]
    transfers: tuple[TransferResult, ...]
    start: int
    aligned: DistillResult
    cue_word: str | None
    before: Agreement
    after: Agreement
    texts: Texts

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            "mixtures": [None if each is None else each.to_dict() for each in self.mixtures],
            "transfers": [each.report.to_dict() for each in self.transfers],
            "start": self.start,
            "aligned": self.aligned.to_dict(),
            "cue_word": self.cue_word,
            "before": vars(self.before),
            "after": vars(self.after),
            "texts": self.texts,
        }


def move_by_answers(
    sources: Sequence[Teacher],
    target: BackboneLike,
    task: TaskLike,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> AnswersResult:
    """Carry finished prompts to another backbone by what they do, not by where they lie.

    Every free prompt becomes a mixture of words that all backbones know and answers like the
    prompt (`fit_mixture`); mixtures are transferred; for a causal target a word may come in front
    of the answer (`choose_cue_word`); the mixture that answers most like all sources is pulled
    towards their mean answer (`align`). No label is read. With `texts="words"`, the default here,
    no text either: the questions are random words.

    Args:
        sources: prompts of one task with their backbones, one or more.
        target: the frozen model to carry them to.
        task: gives template and label words, and with `texts="task"` unlabelled rows.
        split: the split of these rows.
        config: budget and rates of alignment; fitting a mixture takes more epochs.
        progress: called with (what, steps done, steps in all).

    Raises:
        TuningError: no source.
        MismatchError: a prompt does not belong to its backbone, or lengths differ.
        AnchorError: the backbones share too few words.
        TaskError: a text to text task, or too few rows.
    """
    if not sources:
        raise TuningError("sources", expected="one or more", got="none", fix="Name a prompt")
    config = config or DistillConfig(texts="words")
    model, asked = as_backbone(target), as_task(task)
    words = words_of(model.space, *(source.backbone.space for source in sources))
    mixtures = fit_mixtures(sources, asked, words, split=split, config=config, progress=progress)
    transfers = [
        transfer(
            source.prompt if fitted is None else fitted.prompt, source.backbone.space, model.space
        )
        for source, fitted in zip(sources, mixtures, strict=True)
    ]

    def alike(prompt: SoftPrompt, *, held_back: bool) -> Agreement:
        return agreement(
            prompt, model, sources, asked, split=split, config=config, held_back=held_back
        )

    # Nothing was learned on the target yet, so all rows may decide between words and starts.
    starts = [
        choose_cue_word(each.prompt, model, sources, asked, split=split, config=config)
        for each in transfers
    ]
    start = 0
    if len(starts) > 1:
        apart = [alike(each.prompt, held_back=False).divergence for each in starts]
        start = apart.index(min(apart))
    aligned = align(
        starts[start].prompt,
        model,
        sources,
        asked,
        split=split,
        config=config,
        progress=_named(progress, f"aligning on {model.name}"),
    )
    return AnswersResult(
        aligned.prompt,
        tuple(mixtures),
        tuple(transfers),
        start,
        aligned,
        starts[start].word,
        alike(starts[start].prompt, held_back=True),
        alike(aligned.prompt, held_back=True),
        config.texts,
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
) -> list[DistillResult | None]:
    """A mixture of words for every free prompt, fitted on its own backbone; None for the others.

    Args:
        sources: prompts of one task with their backbones.
        task: gives template, label words and unlabelled rows.
        words: to mix.
        split: the split of these rows.
        config: what is asked; fitting takes 30 epochs.
        progress: called with (what, steps done, steps in all).

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
            config=replace(config, epochs=FIT_EPOCHS, patience=FIT_PATIENCE),
            progress=_named(progress, f"fitting a mixture on {source.backbone.name}"),
        )
        for source in sources
    ]


def _named(
    progress: Callable[[str, int, int], None] | None, what: str
) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)
