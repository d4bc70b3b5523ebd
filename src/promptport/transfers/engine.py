"""Transfer: move a soft prompt from one frozen backbone to another by their embedding tables alone.

Encode every virtual token by its cosines to the words that both backbones know, decode with a
method of the registry, then set the lengths by a magnitude rule.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn.functional import normalize

from promptport._version import __version__
from promptport.anchors import AnchorReport, AnchorSet
from promptport.errors import MismatchError
from promptport.mixture import Mixture
from promptport.prompt import Provenance, SoftPrompt
from promptport.relative import encode_relative, matching
from promptport.seeds import check_seed
from promptport.space import EmbeddingSpace
from promptport.transfers import methods  # noqa: F401  (they register)
from promptport.transfers.magnitude import MagnitudeRule, find_magnitude
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import Method, find_method
from promptport.transfers.report import (
    Nearest,
    TransferReport,
    judge,
    mean_length,
    mean_pair_cosine,
)
from promptport.transfers.sources import (
    Source,
    fit_lengths,
    in_fixed_order,
    joint_description,
    refine,
    shares,
)


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
    lengths: str
    own_anchors: bool

    def decode(self, problem: TransferProblem) -> Tensor:
        return self.rule(self.method(problem, self.options), problem)  # (n, d_t)

    def decode_all(self, problems: Sequence[TransferProblem], weights: Sequence[float]) -> Tensor:
        """One prompt from several sources: a direction for all, the mean of their lengths."""
        if len(problems) == 1:
            return self.decode(problems[0])
        pairs = list(zip(problems, weights, strict=True))
        if self.method.from_description:
            described = joint_description(
                [p.vectors for p in problems], [p.anchors_src for p in problems], weights
            )
            raw = self.method(replace(problems[0], described=described), self.options)
        elif self.magnitude == "keep":
            return torch.stack([self.method(p, self.options) * w for p, w in pairs]).sum(0)
        else:
            raw = torch.stack(
                [normalize(self.method(p, self.options), dim=1) * w for p, w in pairs]
            ).sum(0)
        return self.scale_all(raw, problems, weights)

    def scale_all(
        self, raw: Tensor, problems: Sequence[TransferProblem], weights: Sequence[float]
    ) -> Tensor:
        scaled = [self.rule(raw, p) for p in problems]  # (n, d_t) each, of one direction
        lengths = [x.norm(dim=1, keepdim=True) for x in scaled]
        mean = torch.stack([x * w for x, w in zip(lengths, weights, strict=True)]).sum(0)
        return normalize(scaled[0], dim=1) * mean


class TransferSettings(TypedDict, total=False):
    """Settings of a transfer by name, for functions that pass them on; see `transfer_many`."""

    method: str | None
    magnitude: str | None
    words: Sequence[str] | None
    anchors: str
    minimum_anchors: int
    lengths: str
    own_anchors: bool
    seed: int
    options: Mapping[str, Any] | None
    roundtrip: bool
    progress: Callable[[int, int], None] | None


def transfer(
    prompt: SoftPrompt,
    source: EmbeddingSpace,
    target: EmbeddingSpace,
    **settings: Unpack[TransferSettings],
) -> TransferResult:
    """Move a soft prompt to another backbone without data, labels or either language model.

    The new prompt keeps template and task. It has no origin (`SoftPrompt.origin` is None): what
    tuning started from does not move along unless the method is linear. The source's origin, tuning
    record and revision stay in the new entry of `provenance.history`.

    Args:
        prompt: (n, d_s), belongs to `source`.
        source: space of the backbone that it was tuned on.
        target: space of the backbone that it shall work on.
        **settings: see `transfer_many`.

    Raises:
        MismatchError: the prompt does not belong to `source`.
        AnchorError: too few shared words.
        UnknownNameError: no such method, option or rule.
    """
    return transfer_many([Source(prompt, source)], target, **settings)


def transfer_many(  # noqa: PLR0913
    sources: Sequence[Source],
    target: EmbeddingSpace,
    *,
    method: str | None = None,
    magnitude: str | None = None,
    words: Sequence[str] | None = None,
    anchors: str = "all",
    minimum_anchors: int = 32,
    lengths: str = "same",
    own_anchors: bool = False,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    roundtrip: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> TransferResult:
    """Move prompts of one task from any number of backbones to another one, as one prompt.

    Methods that look at the description alone (`least_squares`, `gradient` and others) solve for
    all sources at once; the rest moves each source by itself and takes the mean. The order of the
    sources does not matter.

    Args:
        sources: one or more, with their weights.
        target: space of the backbone that the prompt shall work on.
        method: name of a transfer method, with or without version; None for `mixture` if all
            prompts are anchored, else `least_squares`.
        magnitude: rule for the length of the virtual tokens: `token`, `paper` or `keep`; None for
            `keep` with the method `mixture`, else `token`.
        words: use only these words as anchors; None for all that all backbones know.
        anchors: which of them: `all`, `frequent:COUNT` or `agreeing:SHARE` (`AnchorSet.keep`).
        minimum_anchors: refuse fewer anchors than this.
        lengths: rule for prompts of different length: `same` (refuse), `cut`, `repeat`, `stretch`.
        own_anchors: let every source use all words that it shares with the target, not only those
            that all share (`least_squares` alone; a few steps of L-BFGS from the closed form).
        seed: of methods that draw random numbers.
        options: of the method.
        roundtrip: also carry the result home for the report: as much work again.
        progress: called with (done, in all) by methods that take long.

    Raises:
        MismatchError: a prompt does not belong to its space, or prompts do not fit together.
        AnchorError: too few shared words.
        UnknownNameError: no such method, option or rule.
    """
    start = time.perf_counter()
    sources = _checked(sources)
    is_anchored = all(source.prompt.mixture is not None for source in sources)
    found = find_method(method or ("mixture" if is_anchored else "least_squares"))
    rule = magnitude or ("keep" if found.name.startswith("mixture.") else "token")
    chosen = found.complete(options or {})
    if own_anchors and (not found.name.startswith("least_squares.") or options):
        raise MismatchError(
            "own anchors",
            expected="the method least_squares, without options",
            got=", ".join((found.name, *(options or {}))),
            fix="Leave one of the two out",
        )
    check_seed(seed)
    plan = _Plan(found, chosen, find_magnitude(rule), rule, seed, roundtrip, lengths, own_anchors)
    spaces = [source.space for source in sources]
    shared = AnchorSet.shared(*spaces, target, words=words, minimum=minimum_anchors).keep(anchors)
    mixes = found.name.startswith("mixture.")
    moved = [_shared_mixture(source.prompt, shared) if mixes else None for source in sources]
    problems = _problems(plan, sources, target, shared, moved, progress)
    weights = shares(sources)
    decode_start = time.perf_counter()
    vectors = plan.decode_all(problems, weights)  # (n, d_t)
    if own_anchors:
        pairs = [
            AnchorSet.shared(space, target, words=words, minimum=minimum_anchors).keep(anchors)
            for space in spaces
        ]
        vectors = _with_own_anchors(plan, sources, problems, pairs, vectors)
    times = (start, time.perf_counter() - decode_start)
    carried = _joint_mixture(problems, shared, weights) if is_anchored and mixes else None
    report = _report(plan, sources, problems, vectors, carried, shared.report, target, times)
    if carried is not None:
        kept = [m.kept for m in moved if m is not None]
        report = replace(report, kept_weight=sum(k * w for k, w in zip(kept, weights, strict=True)))
    provenance = _provenance(sources, target, report)
    return TransferResult(SoftPrompt(vectors, provenance, mixture=carried), report)


def _checked(sources: Sequence[Source]) -> list[Source]:
    if not sources:
        raise MismatchError(
            "sources", expected="one prompt or more", got="none", fix="Name a prompt"
        )
    for source in sources:
        source.check()
    templates = {source.prompt.provenance.template for source in sources}
    if len(templates) > 1:
        raise MismatchError(
            "sources",
            expected="prompts tuned with one template",
            got=", ".join(sorted(repr(template) for template in templates)),
            fix="Tune them with the same template",
        )
    return in_fixed_order(sources)


# Weights are kept as float32: a smaller share of a virtual token beside its words is no rest.
_ROUNDING = 1e-4


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


def _problems(
    plan: _Plan,
    sources: Sequence[Source],
    target: EmbeddingSpace,
    anchors: AnchorSet,
    moved: Sequence[_SharedMixture | None],
    progress: Callable[[int, int], None] | None,
) -> list[TransferProblem]:
    """One problem per source, all over the same anchors and of one length."""
    rows = fit_lengths([source.prompt.vectors for source in sources], plan.lengths)
    weights: list[Tensor | None] = [None if m is None else m.mixture.weights for m in moved]
    given = [w for w in weights if w is not None]
    if len(given) == len(sources):
        weights = [*fit_lengths(given, plan.lengths)]
    rests = fit_lengths([_rest(source) for source in sources], plan.lengths)
    digest = hashlib.sha256("\n".join(anchors.words).encode()).hexdigest()
    return [
        TransferProblem(
            vectors,
            anchors.matrix(i),
            anchors.matrix(len(sources)),
            source.space.statistics,
            target.statistics,
            torch.Generator().manual_seed(plan.seed),
            mixed,
            rest if mixed is not None else None,
            progress=progress,
            pair=(source.space.fingerprint, target.fingerprint, digest),
        )
        for i, (source, vectors, mixed, rest) in enumerate(
            zip(sources, rows, weights, rests, strict=True)
        )
    ]


def _rest(source: Source) -> Tensor:
    """(n, d_s): what an anchored prompt holds beside its mixture of words; else zeros."""
    prompt = source.prompt
    if prompt.mixture is None:
        return torch.zeros_like(prompt.vectors)
    rest = prompt.vectors - prompt.mixture.vectors(source.space)
    share = rest.norm(dim=1, keepdim=True) / prompt.vectors.norm(dim=1, keepdim=True)
    return torch.where(share > _ROUNDING, rest, 0.0)


def _with_own_anchors(
    plan: _Plan,
    sources: Sequence[Source],
    problems: Sequence[TransferProblem],
    pairs: Sequence[AnchorSet],
    vectors: Tensor,
) -> Tensor:
    described = [
        encode_relative(problem.vectors, pair.matrix(0))
        for problem, pair in zip(problems, pairs, strict=True)
    ]
    raw = refine(vectors, described, [pair.matrix(1) for pair in pairs], shares(sources))
    return plan.scale_all(raw, problems, shares(sources))


def _joint_mixture(
    problems: Sequence[TransferProblem], anchors: AnchorSet, weights: Sequence[float]
) -> Mixture:
    mixed = [p.mixture * w for p, w in zip(problems, weights, strict=True) if p.mixture is not None]
    return Mixture(anchors.words, torch.stack(mixed).sum(0))


def _report(
    plan: _Plan,
    sources: Sequence[Source],
    problems: Sequence[TransferProblem],
    vectors: Tensor,
    carried: Mixture | None,
    anchors: AnchorReport,
    target: EmbeddingSpace,
    times: tuple[float, float],
) -> TransferReport:
    weights = shares(sources)
    lead = sources[0]

    def mean(values: Iterable[float]) -> float:
        return sum(value * weight for value, weight in zip(values, weights, strict=True))

    per_token = torch.stack(
        [
            matching(p.relative, p.anchors_tgt, vectors) * w
            for p, w in zip(problems, weights, strict=True)
        ]
    ).sum(0)  # (n,)
    roundtrip = None
    if plan.roundtrip:
        weights_back = None if carried is None else carried.weights
        roundtrip = mean(_roundtrip(plan, problem, vectors, weights_back) for problem in problems)
    parallel = mean_pair_cosine(vectors)
    before = mean_pair_cosine(problems[0].vectors)
    ratio_source = mean(mean_length(p.vectors) / p.stats_src.mean_norm for p in problems)
    return TransferReport(
        source=" + ".join(source.space.backbone for source in sources),
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
        nearest_before=_nearest(lead.space, problems[0].vectors),
        nearest_after=_nearest(target, vectors),
        parallel=parallel,
        seconds=time.perf_counter() - times[0],
        decode_seconds=times[1],
        labels_used=False,
        verdict=judge(
            anchor_verdict=anchors.verdict,
            matching=float(per_token.mean()),
            roundtrip=roundtrip,
            parallel=(before, parallel),
            norm_ratio_source=ratio_source,
            magnitude=plan.magnitude,
            kinds=(lead.space.kind, target.kind),
        ),
    )


def _roundtrip(
    plan: _Plan, problem: TransferProblem, vectors: Tensor, weights: Tensor | None
) -> float:
    back = plan.decode(problem.reversed(vectors, weights))  # (n, d_s)
    return float(torch.nn.functional.cosine_similarity(back, problem.vectors, dim=1).mean())


def _nearest(space: EmbeddingSpace, vectors: Tensor) -> Nearest:
    return tuple(tuple(row) for row in space.nearest(vectors))


def _provenance(
    sources: Sequence[Source], target: EmbeddingSpace, report: TransferReport
) -> Provenance:
    old = sources[0].prompt.provenance
    entry = {
        "step": "transfer",
        **_source_record(sources[0]),
        "target": target.backbone,
        "method": report.method,
        "options": report.options,
        "magnitude": report.magnitude,
        "anchors": report.anchors,
        "matching": report.matching,
        "seed": report.seed,
        "promptport": __version__,
    }
    if len(sources) > 1:
        weights = shares(sources)
        entry["sources"] = [
            {
                **_source_record(s),
                "task": s.prompt.provenance.task,
                "history": list(s.prompt.provenance.history),
                "weight": w,
            }
            for s, w in zip(sources, weights, strict=True)
        ]
    return Provenance(
        backbone=target.backbone,
        kind=target.kind,
        revision=target.revision,
        fingerprint=target.fingerprint,
        template=old.template,
        task=old.task,
        history=(*old.history, entry),
    )


def _source_record(source: Source) -> dict[str, Any]:
    """What the new prompt remembers of an old one."""
    old = source.prompt.provenance
    return {
        "source": source.space.backbone,
        "source_revision": old.revision or source.space.revision,
        "source_fingerprint": source.space.fingerprint,
        "origin": old.origin,
        "tuning": old.tuning,
    }
