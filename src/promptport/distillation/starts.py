"""What a prompt of the target begins from, and the usual budget, by the size of the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.distillation.config import DistillConfig
from promptport.errors import TuningError
from promptport.objective import pick_rows
from promptport.parameters.origins import OriginSpec
from promptport.provenance import Provenance
from promptport.tasks import Row, Task
from promptport.tuning.usual import LARGE

Begin = Literal["mixture", "port", "origin"]

# Tasks differ in how many updates they need: most are learned in 60, trec in 80 to 120
# (benchmarks/LOG.md), so it goes on where many held-back answers differ and still come closer.
LARGE_BUDGET = DistillConfig(
    rows=256,
    epochs=0,
    steps=120,
    check=20,
    patience=3,
    enough_same=0.8,
    average=10,
    relative_lr=0.1,
)


@dataclass(frozen=True)
class Start:
    """What the prompt of the target begins from.

    Attributes:
        kind: `mixture` (the prompt as a mixture of words, carried by the embedding tables), `port`
            (the prompt itself, carried by them) or `origin` (nothing of the prompt).
        origin: of the kind `origin`: how it is made on the target.
    """

    kind: Begin
    origin: OriginSpec | None = None

    @classmethod
    def parse(cls, text: str, task: Task, seed: int) -> Start:
        """Read `mixture`, `port`, `labels` (the task's label words) or an origin's kind.

        Args:
            text: what a user writes.
            task: of the label words.
            seed: of origins that are drawn.

        Raises:
            TuningError: none of these, or a task without labels.
        """
        if text == "mixture":
            return cls("mixture")
        if text == "port":
            return cls("port")
        if text == "labels":
            return cls("origin", OriginSpec.parse(f"text:{_label_words(task)}", seed))
        try:
            return cls("origin", OriginSpec.parse(text, seed))
        except TuningError:
            raise TuningError(
                "start of a move",
                expected="auto, mixture, port, labels, vocabulary, normal, text:SOME WORDS, or a "
                "prompt folder of the target",
                got=repr(text),
                fix="Choose one of them, or leave it out",
            ) from None


def _label_words(task: Task) -> str:
    words = [word for own in (task.labels or {}).values() for word in own]
    if not words:
        raise TuningError(
            "--start labels",
            expected="a task with label words",
            got=f"{task.name}, which has none",
            fix="Start from vocabulary, or from text:SOME WORDS",
        )
    return " ".join(words)


def usual_start(target: Backbone, sources: Sequence[Backbone]) -> str:
    """What a move begins from: small models share much, large ones next to nothing."""
    large = any(each.parameters >= LARGE for each in (target, *sources))
    return "vocabulary" if large else "mixture"


def usual_distillation(target: Backbone) -> DistillConfig:
    """Budget and rates of aligning on a target."""
    return LARGE_BUDGET if target.parameters >= LARGE else DistillConfig()


def learning_settings(usual: DistillConfig, given: Mapping[str, Any]) -> DistillConfig:
    """Usual settings with changes; updates or passes that are given are all taken.

    Args:
        usual: see `usual_distillation`.
        given: fields of `DistillConfig`.

    Raises:
        TuningError: a value out of its range.
    """
    if "steps" in given or "epochs" in given:
        usual = replace(usual, least_gain=0.0, enough_same=0.0)
    return replace(usual, **given)


def check_labelled(count: int) -> None:
    """Refuse a number of labelled rows below 0.

    Raises:
        TuningError: it is.
    """
    if count < 0:
        raise TuningError("labelled", expected="0 rows or more", got=str(count), fix="Leave it out")


def labelled_rows(
    task: Task, split: str, count: int, seed: int, held_back: Iterable[Row]
) -> list[Row]:
    """Rows whose labels may be learned.

    Args:
        task: gives the rows.
        split: the split whose labels are read.
        count: most rows, 0 or more.
        seed: of the choice.
        held_back: rows that only tell how like the source's the answers are: their labels are not
            learned, or they would tell that of what was learned.
    """
    if count == 0:
        return []
    texts = {tuple(sorted(row.fields.items())) for row in held_back}
    others = [row for row in task.load(split) if tuple(sorted(row.fields.items())) not in texts]
    return pick_rows(others, count, seed) if others else []


def begun_entry(source: Provenance, target: str, start: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the history says of a prompt that begins anew on a target.

    Args:
        source: of the prompt that it shall answer like.
        target: name of the backbone.
        start: how the origin was made; None: another prompt.
    """
    return {
        "step": "begin",
        "source": source.backbone,
        "source_revision": source.revision,
        "source_fingerprint": source.fingerprint,
        "target": target,
        "start": dict(start or {"kind": "prompt"}),
        "origin": source.origin,
        "tuning": source.tuning,
        "promptport": __version__,
    }
