"""Task prompt vectors on another backbone: a linear method moves a difference as a difference.

With `P ↦ P M (+ c)`, transfer(P*) - transfer(P_0) = (P* - P_0) M: the vector can be moved alone,
and put on a native origin of the target. Magnitude rules that rescale every virtual token by itself
are not linear; a vector keeps its norm times one number for the pair of backbones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from promptport._version import __version__
from promptport.anchors import AnchorSet
from promptport.backbone import SpaceLike
from promptport.belonging import check_same_backbone
from promptport.errors import AnchorError, MismatchError
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.space import EmbeddingSpace
from promptport.storage import VectorLike, as_vector
from promptport.transfers.config import TransferConfig, shared_anchors
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import TransferMethod, find_method
from promptport.transfers.sources import both_spaces
from promptport.vector import TaskPromptVector


def transfer_vector(
    vector: VectorLike,
    source: SpaceLike | None = None,
    target: SpaceLike | None = None,
    config: TransferConfig | None = None,
    *,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> TaskPromptVector:
    """Move a task prompt vector to another backbone without data, labels or either model.

    Args:
        vector: (n, d_s), or its folder; belongs to `source`.
        source: backbone of the vector; None for the one that it remembers.
        target: backbone that it shall work on; one backbone alone is the target.
        config: which words are anchors, and the method and its options; the rest has no effect.
        method: `linear_map` (the usual one), `least_squares` or `operator` (the last two without
            mask, times the ratio of the mean norms of the words' rows); None for that of `config`.
        options: of the method; None for those of `config`.

    Returns:
        (n, d_t) with the same coefficients; it can be applied to any origin of the target.

    Raises:
        MismatchError: the vector does not belong to `source`, or the method is not linear.
        AnchorError: too few shared words.
        UnknownNameError: no such method or option.
    """
    config = config or TransferConfig()
    way = find_method(method or config.method or "linear_map")
    chosen = way.complete(config.options if options is None else options)
    if way.linear is None or chosen.get("topk") is not None:
        raise MismatchError(
            "method",
            expected="a linear method for a vector: linear_map, or least_squares or operator "
            "without topk",
            got=way.name,
            fix="Choose one of them, or transfer the whole prompt",
        )
    vector = as_vector(vector)
    home, space = both_spaces(vector.provenance, source, target)
    fix = "Name the backbone that it was made on with --backbone"
    check_same_backbone(vector, home, name="task prompt vector", fix=fix)
    shared = shared_anchors(config, home, space)
    delta = _moved(vector.delta, way, chosen, shared)
    old = vector.provenance
    entry = {"source": home.backbone, "source_revision": old.revision or home.revision}
    entry["source_fingerprint"] = home.fingerprint
    record = {**entry, "method": way.name, "options": chosen, "anchors": len(shared)}
    return vector.with_values(delta, _provenance(old, space, record))


def _moved(
    delta: Tensor, method: TransferMethod, options: Mapping[str, Any], anchors: AnchorSet
) -> Tensor:
    """A difference (n, d_s) by a linear method: (n, d_t)."""
    home, target = (space.statistics for space in anchors.spaces)
    generator = torch.Generator().manual_seed(0)  # no linear method draws

    def apply(rows: Tensor) -> Tensor:
        matrices = anchors.matrix(0), anchors.matrix(1)
        moved: Tensor = method(TransferProblem(rows, *matrices, home, target, generator), options)
        return moved

    if method.linear == "vectors":
        moved = apply(delta)
        # What is not linear cancels.
        return moved - apply(torch.zeros_like(delta)) if options.get("centre") else moved
    norms = delta.norm(dim=1, keepdim=True)  # (n, 1)
    # A row of zeros has no direction; any will do, since it is multiplied by zero.
    rows = torch.where(norms > 0, delta, home.centre + 1.0)
    scaled: Tensor = apply(normalize(rows, dim=1)) * norms * (target.mean_norm / home.mean_norm)
    return scaled


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
    words = [word for word in prompt.mixture.words if word in target.all_words]
    if not words:
        raise AnchorError(
            "words",
            expected=f"some that {target.backbone} knows",
            got="none",
            fix="Tune with --words-of the target",
        )
    index = {word: i for i, word in enumerate(words)}
    rows = target.rows([target.all_words[word] for word in words])  # (k, d_t)
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
        file=target.file_record,
        origin=None,
        tuning=None,
        history=(*old.history, entry),
    )
