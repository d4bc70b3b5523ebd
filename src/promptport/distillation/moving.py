"""The whole road for finished prompts: re-anchor on the sources, transfer, calibrate the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptport.backbone import Backbone
from promptport.distillation.cue_word import choose_cue_word
from promptport.distillation.recipes import DistillResult, align, fit_mixture
from promptport.distillation.targets import Agreement, DistillConfig, Teacher, Texts, agreement
from promptport.errors import TuningError
from promptport.prompt import SoftPrompt
from promptport.tasks import Task
from promptport.transfers import TransferResult, transfer

# Re-anchoring starts from a random mixture and calibration from a good prompt.
_ANCHOR_EPOCHS, _ANCHOR_PATIENCE = 30, 5
_LITTLE = 0.5  # share of equal answers below which the result is not to be trusted


@dataclass(frozen=True)
class MoveResult:
    """A moved prompt, and how well it answers like the sources.

    Attributes:
        prompt: of the target.
        anchored: for each source what re-anchoring came to; None for one that was anchored.
        transfers: for each source the transfer of its mixture.
        start: which source's transfer calibration started from.
        calibrated: what calibration came to.
        readout: word that was put in front of the answer for a causal target; None for none.
        before: agreement of the start with the sources, on the rows that calibration held back.
        after: agreement of `prompt` with them, on the same rows.
        texts: what was asked, `words` or `task`.
    """

    prompt: SoftPrompt
    anchored: tuple[DistillResult | None, ...]
    transfers: tuple[TransferResult, ...]
    start: int
    calibrated: DistillResult
    cue_word: str | None
    before: Agreement
    after: Agreement
    texts: Texts

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the result."""
        told = f"it answers like its source on {self.after.same:.0%} of the"
        if self.texts == "words":
            return (
                f"{told} random words, which says little about real texts: score it on labelled "
                "rows, or move it with unlabelled texts of the task"
            )
        if self.after.same < _LITTLE:
            return f"{told} texts only: score it on labelled rows before any use"
        return f"{told} texts"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            "anchored": [None if each is None else each.to_dict() for each in self.anchored],
            "transfers": [each.report.to_dict() for each in self.transfers],
            "start": self.start,
            "calibrated": self.calibrated.to_dict(),
            "readout": self.cue_word,
            "before": vars(self.before),
            "after": vars(self.after),
            "texts": self.texts,
            "verdict": self.verdict,
        }


def move(
    sources: Sequence[Teacher],
    target: Backbone,
    task: Task,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> MoveResult:
    """Carry finished prompts to another backbone by what they do, not by where they lie.

    Every free prompt becomes a mixture of words that all backbones know and answers like the
    prompt (`anchor`); mixtures are transferred; for a causal target a word may come in front of the
    answer (`choose_readout`); the mixture that answers most like all sources is
    pulled towards their mean answer (`calibrate`). No label is read. With `texts="words"`, the
    default here, no text either: the questions are random words.

    Args:
        sources: prompts of one task with their backbones, one or more.
        target: the frozen model to carry them to.
        task: gives template and label words, and with `texts="task"` unlabelled rows.
        split: the split of these rows.
        config: budget and rates of calibration; re-anchoring takes more epochs.
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
    spaces = [target.space, *(source.backbone.space for source in sources)]
    words = sorted(set.intersection(*(set(space.words) for space in spaces)))
    thorough = replace(config, epochs=_ANCHOR_EPOCHS, patience=_ANCHOR_PATIENCE)

    def told(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    anchored: list[DistillResult | None] = []
    transfers: list[TransferResult] = []
    for source in sources:
        prompt, found = source.prompt, None
        if prompt.mixture is None:
            found = fit_mixture(
                prompt,
                source.backbone,
                task,
                words=words,
                split=split,
                config=thorough,
                progress=told(f"anchoring on {source.backbone.name}"),
            )
            prompt = found.prompt
        anchored.append(found)
        transfers.append(transfer(prompt, source.backbone.space, target.space))

    def alike(prompt: SoftPrompt, *, held_back: bool) -> Agreement:
        return agreement(
            prompt, target, sources, task, split=split, config=config, held_back=held_back
        )

    # Nothing was learned on the target yet, so all rows may decide between words and starts.
    readouts = [
        choose_cue_word(each.prompt, target, sources, task, split=split, config=config)
        for each in transfers
    ]
    start = 0
    if len(readouts) > 1:
        apart = [alike(each.prompt, held_back=False).divergence for each in readouts]
        start = apart.index(min(apart))
    calibrated = align(
        readouts[start].prompt,
        target,
        sources,
        task,
        split=split,
        config=config,
        progress=told(f"calibrating on {target.name}"),
    )
    return MoveResult(
        calibrated.prompt,
        tuple(anchored),
        tuple(transfers),
        start,
        calibrated,
        readouts[start].word,
        alike(readouts[start].prompt, held_back=True),
        alike(calibrated.prompt, held_back=True),
        config.texts,
    )
