"""Task prompt vectors on another backbone: a linear method moves a difference as a difference.

With `P ↦ P M (+ c)`, transfer(P*) - transfer(P_0) = (P* - P_0) M: the vector can be moved alone,
and put on a native origin of the target. Magnitude rules that rescale every virtual token by itself
are not linear; a vector keeps its norm times one number for the pair of backbones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from promptport._version import __version__
from promptport.anchors import AnchorSet
from promptport.belonging import check_same_backbone
from promptport.errors import AnchorError, MismatchError
from promptport.mixture import Mixture
from promptport.prompt import Provenance, SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import find_method
from promptport.vector import TaskPromptVector


def transfer_vector(
    vector: TaskPromptVector,
    source: EmbeddingSpace,
    target: EmbeddingSpace,
    *,
    method: str = "linear_map",
    words: Sequence[str] | None = None,
    anchors: str = "all",
    minimum_anchors: int = 32,
    options: Mapping[str, Any] | None = None,
) -> TaskPromptVector:
    """Move a task prompt vector to another backbone without data, labels or either model.

    Args:
        vector: (n, d_s), belongs to `source`.
        source: space of the backbone of the vector.
        target: space of the backbone that it shall work on.
        method: `linear_map`, `least_squares` or `operator` (the last two without mask, times the
            ratio of the mean norms of the words' rows).
        words: use only these words as anchors; None for all that both backbones know.
        anchors: which of them, as in `TransferConfig`.
        minimum_anchors: refuse fewer anchors than this.
        options: of the method.

    Returns:
        (n, d_t) with the same coefficients; it can be applied to any origin of the target.

    Raises:
        MismatchError: the vector does not belong to `source`, or the method is not linear.
        AnchorError: too few shared words.
        UnknownNameError: no such method or option.
    """
    found = find_method(method)
    chosen = found.complete(options or {})
    if found.linear is None or chosen.get("topk") is not None:
        raise MismatchError(
            "method",
            expected="a linear method for a vector: linear_map, or least_squares or operator "
            "without topk",
            got=found.name,
            fix="Choose one of them, or transfer the whole prompt",
        )
    fix = "Name the backbone that it was made on with --backbone"
    check_same_backbone(vector, source, name="task prompt vector", fix=fix)
    shared = AnchorSet.shared(source, target, words=words, minimum=minimum_anchors).keep(anchors)
    generator = torch.Generator().manual_seed(0)  # no linear method draws

    def moved(rows: Tensor) -> Tensor:
        matrices = shared.matrix(0), shared.matrix(1)
        statistics = source.statistics, target.statistics
        problem = TransferProblem(rows, *matrices, *statistics, generator)
        result: Tensor = found(problem, chosen)
        return result

    if found.linear == "vectors":
        delta = moved(vector.delta)
        if chosen.get("centre"):
            delta = delta - moved(torch.zeros_like(vector.delta))  # what is not linear cancels
    else:
        norms = vector.delta.norm(dim=1, keepdim=True)  # (n, 1)
        ratio = target.statistics.mean_norm / source.statistics.mean_norm
        # A row of zeros has no direction; any will do, since it is multiplied by zero.
        rows = torch.where(norms > 0, vector.delta, source.statistics.centre + 1.0)
        delta = moved(normalize(rows, dim=1)) * norms * ratio
    old = vector.provenance
    entry = {"source": source.backbone, "source_revision": old.revision or source.revision}
    entry["source_fingerprint"] = source.fingerprint
    record = {**entry, "method": found.name, "options": chosen, "anchors": len(shared.words)}
    return vector.with_values(delta, _provenance(old, target, record))


def transfer_word_vector(
    prompt: SoftPrompt, start: Mixture, target: EmbeddingSpace, *, name: str = "prompt"
) -> TaskPromptVector:
    """The vector of a mixture prompt in word coordinates: words with signs, `(W - W_0) A_t`.

    This is transfer(P) - transfer(P_0) by the method `mixture`, both over the words that the target
    knows.

    Args:
        prompt: a mixture prompt, (n, d_s).
        start: what its tuning started from (`tuning.mixtures.starting_mixture`).
        target: space of the backbone that the vector shall work on.
        name: of the task, if the prompt does not say its task.

    Returns:
        (n, d_t).

    Raises:
        MismatchError: the prompt is no mixture prompt, or `start` has another length.
        AnchorError: no shared words.
    """
    if prompt.mixture is None or len(start.weights) != prompt.length:
        raise MismatchError(
            "prompt",
            expected="a mixture prompt and the mixture that its tuning started from",
            got="no mixture" if prompt.mixture is None else f"{len(start.weights)} start rows",
            fix="Tune with --mixture, or use transfer_vector",
        )
    words = [word for word in prompt.mixture.words if word in target.words]
    if not words:
        raise AnchorError(
            "words",
            expected=f"some that {target.backbone} knows",
            got="none",
            fix="Tune with --words-of the target",
        )
    index = {word: i for i, word in enumerate(words)}
    rows = target.rows([target.words[word] for word in words])  # (k, d_t)
    (end, _), (begin, _) = prompt.mixture.over(index), start.over(index)
    delta = (end - begin).to(rows.dtype) @ rows
    task = prompt.provenance.task or name
    old = replace(prompt.provenance, task=task)
    entry = {"source": old.backbone, "source_fingerprint": old.fingerprint}
    record = {**entry, "method": "mixture.v1", "anchors": len(words)}
    return TaskPromptVector(delta, _provenance(old, target, record), {task: 1.0})


def _provenance(old: Provenance, target: EmbeddingSpace, record: Mapping[str, Any]) -> Provenance:
    """On the target nothing started from the source's origin: only the history keeps it."""
    entry = {
        "step": "transfer vector",
        "target": target.backbone,
        **record,
        "origin": old.origin,
        "tuning": old.tuning,
        "promptport": __version__,
    }
    return replace(
        old,
        backbone=target.backbone,
        kind=target.kind,
        revision=target.revision,
        fingerprint=target.fingerprint,
        origin=None,
        tuning=None,
        history=(*old.history, entry),
    )
