"""TransferReport: what happened in a transfer, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from promptport.portable import Nearest
from promptport.space import EmbeddingSpace

LOW_MATCHING = 0.5
# Prompts below this lost most of what they did at home (benchmarks/LOG.md, "Round trips").
LOW_ROUNDTRIP = 0.65
PARALLEL = 0.95
NO_WARNING = "Nothing in the report speaks against the result; only its score on the task is proof."
LONG = 3.0
# Tables that agree this well are those of one model and its fine-tuned copy: free prompts survive.
ALIKE = 0.9
LITTLE_OF_FREE = (
    "The embedding tables say next to nothing about a free prompt: in the benchmark "
    "transfer_quality it keeps 0.36 of the score of tuning there, the same as no prompt at all, "
    "and between pretrained LLMs (real_transfer) it is at chance"
)
FREE_PROMPT = (
    f"{LITTLE_OF_FREE}. Where both models can be loaded, carry its answers instead (move)."
)


@dataclass(frozen=True)
class TransferReport:
    """Facts about one transfer. No label of any task was touched.

    Attributes:
        source: backbone that the prompt came from.
        target: backbone that it was carried to.
        method: full name with version.
        options: all options of the method, defaults included.
        magnitude: rule for the norms.
        seed: of the method's random numbers.
        anchors: k, number of shared words.
        coverage: share of the source's and the target's words that are anchors.
        agreement: correlation of the two backbones' anchor-to-anchor cosines, centred, in [-1, 1].
        agreement_raw: the same uncentred.
        matching: mean over the virtual tokens of the cosine between their description (cosines to
            all anchors) in the source and in the target: paper A's objective, in [-1, 1].
        matching_tokens: the same for every virtual token.
        roundtrip: mean cosine between the prompt and what comes back when the ported prompt is
            moved to the source by the same method; None if that was not asked for.
        norm_ratio: mean norm of the ported virtual tokens over the mean norm of a target row.
        norm_ratio_source: the same for the prompt in its source.
        nearest_before: for each virtual token, (token, cosine) of the nearest source rows.
        nearest_after: the same in the target.
        parallel: mean cosine between different ported virtual tokens; None for a single one.
        seconds: wall time of the whole transfer, report included.
        decode_seconds: of them, the method and the magnitude rule alone.
        labels_used: whether labels of the target task were used: never, here.
        warnings: in plain words, what speaks against the result; empty if nothing does.
        kept_weight: of a mixture prompt, the mean share of its weight on shared words.
    """

    source: str
    target: str
    method: str
    options: dict[str, Any]
    magnitude: str
    seed: int
    anchors: int
    coverage: tuple[float, ...]
    agreement: float | None
    agreement_raw: float | None
    matching: float
    matching_tokens: tuple[float, ...]
    roundtrip: float | None
    norm_ratio: float
    norm_ratio_source: float
    nearest_before: Nearest
    nearest_after: Nearest
    parallel: float | None
    seconds: float
    decode_seconds: float
    labels_used: bool
    warnings: tuple[str, ...]
    kept_weight: float | None = None

    def __repr__(self) -> str:
        return f"TransferReport({self.summary})"

    @property
    def summary(self) -> str:
        """The way and the two figures to look at first, in one line."""
        back = "" if self.roundtrip is None else f", round trip {self.roundtrip:.2f}"
        count = len(self.warnings)
        warned = f", {count} warning{'s' if count > 1 else ''}" if count else ""
        return (
            f"{self.source} -> {self.target} by {self.method}: {self.anchors} anchors, "
            f"matching {self.matching:.2f}{back}{warned}"
        )

    @property
    def verdict(self) -> str:
        """The warnings as one text, or that there are none."""
        return " ".join(self.warnings) or NO_WARNING

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {name: _plain(value) for name, value in vars(self).items()}
        return {**values, "verdict": self.verdict}


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def mean_pair_cosine(vectors: Tensor) -> float | None:
    """Mean cosine between different rows of (n, d); None when n is 1."""
    n = len(vectors)
    if n < 2:
        return None
    unit = normalize(vectors.double(), dim=1)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (n * (n - 1)))


def nearest_words(space: EmbeddingSpace, vectors: Tensor) -> Nearest:
    """For each row of (n, d), (token, cosine) of the nearest rows of a space."""
    return tuple(tuple(row) for row in space.nearest(vectors))


def mean_norm(vectors: Tensor) -> float:
    """Mean norm of the rows of (n, d)."""
    return float(torch.linalg.vector_norm(vectors.double(), dim=1).mean())


def judge(
    *,
    anchor_warnings: tuple[str, ...],
    matching: float,
    roundtrip: float | None,
    parallel: tuple[float | None, float | None],
    norm_ratio_source: float,
    magnitude: str,
    kinds: tuple[str | None, str | None],
    free: bool,
) -> tuple[str, ...]:
    """Say in plain words what speaks against a result.

    Args:
        anchor_warnings: what the anchors' own report warns of.
        matching: mean cosine of the descriptions.
        roundtrip: mean cosine after the way back.
        parallel: mean cosine between different virtual tokens before and after.
        norm_ratio_source: mean norm of the source prompt over the mean source row.
        magnitude: rule for the norms.
        kinds: of source and target, where known.
        free: whether a free prompt was carried between tables that are not alike.
    """
    lines = list(anchor_warnings)
    if free:
        lines.append(FREE_PROMPT)
    if matching < LOW_MATCHING:
        lines.append(
            f"No vector of the target is described like the prompt (matching {matching:.2f}, low "
            f"below {LOW_MATCHING}): expect a score near chance."
        )
    if roundtrip is not None and roundtrip < LOW_ROUNDTRIP:
        lines.append(
            f"Moved back to the source, little of the prompt remains (round trip {roundtrip:.2f}, "
            f"low below {LOW_ROUNDTRIP}): expect far less than at home, down to chance. Measure it."
        )
    before, after = parallel
    if after is not None and after > PARALLEL:
        lines.append(
            f"All virtual tokens point in nearly the same direction (mean cosine {after:.2f}; "
            f"before: {before:.2f}): most likely the embeddings' common mean, not the task."
        )
    if magnitude == "paper" and norm_ratio_source > LONG:
        lines.append(
            f"The norm of the prompt is {norm_ratio_source:.0f} x that of the source's rows; the "
            "rule 'paper' cut it to the norm of ordinary ones. Try the rule 'token'."
        )
    if None not in kinds and kinds[0] != kinds[1]:
        lines.append(_kind_remark(*kinds))
    return tuple(lines)


def _kind_remark(source: str | None, target: str | None) -> str:
    remark = f"The prompt was tuned on a {source} backbone and is now for a {target} one. "
    if target == "causal":
        return remark + (
            "A causal backbone answers from the token in front of {answer}. If that is a virtual "
            "token, put a word in between (--cue-word is), or let move --method answers choose one."
        )
    return remark + (
        "The template travels with it: check that {answer} still stands where it can be read."
    )
