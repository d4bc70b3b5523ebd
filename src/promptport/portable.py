"""PortablePrompt: a prompt told by words alone, to be read by a backbone that nobody knows yet.

A transfer looks at the source in two places only: the cosines of the virtual tokens to the words,
and their lengths. Kept in a file, both can be decoded on any backbone without the source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.anchors import AnchorSet
from promptport.errors import MismatchError, ShapeError
from promptport.mixture import Mixture
from promptport.prompt import Provenance, SoftPrompt
from promptport.relative import encode_relative, matching
from promptport.seeds import check_seed
from promptport.space import BLOCK_ROWS, EmbeddingSpace, SpaceStatistics
from promptport.transfers import (
    Method,
    Source,
    TransferProblem,
    TransferReport,
    TransferResult,
    find_magnitude,
    find_method,
    list_methods,
)
from promptport.transfers.report import Nearest, judge, mean_length, mean_pair_cosine

# What the weights of a virtual token may lose in all: the rounding of a float32 sum of 1.
LOST_WEIGHT = 1e-7
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class PortablePrompt:
    """A soft prompt of `n` virtual tokens by its relation to `k` words.

    Attributes:
        words: k different words, single tokens of the source, in code point order.
        relative: (n, k) float32, cosine of every virtual token to every word, in [-1, 1].
        lengths: (n,) float64, lengths of the virtual tokens over the mean row of the source.
        provenance: of the prompt in its source.
        mixture: the words that the virtual tokens are mixed of, if the prompt is anchored; weights
            below rounding are left out.
        nearest: for each virtual token, (token, cosine) of the nearest source rows, for the report.
        parallel: mean cosine between different virtual tokens in the source, for the report.

    Raises:
        ShapeError: other shapes or values.
    """

    words: tuple[str, ...]
    relative: Tensor
    lengths: Tensor
    provenance: Provenance
    mixture: Mixture | None = None
    nearest: Nearest = ()
    parallel: float | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("relative", torch.float32), ("lengths", torch.float64)):
            value = getattr(self, name).detach().to(dtype=dtype, device="cpu").contiguous()
            object.__setattr__(self, name, value.clone())
        n, k = len(self.lengths), len(set(self.words))
        shape = tuple(self.relative.shape)
        if shape != (n, k) or k != len(self.words) or 0 in shape:
            _refuse("relative", f"({n}, {k}), a row per length, a column per word", str(shape))
        if not bool((self.relative.abs() <= 1 + _ROUNDING).all()):  # NaN is not either
            _refuse("relative", "cosines in [-1, 1]", "others")
        if not bool(((self.lengths > 0) & self.lengths.isfinite()).all()):
            _refuse("lengths", "finite numbers above 0", "others")
        if self.mixture is not None and len(self.mixture.weights) != n:
            _refuse("mixture", f"{n} rows", str(len(self.mixture.weights)))
        if self.nearest and len(self.nearest) != n:
            _refuse("nearest", f"none, or {n} rows", str(len(self.nearest)))

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.relative.shape[0]

    @classmethod
    def encode(
        cls, prompt: SoftPrompt, space: EmbeddingSpace, words: Sequence[str] | None = None
    ) -> PortablePrompt:
        """Describe a prompt by the words of its backbone.

        Args:
            prompt: (n, d_s), belongs to `space`.
            space: of the backbone that it was tuned on.
            words: use only these; None for all single-token words. The more, the more of them a
                later target will know.

        Raises:
            MismatchError: the prompt does not belong to `space`.
            AnchorError: none of the words is a single token.
        """
        Source(prompt, space).check()
        anchors = AnchorSet.shared(space, words=words, minimum=1)
        vectors = prompt.vectors.double()
        parts = [
            encode_relative(vectors, space.rows(ids).double())  # (n, block)
            for ids in torch.split(anchors.ids[0], BLOCK_ROWS)
        ]
        old = prompt.provenance
        return cls(
            anchors.words,
            torch.cat(parts, dim=1),
            vectors.norm(dim=1) / space.statistics.mean_norm,
            replace(
                old,
                backbone=space.backbone,
                kind=space.kind or old.kind,
                revision=old.revision or space.revision,
                fingerprint=space.fingerprint,
            ),
            None if prompt.mixture is None else _lightened(prompt.mixture),
            tuple(tuple(row) for row in space.nearest(prompt.vectors)),
            mean_pair_cosine(prompt.vectors),
        )

    def decode(
        self,
        target: EmbeddingSpace,
        *,
        method: str | None = None,
        magnitude: str | None = None,
        options: Mapping[str, Any] | None = None,
        minimum_anchors: int = 32,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> TransferResult:
        """Write the prompt in the space of a backbone: what `transfer` gives, without the source.

        The report has no round trip and no agreement of the backbones: both need the source.

        Args:
            target: space of the backbone that the prompt shall work on.
            method: one that looks at the description alone (`least_squares`, `gradient`, ...), or
                `mixture`; None for `mixture` if the prompt is anchored, else `least_squares`.
            magnitude: as in `transfer`.
            options: of the method.
            minimum_anchors: refuse fewer words that file and target share than this.
            seed: of methods that draw random numbers.
            progress: called with (done, in all) by methods that take long.

        Raises:
            MismatchError: a method that needs the source.
            AnchorError: too few shared words.
            UnknownNameError: no such method, option or rule.
        """
        start = time.perf_counter()
        check_seed(seed)
        found = find_method(method or ("least_squares" if self.mixture is None else "mixture"))
        _check_method(found)
        chosen = found.complete(options or {})
        rule = magnitude or ("keep" if _is_mixture(found) else "token")
        scale = find_magnitude(rule)
        anchors = AnchorSet.shared(target, words=self.words, minimum=minimum_anchors)
        carried, kept = self._carried(anchors) if _is_mixture(found) else (None, None)
        problem = self._problem(anchors, carried, seed, progress)
        decode_start = time.perf_counter()
        vectors = scale(found(problem, chosen), problem)  # (n, d_t)
        decode_seconds = time.perf_counter() - decode_start
        report = self._report(found, chosen, rule, seed, anchors, problem, vectors)
        report = replace(
            report,
            seconds=time.perf_counter() - start,
            decode_seconds=decode_seconds,
            kept_weight=kept,
        )
        provenance = self._moved(target, report)
        return TransferResult(SoftPrompt(vectors, provenance, mixture=carried), report)

    def _carried(self, anchors: AnchorSet) -> tuple[Mixture | None, float | None]:
        """The mixture over the anchors, and the mean share of the weight that was on them."""
        if self.mixture is None:  # the method says what is missing
            return None, None
        weights, kept = self.mixture.over({word: i for i, word in enumerate(anchors.words)})
        return Mixture(anchors.words, weights), float(kept.mean())

    def _problem(
        self,
        anchors: AnchorSet,
        mixture: Mixture | None,
        seed: int,
        progress: Callable[[int, int], None] | None,
    ) -> TransferProblem:
        columns = {word: i for i, word in enumerate(self.words)}
        kept = torch.tensor([columns[word] for word in anchors.words])
        # A source of width 1 in which nothing but lengths is known: the description says the rest.
        one = torch.ones(1)
        return TransferProblem(
            self.lengths[:, None],
            torch.ones(len(anchors), 1, dtype=self.lengths.dtype),
            anchors.matrix(0),
            SpaceStatistics(0.0, 1.0, 1.0, one, one),
            anchors.spaces[0].statistics,
            torch.Generator().manual_seed(seed),
            None if mixture is None else mixture.weights,
            described=self.relative[:, kept],
            progress=progress,
        )

    def _report(
        self,
        method: Method,
        options: dict[str, Any],
        rule: str,
        seed: int,
        anchors: AnchorSet,
        problem: TransferProblem,
        vectors: Tensor,
    ) -> TransferReport:
        target, k = anchors.spaces[0], len(anchors)
        per_token = matching(problem.relative, problem.anchors_tgt, vectors)  # (n,)
        matched, ratio = float(per_token.mean()), float(self.lengths.mean())
        parallel = mean_pair_cosine(vectors)
        return TransferReport(
            source=self.provenance.backbone,
            target=target.backbone,
            method=method.name,
            options=options,
            magnitude=rule,
            seed=seed,
            anchors=k,
            coverage=(k / len(self.words), k / len(target.words)),
            agreement=None,
            agreement_raw=None,
            matching=matched,
            matching_tokens=tuple(per_token.tolist()),
            roundtrip=None,
            norm_ratio=mean_length(vectors) / target.statistics.mean_norm,
            norm_ratio_source=ratio,
            nearest_before=self.nearest or ((),) * self.length,
            nearest_after=tuple(tuple(row) for row in target.nearest(vectors)),
            parallel=parallel,
            seconds=0.0,  # filled in when all is done
            decode_seconds=0.0,
            labels_used=False,
            verdict=judge(
                anchor_verdict=anchors.report.verdict,
                matching=matched,
                roundtrip=None,
                parallel=(self.parallel, None if self.parallel is None else parallel),
                norm_ratio_source=ratio,
                magnitude=rule,
                kinds=(self.provenance.kind, target.kind),
            ),
        )

    def _moved(self, target: EmbeddingSpace, report: TransferReport) -> Provenance:
        old = self.provenance
        entry = {
            "step": "decode",
            "source": old.backbone,
            "source_revision": old.revision,
            "source_fingerprint": old.fingerprint,
            "origin": old.origin,
            "tuning": old.tuning,
            "target": target.backbone,
            "method": report.method,
            "options": report.options,
            "magnitude": report.magnitude,
            "anchors": report.anchors,
            "matching": report.matching,
            "seed": report.seed,
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


def _refuse(name: str, expected: str, got: str) -> NoReturn:
    raise ShapeError(name, expected=expected, got=got, fix="Encode the prompt again")


def _is_mixture(method: Method) -> bool:
    return method.name.startswith("mixture.")


def _check_method(method: Method) -> None:
    if method.from_description or _is_mixture(method):
        return
    able = [m.name for m in list_methods() if m.from_description or _is_mixture(m)]
    raise MismatchError(
        "method of a portable prompt",
        expected=f"one that does not look at the source's rows ({', '.join(able)})",
        got=method.name,
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
