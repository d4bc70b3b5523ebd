"""The first half of a transfer: prompts told by the words that they share with the target.

What it makes, a `Description`, is all that the second half (`decoding`) reads, whether it comes
from prompts whose source is at hand or from a portable prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from promptport.anchors import AnchorReport, AnchorSet
from promptport.errors import MismatchError
from promptport.mixture import Mixture
from promptport.portable import Nearest, PortablePrompt
from promptport.provenance import Provenance
from promptport.relative import encode_relative
from promptport.space import BLOCK_ROWS, EmbeddingSpace, SpaceStatistics
from promptport.transfers.config import Plan, kept_anchors, shared_anchors
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import list_methods
from promptport.transfers.report import mean_pair_cosine, nearest_words
from promptport.transfers.sources import Source, fit_lengths, shares

Progress = Callable[[int, int], None]

# What the weights of a virtual token may lose in all: the rounding of a float32 sum of 1.
LOST_WEIGHT = 1e-7
# Weights are kept as float32: a smaller share of a virtual token beside its words is no rest.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class Description:
    """The sources of one transfer, by their relation to `k` anchor words.

    Attributes:
        step: what the history calls it: `transfer`, or `decode` where the source is not at hand.
        problems: one per source, all over the same words and of one length.
        shares: of the sources, sum 1.
        homes: provenance of every prompt in its source.
        words: the k anchor words.
        anchors: how many words there are and how far they agree.
        nearest: of the first source, the words of each virtual token there.
        parallel: of the first source, mean cosine between different virtual tokens.
        free: whether one of the prompts is no mixture prompt.
        kept_weight: mean share of the mixtures' weight on the anchors, where mixtures are carried.
        own_anchors: for each source, the words that it shares with the target, if it uses these.
    """

    step: str
    problems: tuple[TransferProblem, ...]
    shares: tuple[float, ...]
    homes: tuple[Provenance, ...]
    words: tuple[str, ...]
    anchors: AnchorReport
    nearest: Nearest
    parallel: float | None
    free: bool
    kept_weight: float | None = None
    own_anchors: tuple[AnchorSet, ...] = ()

    @property
    def reversible(self) -> bool:
        """Whether the source's rows are at hand, so that the result can be carried back."""
        return self.step == "transfer"

    @cached_property
    def mixture(self) -> Mixture | None:
        """The sources' mixtures as one, if all are carried as mixtures."""
        mixed = [
            p.mixture * share
            for p, share in zip(self.problems, self.shares, strict=True)
            if p.mixture is not None
        ]
        if len(mixed) < len(self.problems):
            return None
        return Mixture(self.words, torch.stack(mixed).sum(0))


@dataclass(frozen=True)
class _SharedMixture:
    """A mixture over the anchors, and the mean share of the weight that was on them."""

    weights: Tensor
    kept: float

    @classmethod
    def of(cls, mixture: Mixture | None, words: Sequence[str]) -> _SharedMixture | None:
        if mixture is None:
            return None
        weights, kept = mixture.over({word: i for i, word in enumerate(words)})
        return cls(Mixture(tuple(words), weights).weights, float(kept.mean()))


def describe_sources(
    sources: Sequence[Source], target: EmbeddingSpace, plan: Plan, progress: Progress | None
) -> Description:
    """Prompts whose sources are at hand, by the words that all backbones know.

    Args:
        sources: one or more, checked, in their order.
        target: space of the backbone that the prompt shall work on.
        plan: the method, and which words.
        progress: for methods that take long.

    Raises:
        AnchorError: too few shared words.
        MismatchError: prompts of different length.
    """
    spaces = [source.space for source in sources]
    anchors = shared_anchors(plan.config, *spaces, target)
    mixes = plan.method.from_mixture
    mixtures = [
        _SharedMixture.of(source.prompt.mixture if mixes else None, anchors.words)
        for source in sources
    ]
    problems = _problems(plan, sources, target, anchors, mixtures, progress)
    weights = shares(sources)
    kept = [m.kept * share for m, share in zip(mixtures, weights, strict=True) if m is not None]
    own = plan.config.own_anchors
    return Description(
        "transfer",
        tuple(problems),
        tuple(weights),
        tuple(_at_home(source) for source in sources),
        anchors.words,
        anchors.report,
        nearest_words(spaces[0], problems[0].vectors),
        mean_pair_cosine(problems[0].vectors),
        any(source.prompt.mixture is None for source in sources),
        sum(kept) if len(kept) == len(sources) else None,
        tuple(shared_anchors(plan.config, space, target) for space in spaces) if own else (),
    )


def describe_portable(
    portable: PortablePrompt, target: EmbeddingSpace, plan: Plan, progress: Progress | None
) -> Description:
    """A portable prompt by those of its words that the target knows.

    Args:
        portable: of any source.
        target: space of the backbone that the prompt shall work on.
        plan: the method, and which words.
        progress: for methods that take long.

    Raises:
        AnchorError: too few shared words.
        MismatchError: a method or a setting that needs the source.
    """
    _check_portable(plan)
    words, asked = portable.words, plan.config.words
    known = words if asked is None else [word for word in words if word in set(asked)]
    shared = AnchorSet.shared(target, words=known, minimum=plan.config.minimum_anchors)
    anchors = kept_anchors(shared, plan.config)
    mixture = portable.mixture if plan.method.from_mixture else None
    mixed = _SharedMixture.of(mixture, anchors.words)
    k = len(anchors)
    return Description(
        "decode",
        (_portable_problem(portable, anchors, mixed, plan, progress),),
        (1.0,),
        (portable.provenance,),
        anchors.words,
        replace(anchors.report, coverage=(k / len(words), k / len(target.words))),
        portable.nearest or ((),) * portable.length,
        portable.parallel,
        portable.mixture is None,
        None if mixed is None else mixed.kept,
    )


