"""Transfer: move a soft prompt from one frozen backbone to another by their embedding tables alone.

Encode every virtual token by its cosines to the words that both backbones know, decode with a
method of the registry, then set the lengths by a magnitude rule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.anchored import Mixture
from promptport.anchors import AnchorReport, AnchorSet
from promptport.errors import MismatchError
from promptport.prompt import Provenance, SoftPrompt
from promptport.relative import matching
from promptport.space import EmbeddingSpace
from promptport.transfers import gradient, least_squares, mixture  # noqa: F401  (they register)
from promptport.transfers.magnitude import MAGNITUDES, MagnitudeRule, find_magnitude
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import Method, find_method, list_methods, transfer_method
from promptport.transfers.report import (
    Nearest,
    TransferReport,
    judge,
    mean_length,
    mean_pair_cosine,
)

__all__ = [
    "MAGNITUDES",
    "Method",
    "TransferProblem",
    "TransferReport",
    "TransferResult",
    "find_magnitude",
    "find_method",
    "list_methods",
    "transfer",
    "transfer_method",
]


@dataclass(frozen=True)
class TransferResult:
    """A ported prompt and the report on it."""

    prompt: SoftPrompt
    report: TransferReport


@dataclass(frozen=True)
class _Plan:
    """Everything that was chosen before the work starts."""

    method: Method
    options: dict[str, Any]
    rule: MagnitudeRule
    magnitude: str
    seed: int
    roundtrip: bool

    def decode(self, problem: TransferProblem) -> Tensor:
        return self.rule(self.method(problem, self.options), problem)  # (n, d_t)


def transfer(  # noqa: PLR0913
    prompt: SoftPrompt,
    source: EmbeddingSpace,
    target: EmbeddingSpace,
    *,
    method: str | None = None,
    magnitude: str | None = None,
    words: Sequence[str] | None = None,
    minimum_anchors: int = 32,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    roundtrip: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> TransferResult:
    """Move a soft prompt to another backbone without data, labels or either language model.

    The new prompt keeps template and task. It has no origin (`SoftPrompt.origin` is None): what
    tuning started from does not move along unless the method is linear. The source's origin, tuning
    record and revision stay in the new entry of `provenance.history`.

    Args:
        prompt: (n, d_s), belongs to `source`.
        source: space of the backbone that it was tuned on.
        target: space of the backbone that it shall work on.
        method: name of a transfer method, with or without version; None for `mixture` if the
            prompt is anchored, else `least_squares`.
        magnitude: rule for the length of the virtual tokens: `token`, `paper` or `keep`; None for
            `keep` with the method `mixture`, else `token`.
        words: use only these words as anchors; None for all that both backbones know.
        minimum_anchors: refuse fewer anchors than this.
        seed: of methods that draw random numbers.
        options: of the method.
        roundtrip: also carry the result home for the report: as much work again.
        progress: called with (done, in all) by methods that take long.

    Raises:
        MismatchError: the prompt does not belong to `source`.
        AnchorError: too few shared words.
        UnknownNameError: no such method, option or rule.
    """
    start = time.perf_counter()
    found = find_method(method or ("least_squares" if prompt.mixture is None else "mixture"))
    rule = magnitude or ("keep" if found.name.startswith("mixture.") else "token")
    plan = _Plan(found, found.complete(options or {}), find_magnitude(rule), rule, seed, roundtrip)
    _check_belongs(prompt, source)
    anchors = AnchorSet.shared(source, target, words=words, minimum=minimum_anchors)
    moved = _shared_mixture(prompt, anchors)
    problem = TransferProblem(
        prompt.vectors,
        anchors.matrix(0),
        anchors.matrix(1),
        source.statistics,
        target.statistics,
        torch.Generator().manual_seed(seed),
        None if moved is None else moved.mixture.weights,
        progress,
    )
    decode_start = time.perf_counter()
    vectors = plan.decode(problem)  # (n, d_t)
    decode_seconds = time.perf_counter() - decode_start
    times = (start, decode_seconds)
    report = _report(plan, problem, vectors, anchors.report, (source, target), times)
    carried = None
    if moved is not None and found.name.startswith("mixture."):
        report = replace(report, kept_weight=moved.kept)
        carried = moved.mixture
    provenance = _provenance(prompt, source, target, report)
    return TransferResult(SoftPrompt(vectors, provenance, mixture=carried), report)


@dataclass(frozen=True)
class _SharedMixture:
    """A mixture over the anchors, and the mean share of the weight that was on them."""

    mixture: Mixture
    kept: float


def _shared_mixture(prompt: SoftPrompt, anchors: AnchorSet) -> _SharedMixture | None:
    if prompt.mixture is None:
        return None
    weights, kept = prompt.mixture.over({word: i for i, word in enumerate(anchors.words)})
    return _SharedMixture(Mixture(anchors.words, weights), float(kept.mean()))


def _check_belongs(prompt: SoftPrompt, source: EmbeddingSpace) -> None:
    name = prompt.provenance.backbone
    if prompt.width != source.width:
        raise MismatchError(
            "prompt",
            expected=f"virtual tokens {source.width} wide ({source.backbone})",
            got=f"{prompt.width} ({name})",
            fix="Name the backbone that it was tuned on as the source",
        )
    known = prompt.provenance.fingerprint
    if known is not None and known != source.fingerprint:
        raise MismatchError(
            "prompt",
            expected=f"the embedding matrix {known[:12]} of {name}",
            got=f"{source.fingerprint[:12]} ({source.backbone})",
            fix="Name the backbone, and the revision, that it was tuned on as the source",
        )


def _report(
    plan: _Plan,
    problem: TransferProblem,
    vectors: Tensor,
    anchors: AnchorReport,
    spaces: tuple[EmbeddingSpace, EmbeddingSpace],
    times: tuple[float, float],
) -> TransferReport:
    source, target = spaces
    per_token = matching(problem.relative, problem.anchors_tgt, vectors)  # (n,)
    roundtrip = None
    if plan.roundtrip:
        back = plan.decode(problem.reversed(vectors))  # (n, d_s)
        roundtrip = float(
            torch.nn.functional.cosine_similarity(back, problem.vectors, dim=1).mean()
        )
    parallel = mean_pair_cosine(vectors)
    ratio_source = mean_length(problem.vectors) / source.statistics.mean_norm
    return TransferReport(
        source=source.backbone,
        target=target.backbone,
        method=plan.method.name,
        options=plan.options,
        magnitude=plan.magnitude,
        seed=plan.seed,
        anchors=anchors.count,
        coverage=anchors.coverage,
        agreement=anchors.agreement,
        agreement_raw=anchors.agreement_raw,
        matching=float(per_token.mean()),
        matching_tokens=tuple(per_token.tolist()),
        roundtrip=roundtrip,
        norm_ratio=mean_length(vectors) / target.statistics.mean_norm,
        norm_ratio_source=ratio_source,
        nearest_before=_nearest(source, problem.vectors),
        nearest_after=_nearest(target, vectors),
        parallel=parallel,
        seconds=time.perf_counter() - times[0],
        decode_seconds=times[1],
        labels_used=False,
        verdict=judge(
            anchor_verdict=anchors.verdict,
            matching=float(per_token.mean()),
            roundtrip=roundtrip,
            parallel=(mean_pair_cosine(problem.vectors), parallel),
            norm_ratio_source=ratio_source,
            magnitude=plan.magnitude,
            kinds=(source.kind, target.kind),
        ),
    )


def _nearest(space: EmbeddingSpace, vectors: Tensor) -> Nearest:
    return tuple(tuple(row) for row in space.nearest(vectors))


def _provenance(
    prompt: SoftPrompt, source: EmbeddingSpace, target: EmbeddingSpace, report: TransferReport
) -> Provenance:
    old = prompt.provenance
    entry = {
        "step": "transfer",
        "source": source.backbone,
        "source_revision": old.revision or source.revision,
        "source_fingerprint": source.fingerprint,
        "target": target.backbone,
        "method": report.method,
        "options": report.options,
        "magnitude": report.magnitude,
        "anchors": report.anchors,
        "matching": report.matching,
        "seed": report.seed,
        "origin": old.origin,
        "tuning": old.tuning,
        "promptport": __version__,
    }
    return Provenance(
        backbone=target.backbone,
        kind=target.kind,
        revision=target.revision,
        fingerprint=target.fingerprint,
        template=old.template,
        task=old.task,
        history=(*old.history, entry),
    )
