"""The second half of a transfer: from a description to a prompt, a report and its history."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from promptport._version import __version__
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.relative import encode_relative, matching
from promptport.space import EmbeddingSpace
from promptport.transfers.config import Plan
from promptport.transfers.describing import Description
from promptport.transfers.magnitude import find_magnitude
from promptport.transfers.problem import TransferProblem
from promptport.transfers.report import (
    ALIKE,
    TransferReport,
    judge,
    mean_norm,
    mean_pair_cosine,
    nearest_words,
)
from promptport.transfers.sources import joint_description, refine


@dataclass(frozen=True)
class TransferResult:
    """A ported prompt and the report on it."""

    prompt: SoftPrompt
    report: TransferReport

    def __repr__(self) -> str:
        return f"TransferResult({self.prompt.length} virtual tokens, {self.report.summary})"


def decode(
    description: Description, target: EmbeddingSpace, plan: Plan, start: float
) -> TransferResult:
    """Write described prompts in the space of the target, as one prompt.

    Args:
        description: of the sources.
        target: space of the backbone that the prompt shall work on.
        plan: the method and the rule for the norms.
        start: when the transfer began, by `time.perf_counter`.
    """
    decode_start = time.perf_counter()
    vectors = _vectors(description, plan)  # (n, d_t)
    decode_seconds = time.perf_counter() - decode_start
    mixture = description.mixture if plan.method.from_mixture else None
    report = _report(description, plan, vectors, target)
    report = replace(report, seconds=time.perf_counter() - start, decode_seconds=decode_seconds)
    provenance = _provenance(description, target, report)
    return TransferResult(SoftPrompt(vectors, provenance, mixture=mixture), report)


def _vectors(description: Description, plan: Plan) -> Tensor:
    """One prompt (n, d_t): a direction for all sources, the mean of the norms that each gives."""
    problems, weights = description.problems, description.shares
    single = len(problems) == 1
    vectors = plan.decode(problems[0]) if single else _joint_vectors(description, plan)
    if not description.own_anchors:
        return vectors
    described = [
        encode_relative(problem.vectors, own.matrix(0))
        for problem, own in zip(problems, description.own_anchors, strict=True)
    ]
    raw = refine(vectors, described, [own.matrix(1) for own in description.own_anchors], weights)
    return _scaled(description, plan, raw)


def _joint_vectors(description: Description, plan: Plan) -> Tensor:
    problems, weights = description.problems, description.shares
    if plan.method.from_description:
        described = joint_description(problems, weights)
        return _scaled(description, plan, plan.direct(replace(problems[0], described=described)))
    moved = [plan.direct(problem) for problem in problems]
    if plan.magnitude == "keep":
        return _weighted(moved, weights)
    units = [normalize(vectors, dim=1) for vectors in moved]
    return _scaled(description, plan, _weighted(units, weights))


def _scaled(description: Description, plan: Plan, raw: Tensor) -> Tensor:
    rule = find_magnitude(plan.magnitude)
    scaled = [rule(raw, problem) for problem in description.problems]  # of one direction
    norms = [vectors.norm(dim=1, keepdim=True) for vectors in scaled]
    return normalize(scaled[0], dim=1) * _weighted(norms, description.shares)


def _weighted(parts: Iterable[Tensor], weights: Iterable[float]) -> Tensor:
    return torch.stack([part * w for part, w in zip(parts, weights, strict=True)]).sum(0)


def _report(
    description: Description, plan: Plan, vectors: Tensor, target: EmbeddingSpace
) -> TransferReport:
    problems, weights, anchors = description.problems, description.shares, description.anchors

    def mean(values: Iterable[float]) -> float:
        return sum(value * weight for value, weight in zip(values, weights, strict=True))

    per_token = _weighted(
        (matching(p.relative, p.anchors_tgt, vectors) for p in problems), weights
    )  # (n,)
    roundtrip = None
    if plan.config.roundtrip and description.reversible:
        roundtrip = mean(_roundtrip(description, plan, problem, vectors) for problem in problems)
    parallel = mean_pair_cosine(vectors)
    ratio_source = mean(mean_norm(p.vectors) / p.stats_src.mean_norm for p in problems)
    return TransferReport(
        source=" + ".join(home.backbone for home in description.homes),
        target=target.backbone,
        method=plan.method.name,
        options=plan.options,
        magnitude=plan.magnitude,
        seed=plan.config.seed,
        anchors=anchors.count,
        coverage=anchors.coverage,
        agreement=anchors.agreement,
        agreement_raw=anchors.agreement_raw,
        matching=float(per_token.mean()),
        matching_tokens=tuple(per_token.tolist()),
        roundtrip=roundtrip,
        norm_ratio=mean_norm(vectors) / target.statistics.mean_norm,
        norm_ratio_source=ratio_source,
        nearest_before=description.nearest,
        nearest_after=nearest_words(target, vectors),
        parallel=parallel,
        seconds=0.0,  # filled in when all is done
        decode_seconds=0.0,
        labels_used=False,
        warnings=judge(
            anchor_warnings=anchors.warnings,
            matching=float(per_token.mean()),
            roundtrip=roundtrip,
            parallel=(description.parallel, parallel),
            norm_ratio_source=ratio_source,
            magnitude=plan.magnitude,
            kinds=(description.homes[0].kind, target.kind),
            free=_is_free(description, target),
        ),
        kept_weight=description.kept_weight,
    )


def _is_free(description: Description, target: EmbeddingSpace) -> bool:
    """Whether a free prompt went to a table that is not like its own."""
    if not description.free or any(
        home.fingerprint == target.fingerprint for home in description.homes
    ):
        return False
    agreement = description.anchors.agreement
    return agreement is None or agreement < ALIKE


def _roundtrip(
    description: Description, plan: Plan, problem: TransferProblem, vectors: Tensor
) -> float:
    mixture = description.mixture if plan.method.from_mixture else None
    back = plan.decode(problem.reversed(vectors, None if mixture is None else mixture.weights))
    return float(cosine_similarity(back, problem.vectors, dim=1).mean())  # back: (n, d_s)


def _provenance(
    description: Description, target: EmbeddingSpace, report: TransferReport
) -> Provenance:
    """Of the ported prompt: task and template stay, the origin does not move along."""
    old = description.homes[0]
    entry = {
        "step": description.step,
        **_record(old),
        "target": target.backbone,
        "method": report.method,
        "options": report.options,
        "magnitude": report.magnitude,
        "anchors": report.anchors,
        "matching": report.matching,
        "seed": report.seed,
        "promptport": __version__,
    }
    if len(description.homes) > 1:
        entry["sources"] = [
            {**_record(home), "task": home.task, "history": list(home.history), "weight": share}
            for home, share in zip(description.homes, description.shares, strict=True)
        ]
    return Provenance(
        backbone=target.backbone,
        kind=target.kind,
        revision=target.revision,
        fingerprint=target.fingerprint,
        template=old.template,
        task=old.task,
        history=(*old.history, entry),
        file=target.file_record,
    )


def _record(home: Provenance) -> dict[str, Any]:
    """What the new prompt remembers of an old one."""
    return {
        "source": home.backbone,
        "source_revision": home.revision,
        "source_fingerprint": home.fingerprint,
        **({} if home.file is None else {"source_file": home.file}),
        "origin": home.origin,
        "tuning": home.tuning,
    }