def encode_source(source: Source, words: Sequence[str] | None = None) -> PortablePrompt:
    """A prompt by the words of its backbone.

    Args:
        source: the prompt and its space, checked.
        words: use only these; None for all single-token words.

    Raises:
        AnchorError: none of the words is a single token.
    """
    prompt, space = source.prompt, source.space
    anchors = AnchorSet.shared(space, words=words, minimum=1)
    vectors = prompt.vectors.double()
    parts = [
        encode_relative(vectors, space.rows(ids).double())  # (n, block)
        for ids in torch.split(anchors.ids[0], BLOCK_ROWS)
    ]
    return PortablePrompt(
        anchors.words,
        torch.cat(parts, dim=1),
        vectors.norm(dim=1) / space.statistics.mean_norm,
        _at_home(source),
        None if prompt.mixture is None else _lightened(prompt.mixture),
        nearest_words(space, prompt.vectors),
        mean_pair_cosine(prompt.vectors),
    )


def _at_home(source: Source) -> Provenance:
    """The provenance of a prompt with what its space says of the backbone."""
    old, space = source.prompt.provenance, source.space
    return replace(
        old,
        backbone=space.backbone,
        kind=space.kind or old.kind,
        revision=old.revision or space.revision,
        fingerprint=space.fingerprint,
        file=space.file_record or old.file,
    )


def _problems(
    plan: Plan,
    sources: Sequence[Source],
    target: EmbeddingSpace,
    anchors: AnchorSet,
    mixtures: Sequence[_SharedMixture | None],
    progress: Progress | None,
) -> list[TransferProblem]:
    """One problem per source, all over the same anchors and of one length."""
    rule = plan.config.lengths
    rows = fit_lengths([source.prompt.vectors for source in sources], rule)
    weights: list[Tensor | None] = [None if m is None else m.weights for m in mixtures]
    given = [w for w in weights if w is not None]
    if len(given) == len(sources):
        weights = [*fit_lengths(given, rule)]
    rests = fit_lengths([_rest(source) for source in sources], rule) if given else None
    digest = hashlib.sha256("\n".join(anchors.words).encode()).hexdigest()
    return [
        TransferProblem(
            rows[i],
            anchors.matrix(i),
            anchors.matrix(len(sources)),
            source.space.statistics,
            target.statistics,
            torch.Generator().manual_seed(plan.config.seed),
            weights[i],
            None if rests is None or weights[i] is None else rests[i],
            progress=progress,
            pair=(source.space.fingerprint, target.fingerprint, digest),
        )
        for i, source in enumerate(sources)
    ]


def _rest(source: Source) -> Tensor:
    """(n, d_s): what a mixture prompt holds beside its words; else zeros."""
    prompt = source.prompt
    if prompt.mixture is None:
        return torch.zeros_like(prompt.vectors)
    rest = prompt.vectors - prompt.mixture.vectors(source.space)
    share = rest.norm(dim=1, keepdim=True) / prompt.vectors.norm(dim=1, keepdim=True)
    return torch.where(share > _ROUNDING, rest, 0.0)


def _portable_problem(
    portable: PortablePrompt,
    anchors: AnchorSet,
    mixed: _SharedMixture | None,
    plan: Plan,
    progress: Progress | None,
) -> TransferProblem:
    columns = {word: i for i, word in enumerate(portable.words)}
    kept = torch.tensor([columns[word] for word in anchors.words])
    # A source of width 1 in which nothing but norms is known: the description says the rest.
    one = torch.ones(1)
    return TransferProblem(
        portable.norms[:, None],
        torch.ones(len(anchors), 1, dtype=portable.norms.dtype),
        anchors.matrix(0),
        SpaceStatistics(0.0, 1.0, 1.0, one, one),
        anchors.spaces[0].statistics,
        torch.Generator().manual_seed(plan.config.seed),
        None if mixed is None else mixed.weights,
        described=portable.relative[:, kept],
        progress=progress,
    )


def _check_portable(plan: Plan) -> None:
    """Refuse what looks at the rows of a source."""
    able = [method.name for method in list_methods() if not method.needs_source]
    if plan.method.needs_source or plan.config.own_anchors:
        raise MismatchError(
            "method of a portable prompt",
            expected=f"one that does not look at the source's rows ({', '.join(able)})",
            got=plan.method.name if plan.method.needs_source else "own anchors",
            fix="Choose one of these, or transfer the prompt itself",
        )


def _lightened(mixture: Mixture) -> Mixture:
    """The mixture without the smallest weights of each row, and without words of no weight."""
    values, order = mixture.weights.double().sort(dim=1)
    values = values.masked_fill(values.cumsum(1) <= LOST_WEIGHT, 0)
    weights = torch.zeros_like(values).scatter_(1, order, values)  # (n, k)
    used = weights.any(dim=0)
    words = (word for word, keep in zip(mixture.words, used.tolist(), strict=True) if keep)
    return Mixture(tuple(words), weights[:, used])
